"""A clock for the epochs of a training. Imports fastai, so it is imported where something is measured."""

from fastai.callback.core import Callback

from tests.benchmarks.loops import now


class Watch(Callback):  # type: ignore[misc]
    """Takes the seconds of each epoch's steps, and of all that an epoch has: validation and checkpoint too."""

    order = 90  # after the checkpoint

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.epochs: list[float] = []

    def before_epoch(self) -> None:
        self.began = now()

    def after_train(self) -> None:
        self.steps.append(now() - self.began)

    def after_epoch(self) -> None:
        self.epochs.append(now() - self.began)
