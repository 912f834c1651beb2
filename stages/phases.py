"""Fit one phase of a training by fastai: its learning rate, its precision, and what happens around each epoch.

Reads images by way of the learner; leaves what the Training leaves after each epoch.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.learner import AvgSmoothLoss
from torch import Tensor

from stages import distributed
from stages.checkpoints import Row
from stages.devices import precision
from stages.graphs import Graphs
from stages.together import SameLoss, Together
from stages.views import hold_images

if TYPE_CHECKING:
    from stages.training import Training


def fit_phase(training: "Training", phase: str, num_epochs: int) -> None:
    """Train the learner for the epochs of one phase that are not done yet, fewer where it stops early."""
    learn, params, first = training.learn, training.params, training.progress.epoch
    if first >= num_epochs or _is_stopped_early(training, phase):
        return
    if phase == "frozen" and params.weights != "none":
        learn.freeze()
    else:
        learn.unfreeze()
    # Only now: fastai clears the optimizer's state whenever layers freeze or unfreeze.
    _restore_optimizer(training)
    hold_images(training)
    # A network that is drawn has no first layers that know more than the last ones.
    is_drawn = params.weights == "none"
    spread = 1.0 if is_drawn else params.learning_rate_spread
    with _precision(training), learn.no_bar(), learn.no_logging():
        rate = _rate(training)
        callback = [_Epochs(training, phase, first), *_faster(training)]
        if phase == "frozen":
            learn.fit_one_cycle(
                num_epochs, rate if is_drawn else slice(rate), pct_start=0.99, start_epoch=first, cbs=callback
            )
        else:
            rates = slice(rate / 2 / spread, rate / 2)
            learn.fit_one_cycle(num_epochs, rates, pct_start=0.3, div=5.0, start_epoch=first, cbs=callback)


def _is_stopped_early(training: "Training", phase: str) -> bool:
    """Say whether the phase's last epochs, as many as early_stopping allows, brought no lower valid loss."""
    patience = training.params.early_stopping
    losses = [float(row["valid_loss"]) for row in training.progress.history if row["phase"] == phase]
    return patience is not None and len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])


def _restore_optimizer(training: "Training") -> None:
    optimizer = training.progress.optimizer
    if optimizer is not None and training.progress.epoch > 0:
        state = [_on(training.device, values) for values in optimizer["state"]]
        training.learn.opt.load_state_dict({**optimizer, "state": state})


def _on(device: torch.device, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in values.items()}


def _rate(training: "Training") -> float:
    if training.params.learning_rate != "auto":
        return training.params.learning_rate
    if training.progress.learning_rate is None:
        _find_rate(training)
    assert training.progress.learning_rate is not None
    return training.progress.learning_rate


def _find_rate(training: "Training") -> None:
    """Try rates by steps like those of the training: in its precision, and shared by all of its processes."""
    learn = training.learn
    shared = [Together(training.params.image_size), SameLoss()] if distributed.size() > 1 else []
    if not distributed.rank():
        print("train: looking for a learning rate, in up to 100 steps", file=sys.stderr)
    training.seed("learning rate", 0)
    with tempfile.TemporaryDirectory() as folder, learn.added_cbs(shared):
        # The finder parks the weights in the learner's folder while it tries rates.
        learn.path, learn.model_dir = Path(folder), "."
        found = learn.lr_find(show_plot=False)
    learn.path, learn.model_dir = Path(), "models"
    if distributed.rank():
        distributed.wait_for_all()  # fastai waits for all when the finder has put the weights back
        learn.opt.clear_state()  # fastai parks it in rank 0 alone, whose weights torch gives to all in the next fit
    recorder = learn.recorder
    training.progress.learning_rate = distributed.agreed(float(found.valley))
    training.progress.curve = [
        (float(rate), float(loss)) for rate, loss in zip(recorder.lrs, recorder.losses, strict=False)
    ]
    if not distributed.rank():
        print(f"train: learning-rate finder suggests {found.valley:.2e}", file=sys.stderr)


@contextmanager
def _precision(training: "Training") -> Iterator[None]:
    wanted = precision(training.params.mixed_precision, training.device)
    if wanted == "none":
        yield
        return
    from fastai.callback.fp16 import MixedPrecision

    callback = MixedPrecision(amp_mode=wanted)
    with training.learn.added_cbs(callback):
        yield


def _faster(training: "Training") -> list[Callback]:
    """Return what makes a step faster: several GPUs, or one that replays it."""
    if distributed.size() > 1:
        return [Together(training.params.image_size)]
    if training.device.type != "cuda":
        return []
    types = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    return [Graphs(training.params.image_size, types[precision(training.params.mixed_precision, training.device)])]


class SmoothLoss(AvgSmoothLoss):  # type: ignore[misc]
    """fastai's, left on the device: to fetch it after each batch would let a GPU run dry."""

    def accumulate(self, learn: Any) -> None:
        """Take in a batch's loss."""
        self.count += 1
        loss = learn.loss.detach().mean()
        self.val: Tensor = torch.lerp(loss, self.val.to(loss.device), self.beta)


class _Epochs(Callback):  # type: ignore[misc]
    """Seeds each epoch before it begins; keeps its numbers and the state after it."""

    order = 60  # after the recorder

    def __init__(self, training: "Training", phase: str, first: int) -> None:
        self.training, self.phase, self.first = training, phase, first

    def before_epoch(self) -> None:
        self.training.seed(self.phase, self.epoch)
        # Else the train loss would be smoothed over epochs that a resumed training has not seen.
        self.recorder.smooth_loss.reset()

    def after_epoch(self) -> None:
        if self.epoch < self.first:  # fastai skips an epoch that was done, but calls this all the same
            return
        values = map(float, self.recorder.values[-1])
        names = ["train_loss", "valid_loss", *self.training.params.metrics]
        row: Row = {"epoch": len(self.training.progress.history), "phase": self.phase}
        row |= dict(zip(names, values, strict=True))
        row["train_loss"] = distributed.averaged(float(row["train_loss"]))
        row["learning_rate"] = float(self.opt.hypers[-1]["lr"])
        self.training.end_epoch(row, phase=self.phase, epoch=self.epoch + 1)
        if _is_stopped_early(self.training, self.phase):
            raise CancelFitException
