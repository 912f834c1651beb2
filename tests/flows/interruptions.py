"""Retrains that are in the middle of their training when something happens to them, and what follows them."""

import re

from tests.flows.operator import Operator

EPOCHS, EPOCH_SECONDS = 16, 0.8
LATE = 5  # epochs that a checkpoint may be behind on its way, and the lines of two runs apart


def in_the_middle(operator: Operator, model: str, seed: int, epochs: int = EPOCHS) -> tuple[str, str, str]:
    """Start a retrain and wait until its third epoch is over; return its revision, its run's id and the training's."""
    revision = operator.branch(
        f"long-{seed}", split={"seed": seed}, train={"epochs": epochs, "epoch_seconds": EPOCH_SECONDS}
    )
    run = operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(run)
    operator.waits_for_log(training, r"train: epoch 3$")
    return revision, run, training


def assert_goes_on(operator: Operator, model: str, revision: str, *, after: str, run: str | None = None) -> None:
    """Assert that the next retrain takes up the last checkpoint of the training `after`, and ends with the files of one
    that nobody has disturbed.
    """
    again = run or operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(again)

    assert operator.ended(again)["state"]["type"] == "COMPLETED"
    (goes_on_with,) = epochs(operator, training, r"train: going on from a checkpoint, with epoch (\d+)$")
    reached = max(epochs(operator, after, r"train: epoch (\d+)$"))
    assert max(1, reached - LATE) < goes_on_with <= EPOCHS
    assert operator.files(model) == operator.plain(revision)


def epochs(operator: Operator, run: str, pattern: str) -> list[int]:
    """Return the epochs that a run's log speaks of in lines like this."""
    return [int(found[1]) for line in operator.logs(run) if (found := re.match(pattern, line))]
