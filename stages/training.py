"""Run the phases of one training, epoch by epoch, each of them repeatable by itself.

Reads what train.py hands over; leaves the files of data/train and, while it runs, a checkpoint. Before every epoch all
random numbers start anew from the seed, the phase and the epoch's number, so that an epoch depends on the weights and
the optimizer's state alone: a resumed training draws what an undisturbed one would have drawn.
"""

import hashlib
import math
import random
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from fastai.callback.progress import ProgressCallback
from fastai.torch_core import set_seed

from stages import balance, distributed
from stages import checkpoints as kept
from stages.allocation import keep_freed_memory
from stages.checkpoints import Row
from stages.devices import checked_device, keep_to_own_cores
from stages.errors import ParamsError
from stages.fingerprints import training_name
from stages.head import fit_head, passed_over
from stages.journal import Journal, numbers_of
from stages.learner import learner
from stages.phases import SmoothLoss, fit_phase
from stages.results import write_results
from stages.train import TrainParams

Rows = Sequence[Mapping[str, str]]


class Training:
    """One training, from its checkpoint if there is one."""

    def __init__(
        self,
        params: TrainParams,
        rows: Mapping[str, Rows],
        *,
        prepared: Path,
        checkpoints: Path,
        features: Path,
        out: Path,
    ) -> None:
        self.params, self.features, self.out = params, features, out
        self.journal: Journal | None = None
        self.rows = rows
        self.images = [prepared / row["path"] for side in ("train", "valid") for row in rows[side]]
        self.labels = sorted({row["label"] for row in rows["train"]})
        self.device = checked_device(params.device, params.mixed_precision)
        keep_to_own_cores()
        keep_freed_memory(self.device)
        self.seed("start", 0)
        torch.backends.cudnn.deterministic = True  # what ran once on a GPU can be repeated there
        valid = range(len(rows["train"]), len(self.images))
        self.learn, self.weights_sha256 = learner(
            params, self.images, valid=list(valid), labels=self.labels, device=self.device
        )
        # Copied before any image passes, because the transforms keep their last random draws.
        self.unused_loaders = deepcopy(self.learn.dls.new_empty())
        self.learn.model.to(self.device, memory_format=torch.channels_last)
        self.learn.recorder.smooth_loss = SmoothLoss()
        self.learn.remove_cbs([one for one in self.learn.cbs if isinstance(one, ProgressCallback)])
        labels = [row["label"] for side in ("train", "valid") for row in rows[side]]
        name = training_name(params, self.images, labels, self.device, self.weights_sha256)
        self.checkpoint = checkpoints / f"{name}.pt"
        self.progress = kept.load(self.checkpoint)
        distributed.wait_for_all()
        if self.progress.model is not None:
            self.learn.model.load_state_dict(self.progress.model)

    def run(self) -> None:
        """Go through the phases that are not done yet."""
        if not distributed.rank():
            self._announce()
            self.journal = Journal(self.out, self.progress.history)
        try:
            self._go_through_phases()
        finally:
            if self.journal is not None:
                self.journal.close()

    def _go_through_phases(self) -> None:
        if self.progress.phase == "frozen":
            if self.params.method == "probe":
                row: Row = {"epoch": 0, "phase": "probe", **fit_head(self), "learning_rate": 0.0}
                self.end_epoch(row, phase="unfrozen", epoch=0)
            else:
                fit_phase(self, "frozen", self.params.frozen_epochs)
                self._go_back()
            self.progress.phase, self.progress.epoch = "unfrozen", 0
        fit_phase(self, "unfrozen", self.params.epochs)
        self._go_back()

    def _go_back(self) -> None:
        """Take the weights of the phase's best epoch, if they were kept; torch gives them to other processes."""
        if self.progress.best is None:
            return
        self.learn.model.load_state_dict(self.progress.best)
        self.progress.best = None
        row = self.kept_row()
        if row is not self.progress.history[-1] and not distributed.rank():
            loss = f"{row['phase']}, valid_loss {row['valid_loss']:.4g}"
            print(f"train: back to the weights of the best epoch: {row['epoch']} ({loss})", file=sys.stderr)

    def kept_row(self) -> Row:
        """Return the numbers of the epoch whose weights stay: the last, or with early_stopping its phase's best."""
        history = self.progress.history
        return history[-1] if self.params.early_stopping is None else kept.best_row(history)

    def write(self) -> None:
        """Leave the learner and all that describes it; the checkpoint has done its work and goes."""
        write_results(self)
        self.checkpoint.unlink(missing_ok=True)

    def told(self) -> str:
        """Return the closing line's words: what was done, and the kept epoch's numbers."""
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in numbers_of(self.kept_row()).items())
        done = ["a head fitted at once"] if self.params.method == "probe" else []
        if number := self.num_epochs():
            done.append(f"{number} epoch{'s' if number > 1 else ''}")
        return f"{' and '.join(done)} on {len(self.rows['train'])} images, {numbers}"

    def num_epochs(self) -> int:
        """Return how many epochs were trained; the fit of a head is none."""
        return sum(row["phase"] != "probe" for row in self.progress.history)

    def seed(self, phase: str, epoch: int) -> None:
        """Begin all random numbers anew, those of this epoch."""
        seed = int.from_bytes(hashlib.sha256(f"{self.params.seed} {phase} {epoch}".encode()).digest()[:4], "big")
        # Each process draws an augmentation of its own; the order of the images is the same for all.
        set_seed((seed + distributed.rank()) % 2**32)
        if hasattr(self, "learn"):
            self.learn.dls.train.rng = random.Random(seed)

    def end_epoch(self, row: Row, *, phase: str, epoch: int) -> None:
        """Keep the state after an epoch and tell its numbers; `phase` and `epoch` are those that come next."""
        progress = self.progress
        row = distributed.agreed(row)
        if not all(math.isfinite(float(row[name])) for name in ("train_loss", "valid_loss")):
            rate = self.progress.learning_rate or self.params.learning_rate
            raise ParamsError(
                f"params.yaml: train: learning_rate: the loss is no number any more in epoch {row['epoch']} "
                f"({row['phase']}); lower the rate: {rate}"
            )
        progress.history.append(row)
        progress.phase, progress.epoch = phase, epoch
        if distributed.rank():
            return
        progress.model = distributed.bare(self.learn.model).state_dict()
        if self.params.early_stopping is not None and kept.best_row(progress.history) is row:
            progress.best = {name: tensor.to("cpu", copy=True) for name, tensor in progress.model.items()}
        progress.optimizer = None if self.learn.opt is None else self.learn.opt.state_dict()
        kept.save(progress, self.checkpoint)
        assert self.journal is not None
        self.journal.add(row)

    def _announce(self) -> None:
        where = {"cuda": "GPU", "mps": "Apple GPU", "cpu": "CPU"}[self.device.type]
        params = self.params
        is_slow = self.device.type == "cpu" and params.method == "fine_tune" and params.weights != "none"
        quick = "; method: probe is the quick one here (README, Without a GPU)" if is_slow else ""
        told = f"{params.architecture}, {params.method}, on the {where} ({self.device.type}){quick}"
        print(f"train: {told}", file=sys.stderr)
        if uneven := balance.told(params.method, params.balance, [row["label"] for row in self.rows["train"]]):
            print(f"train: {uneven}", file=sys.stderr)
        if ignored := passed_over(params):
            print(
                f"train: a head that is fitted at once is the same whatever these are: {', '.join(ignored)}",
                file=sys.stderr,
            )
        is_spread = params.epochs and params.weights != "none" and params.learning_rate_spread > 1
        if is_spread and len(self.learn.splitter(self.learn.model)) < 3:
            told = "the body's layers have no order to cut them in, so learning_rate_spread has two groups"
            print(f"train: {told}: body, head", file=sys.stderr)
        if self.progress.model is not None:
            place = f"{self.progress.phase} epoch {self.progress.epoch + 1}"
            print(f"train: going on from a checkpoint, with {place}", file=sys.stderr)
        kept.tell_of_others(self.checkpoint)
