"""A retrain whose parts die in the middle, on a stack whose workers share nothing: what the next one makes of it.

Training takes about ten seconds and leaves a checkpoint each second, so that there is a middle.
"""

import os
import signal
import time
from typing import Any

import pytest

from flows.object_store import weed
from petmodels.errors import NotFoundError
from tests.flows.operator import Operator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]

# Other data than in the other tests, so that no run-cache knows the training; each test takes a seed of its own.
LONG = {"epochs": 8, "epoch_seconds": 1.0}


def branch(operator: Operator, seed: int) -> str:
    return operator.branch(f"long-{seed}", split={"seed": seed}, train=LONG)


def undisturbed(operator: Operator, model: str, revision: str) -> dict[str, str]:
    """Return the files of a version that another model gets from the same revision, with nobody dying."""
    operator.retrain(model, revision)
    return files(operator, model)


def files(operator: Operator, model: str) -> dict[str, str]:
    return {file.path: file.sha256 for file in operator.registry.manifest(f"{model}@production").files}


def in_the_middle(operator: Operator, model: str, revision: str) -> tuple[str, str]:
    """Start a retrain, wait for the third epoch, and return the ids of its run and of the training's."""
    run = operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(run)
    operator.waits_for_log(training, "train: epoch 3")
    return run, training


def test_a_killed_training_goes_on_from_its_checkpoint_on_another_machine(operator: Operator) -> None:
    revision = branch(operator, 1)
    run, training = in_the_middle(operator, "gpu-dies", revision)
    time.sleep(2)  # the last checkpoint is on its way

    operator.kill_processes_of(training)
    ended, failed = operator.ended(training), operator.ended(run)
    operator.forget_workspace("gpu-1")
    again = operator.start("retrain/weekly", model="gpu-dies", revision=revision)
    second = operator.training_of(again)

    assert ended["state"]["type"] == "CRASHED"
    assert failed["state"]["type"] == "FAILED"
    assert operator.ended(again)["state"]["type"] == "COMPLETED"
    assert any("train: going on from a checkpoint, with epoch" in line for line in operator.logs(second))
    assert files(operator, "gpu-dies") == undisturbed(operator, "gpu-lives", revision)


def test_a_killed_retrain_is_ended_by_the_next_one(operator: Operator) -> None:
    revision = branch(operator, 2)
    run, _ = in_the_middle(operator, "flow-dies", revision)

    operator.kill_processes_of(run)
    ended = operator.ended(run)

    assert ended["state"]["type"] == "CRASHED"
    with pytest.raises(NotFoundError):
        operator.registry.versions("flow-dies")
    assert operator.retrain("flow-dies", revision).startswith("production names flow-dies@1")


def test_a_store_that_is_away_fails_the_run_and_nothing_else(operator: Operator) -> None:
    revision = branch(operator, 3)
    run, _ = in_the_middle(operator, "store-dies", revision)

    operator.stack.services["s3"].kill()
    time.sleep(30)
    operator.stack.restart("s3")
    ended = operator.ended(run)

    if ended["state"]["type"] != "COMPLETED":  # when the store was wanted while it was away
        assert ended["state"]["type"] == "FAILED", ended["state"]
        operator.retrain("store-dies", revision)
    assert operator.registry.versions("store-dies") == [1]
    assert operator.registry.verify_all("store-dies").findings == ()


def test_a_power_cut_costs_the_run_and_no_version(operator: Operator) -> None:
    revision = branch(operator, 4)
    run, training = in_the_middle(operator, "power-cut", revision)

    _kill_everything(operator)
    for name in operator.stack.services:
        operator.stack.restart(name)
    operator.api.post(f"/flow_runs/{run}/set_state", state=_CRASHED, force=True)
    operator.api.post(f"/flow_runs/{training}/set_state", state=_CRASHED, force=True)

    assert operator.retrain("power-cut", revision).startswith("production names power-cut@1")
    assert operator.registry.verify_all("power-cut").findings == ()


def test_a_version_that_was_published_and_not_promoted_is_promoted_by_the_next_run(operator: Operator) -> None:
    operator.retrain("between")
    alias = operator.registry.storage
    alias.delete("between/aliases/production.jsonl")  # as if the flow had died between the two

    sentence = operator.retrain("between")

    assert sentence.startswith("production names between@1 because the first version: ")


_CRASHED: dict[str, Any] = {"type": "CRASHED", "name": "Crashed", "message": "a power cut"}


def _kill_everything(operator: Operator) -> None:
    """Kill -9 every process of the stack at once."""
    from flows.services import marked

    for process_id in marked(str(operator.stack.folder)):
        try:
            os.kill(process_id, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for service in operator.stack.services.values():
        if service.process:
            service.process.wait()
