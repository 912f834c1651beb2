"""Run the phases of one training, epoch by epoch, each of them repeatable by itself.

Reads what train.py hands over; leaves the files of data/train and, while it runs, a checkpoint. Before every epoch all
random numbers start anew from the seed, the phase and the epoch's number, so that an epoch depends on the weights and
the optimizer's state alone: a resumed training draws what an undisturbed one would have drawn.
"""

import hashlib
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.progress import ProgressCallback
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.torch_core import set_seed
from numpy.typing import NDArray

from stages import checkpoints as kept
from stages import distributed, probe
from stages.architectures import imagenet_classifier, statistics
from stages.devices import checked_device
from stages.features import Preprocessing, frozen, mirrored, outputs
from stages.images import FILTER_NAME
from stages.learner import learner, short_side
from stages.outputs import new_file, write_csv, write_json
from stages.together import Together
from stages.train import TrainParams

Rows = Sequence[Mapping[str, str]]

Row = dict[str, int | float | str]

Features = NDArray[np.float32]

# The modules that a network's numbers depend on: with other code, a checkpoint is of another training.
_CODE = (
    "architectures",
    "devices",
    "distributed",
    "features",
    "images",
    "learner",
    "metrics",
    "probe",
    "together",
    "train",
    "training",
)


class Training:
    """One training, from its checkpoint if there is one."""

    def __init__(
        self, params: TrainParams, rows: Mapping[str, Rows], *, prepared: Path, checkpoints: Path, out: Path
    ) -> None:
        self.params, self.out = params, out
        self.live: Any = None
        self.rows = rows
        self.images = [prepared / row["path"] for side in ("train", "valid") for row in rows[side]]
        self.labels = sorted({row["label"] for row in rows["train"]})
        self.device = checked_device(params.device, params.mixed_precision)
        names = [f"{row['sha256']} {row['label']}" for side in ("train", "valid") for row in rows[side]]
        listing = hashlib.sha256("\n".join(names).encode()).hexdigest()
        code = [Path(__file__).with_name(f"{module}.py") for module in _CODE]
        name = kept.fingerprint({**asdict(params), "images": listing, "device": self.device.type}, code)
        self.checkpoint = checkpoints / f"{name}.pt"
        self.progress = kept.load(self.checkpoint)
        distributed.wait_for_all()
        self._seed("start", 0)
        valid = range(len(rows["train"]), len(self.images))
        self.learn = learner(params, self.images, valid=list(valid), labels=self.labels, device=self.device)
        # Copied before any image passes, because the transforms keep their last random draws.
        self.unused_loaders = deepcopy(self.learn.dls.new_empty())
        self.learn.model.to(self.device, memory_format=torch.channels_last)
        self.learn.remove_cbs([one for one in self.learn.cbs if isinstance(one, ProgressCallback)])
        if self.progress.model is not None:
            self.learn.model.load_state_dict(self.progress.model)

    def run(self) -> None:
        """Go through the phases that are not done yet."""
        if not distributed.rank():
            self._announce()
            self._open_live()
        if self.progress.phase == "frozen":
            if self.params.method == "probe":
                self._fit_head()
            else:
                self._fit_phase("frozen", self.params.frozen_epochs)
            self.progress.phase, self.progress.epoch = "unfrozen", 0
        self._fit_phase("unfrozen", self.params.epochs)
        if self.live is not None:
            self.live.end()

    def write(self) -> None:
        """Leave the learner and all that describes it; the checkpoint has done its work and goes."""
        from safetensors.torch import save_file

        history = self.progress.history
        model = self.learn.model.to("cpu", memory_format=torch.contiguous_format)
        with new_file(self.out / "weights.safetensors") as path:
            save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
        columns = list(history[-1])
        write_csv(self.out / "history.csv", columns, ([row[column] for column in columns] for row in history))
        write_csv(self.out / "learning_rate.csv", ["learning_rate", "loss"], self.progress.curve)
        write_json(self.out / "preprocess.json", self._preprocess())
        write_json(self.out / "metrics.json", self._metrics())
        write_json(self.out / "train.json", self._about())
        self._export()
        self.checkpoint.unlink(missing_ok=True)

    def told(self) -> str:
        """Return the closing line's words: the epochs and the last row of the history."""
        last = self.progress.history[-1]
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in last.items() if isinstance(value, float))
        return f"{len(self.progress.history)} epochs on {len(self.rows['train'])} images, {numbers}"

    def _open_live(self) -> None:
        from dvclive import Live

        self.out.mkdir(parents=True, exist_ok=True)
        self.live = Live(str(self.out / "live"), save_dvc_exp=False, dvcyaml=None, report=None)
        for row in self.progress.history:
            _log(self.live, row)

    def _announce(self) -> None:
        where = {"cuda": "GPU", "mps": "Apple GPU", "cpu": "CPU"}[self.device.type]
        params = self.params
        print(f"train: {params.architecture}, {params.method}, on the {where} ({self.device.type})", file=sys.stderr)
        if self.progress.model is not None:
            place = f"{self.progress.phase} epoch {self.progress.epoch + 1}"
            print(f"train: going on from a checkpoint, with {place}", file=sys.stderr)

    def _seed(self, phase: str, epoch: int) -> None:
        seed = int.from_bytes(hashlib.sha256(f"{self.params.seed} {phase} {epoch}".encode()).digest()[:4], "big")
        # Each process draws an augmentation of its own; the order of the images is the same for all.
        set_seed((seed + distributed.rank()) % 2**32)
        if hasattr(self, "learn"):
            self.learn.dls.train.rng = random.Random(seed)

    def _fit_head(self) -> None:
        layer = self.learn.model.eval()[1][-1]
        features, valid = self._features()
        targets = np.array([self.labels.index(row["label"]) for row in self.rows["train"]])
        num_views = features.shape[1]
        inputs, wanted = features.reshape(-1, features.shape[2]), np.repeat(targets, num_views)
        classifier = None
        if self.params.weights == "imagenet":
            classifier = imagenet_classifier(self.params.architecture, layer.in_features)
        near = None if classifier is None else probe.borrowed(classifier, inputs, wanted, len(self.labels))
        probe.fit(layer, inputs, wanted, near=near)
        with torch.inference_mode():
            logits = layer(torch.from_numpy(features[:, 0]).to(self.device)).cpu()
            train_loss = float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets)))
        row: Row = {"epoch": 0, "phase": "probe", "train_loss": train_loss, **self._validated(layer, valid)}
        self._epoch_done({**row, "learning_rate": 0.0}, phase="unfrozen", epoch=0)

    def _features(self) -> tuple[Features, Features]:
        """Return the body's features of the train side, images x views x features, and of the valid side.

        The views are the image and, unless augmentation is off, what one sees of it in a mirror.
        """
        how = Preprocessing(self.params.image_size, *statistics(self.params.architecture))
        num_views = 1 if self.params.augmentation == "none" else 2
        num_train, num_valid = (len(self.rows[side]) for side in ("train", "valid"))
        num_images = num_views * num_train + num_valid
        seen = frozen(self.learn.model[0], how.image_size, self.device, num_images=num_images)
        views = [seen, mirrored(seen)][:num_views]
        return (
            outputs(
                lambda batch: torch.stack([view(batch) for view in views], 1), self.images[:num_train], how, self.device
            ),
            outputs(seen, self.images[num_train:], how, self.device),
        )

    def _validated(self, layer: torch.nn.Linear, features: Features) -> dict[str, float]:
        """Return the valid side's loss and metrics, by the features that the body gave once."""
        targets = [self.labels.index(row["label"]) for row in self.rows["valid"]]
        pairs = list(zip(torch.from_numpy(features), torch.tensor(targets), strict=True))
        whole, self.learn.model = self.learn.model, layer
        values = self.learn.validate(dl=DataLoader(pairs, bs=self.params.batch_size, device=self.device))
        self.learn.model = whole
        return dict(zip(["valid_loss", *self.params.metrics], map(float, values), strict=True))

    def _fit_phase(self, phase: str, num_epochs: int) -> None:
        learn, params, first = self.learn, self.params, self.progress.epoch
        if first >= num_epochs or self.is_stopped_early(phase):
            return
        if phase == "frozen" and params.weights != "none":
            learn.freeze()
        else:
            learn.unfreeze()
        # Only now: fastai clears the optimizer's state whenever layers freeze or unfreeze.
        self._restore_optimizer()
        rate = self._rate()
        with self._precision(), learn.no_bar(), learn.no_logging():
            callback = [_Epochs(self, phase, first), *([Together()] if distributed.size() > 1 else [])]
            if phase == "frozen":
                learn.fit_one_cycle(num_epochs, slice(rate), pct_start=0.99, start_epoch=first, cbs=callback)
            else:
                rates = slice(rate / 2 / params.learning_rate_spread, rate / 2)
                learn.fit_one_cycle(num_epochs, rates, pct_start=0.3, div=5.0, start_epoch=first, cbs=callback)

    def is_stopped_early(self, phase: str) -> bool:
        """Say whether the phase's last epochs, as many as early_stopping allows, brought no lower valid loss."""
        patience = self.params.early_stopping
        losses = [float(row["valid_loss"]) for row in self.progress.history if row["phase"] == phase]
        return patience is not None and len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])

    def _restore_optimizer(self) -> None:
        optimizer = self.progress.optimizer
        if optimizer is not None and self.progress.epoch > 0:
            state = [_on(self.device, values) for values in optimizer["state"]]
            self.learn.opt.load_state_dict({**optimizer, "state": state})

    def _rate(self) -> float:
        if self.params.learning_rate != "auto":
            return self.params.learning_rate
        if self.progress.learning_rate is None:
            self._find_rate()
        assert self.progress.learning_rate is not None
        return self.progress.learning_rate

    def _find_rate(self) -> None:
        learn = self.learn
        self._seed("learning rate", 0)
        with tempfile.TemporaryDirectory() as folder:
            # The finder parks the weights in the learner's folder while it tries rates.
            learn.path, learn.model_dir = Path(folder), "."
            with learn.no_bar(), learn.no_logging():
                found = learn.lr_find(show_plot=False)
        learn.path, learn.model_dir = Path(), "models"
        recorder = learn.recorder
        self.progress.learning_rate = distributed.agreed(float(found.valley))
        self.progress.curve = [
            (float(rate), float(loss)) for rate, loss in zip(recorder.lrs, recorder.losses, strict=False)
        ]
        if not distributed.rank():
            print(f"train: learning-rate finder suggests {found.valley:.2e}", file=sys.stderr)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        wanted = self.params.mixed_precision
        if wanted == "auto":
            on_gpu = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
            wanted = "bf16" if on_gpu else "none"
        if wanted == "none":
            yield
            return
        from fastai.callback.fp16 import MixedPrecision

        callback = MixedPrecision(amp_mode=wanted)
        with self.learn.added_cbs(callback):
            yield

    def _epoch_done(self, row: Row, *, phase: str, epoch: int) -> None:
        progress = self.progress
        row = distributed.agreed(row)
        progress.history.append(row)
        progress.phase, progress.epoch = phase, epoch
        if distributed.rank():
            return
        progress.model = distributed.bare(self.learn.model).state_dict()
        progress.optimizer = None if self.learn.opt is None else self.learn.opt.state_dict()
        kept.save(progress, self.checkpoint)
        _log(self.live, row)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float))
        print(f"train: {row['phase']}: {numbers}", file=sys.stderr, flush=True)

    def _preprocess(self) -> dict[str, Any]:
        mean, std = statistics(self.params.architecture)
        size = self.params.image_size
        return {
            "format": 1,
            "color": "RGB",
            "orientation": "exif",
            "resize": {"short_side": short_side(self.images[0]), "filter": FILTER_NAME},
            "crop": {"kind": "center", "width": size, "height": size},
            "divide_by": 255,
            "mean": mean,
            "std": std,
            "layout": "NCHW",
            "dtype": "float32",
        }

    def _metrics(self) -> dict[str, Any]:
        last = {name: value for name, value in self.progress.history[-1].items() if isinstance(value, float)}
        last.pop("learning_rate")
        return {"epochs": len(self.progress.history), "learning_rate": self.progress.learning_rate or 0.0} | {
            name: round(value, 6) for name, value in last.items()
        }

    def _about(self) -> dict[str, Any]:
        params = self.params
        return {
            "architecture": params.architecture,
            "weights": params.weights,
            "method": params.method,
            "image_size": params.image_size,
            "labels": self.labels,
            "seed": params.seed,
            "num_train": len(self.rows["train"]),
            "num_valid": len(self.rows["valid"]),
            "learning_rate": self._told_rate(),
            "params": asdict(params),
            "versions": kept.versions(),
        }

    def _told_rate(self) -> float | None:
        wanted = self.params.learning_rate
        return self.progress.learning_rate if wanted == "auto" else wanted

    def _export(self) -> None:
        learn = self.learn
        # A new learner, because the old one keeps its last batch (larger than many a network), the time of day and
        # this project's own metrics; nothing in this one depends on how often training was interrupted.
        bare = Learner(
            self.unused_loaders,
            learn.model.eval().requires_grad_(True),
            loss_func=learn.loss_func,
            opt_func=learn.opt_func,
            splitter=learn.splitter,
            wd=learn.wd,
            path=Path(),
        )
        # By way of an open file: torch writes a path's last part, here a temporary one, into the archive.
        with new_file(self.out / "learner.pkl") as path, path.open("wb") as file:
            torch.save(bare, file, pickle_protocol=2)


class _Epochs(Callback):  # type: ignore[misc]
    """Seeds each epoch before it begins; keeps its numbers and the state after it."""

    order = 60  # after the recorder

    def __init__(self, training: Training, phase: str, first: int) -> None:
        self.training, self.phase, self.first = training, phase, first

    def before_epoch(self) -> None:
        self.training._seed(self.phase, self.epoch)
        # Else the train loss would be smoothed over epochs that a resumed training has not seen.
        self.recorder.smooth_loss.reset()

    def after_epoch(self) -> None:
        if self.epoch < self.first:  # fastai skips an epoch that was done, but calls this all the same
            return
        values = map(float, self.recorder.values[-1])
        names = ["train_loss", "valid_loss", *self.training.params.metrics]
        row: Row = {"epoch": len(self.training.progress.history), "phase": self.phase}
        row |= dict(zip(names, values, strict=True))
        row["learning_rate"] = float(self.opt.hypers[-1]["lr"])
        self.training._epoch_done(row, phase=self.phase, epoch=self.epoch + 1)
        if self.training.is_stopped_early(self.phase):
            raise CancelFitException


def _on(device: torch.device, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in values.items()}


def _log(live: Any, row: Row) -> None:
    for name, value in row.items():
        if isinstance(value, float):
            side = name.removesuffix("_loss") if name.endswith("_loss") else "valid"
            live.log_metric(f"{side}/loss" if name.endswith("_loss") else name, value)
    live.next_step()
