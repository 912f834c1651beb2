"""Retrains in whose middle something dies: a flow, a training, a worker, the store, all at once.

Training takes about ten seconds here and leaves a checkpoint each second. Each test has a model and a split of its own,
so that no run-cache knows its training.
"""

import os
import signal
import time
from typing import Any

import pytest

from flows.object_store import weed
from flows.services import marked
from petmodels.errors import NotFoundError
from tests.flows.operator import Operator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]

CRASHED: dict[str, Any] = {"type": "CRASHED", "name": "Crashed", "message": "a power cut"}


def in_the_middle(operator: Operator, model: str, seed: int, epochs: int = 8) -> tuple[str, str, str]:
    """Start a retrain and wait for its third epoch; return its revision, its run's id and the training's."""
    revision = operator.branch(f"long-{seed}", split={"seed": seed}, train={"epochs": epochs, "epoch_seconds": 1.0})
    run = operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(run)
    operator.waits_for_log(training, "train: epoch 3")
    return revision, run, training


def assert_goes_on(operator: Operator, model: str, revision: str) -> None:
    """Assert that the next retrain takes the last checkpoint up, and ends with an undisturbed one's files."""
    again = operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(again)

    assert operator.ended(again)["state"]["type"] == "COMPLETED"
    assert any("train: going on from a checkpoint, with epoch" in line for line in operator.logs(training))
    assert operator.files(model) == operator.plain(revision)


def test_a_cancelled_retrain_cancels_its_training(operator: Operator) -> None:
    _, run, training = in_the_middle(operator, "cancelled", 6, epochs=200)

    operator.api.post(f"/flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    states = [operator.ended(one, seconds=100)["state"]["type"] for one in (run, training)]

    assert states == ["CANCELLED", "CANCELLED"]


def test_a_killed_training_goes_on_from_its_checkpoint_on_another_machine(operator: Operator) -> None:
    revision, run, training = in_the_middle(operator, "gpu-dies", 1)
    time.sleep(2)  # the last checkpoint is on its way

    operator.kill_processes_of(training)
    states = [operator.ended(one)["state"]["type"] for one in (training, run)]
    operator.forget_workspace("gpu-1")

    assert states == ["CRASHED", "FAILED"]
    assert_goes_on(operator, "gpu-dies", revision)


def test_a_killed_retrain_is_ended_by_the_next_one(operator: Operator) -> None:
    revision, run, _ = in_the_middle(operator, "flow-dies", 2)

    operator.kill_processes_of(run)
    ended = operator.ended(run)

    assert ended["state"]["type"] == "CRASHED"
    with pytest.raises(NotFoundError):
        operator.registry.versions("flow-dies")
    assert operator.retrain("flow-dies", revision).startswith("production names flow-dies@1")
    assert operator.files("flow-dies") == operator.plain(revision)


def test_a_store_that_is_away_costs_a_run_at_most(operator: Operator) -> None:
    revision, run, _ = in_the_middle(operator, "store-dies", 3)

    operator.stack.services["s3"].kill()
    time.sleep(30)
    operator.stack.restart("s3")
    ended = operator.ended(run)

    assert ended["state"]["type"] in {"COMPLETED", "FAILED"}
    operator.retrain("store-dies", revision)
    assert operator.registry.versions("store-dies") == [1]
    assert operator.registry.verify_all("store-dies").findings == ()
    assert operator.files("store-dies") == operator.plain(revision)


def test_a_retrain_lives_through_an_outage_of_the_server(operator: Operator) -> None:
    revision, run, training = in_the_middle(operator, "server-dies", 7)

    operator.stack.services["server"].kill()
    time.sleep(30)
    operator.stack.restart("server")
    states = [operator.ended(one)["state"]["type"] for one in (training, run)]

    assert states == ["COMPLETED", "COMPLETED"]
    assert operator.files("server-dies") == operator.plain(revision)


def test_a_killed_worker_is_followed_by_its_training_and_the_next_retrain_goes_on(operator: Operator) -> None:
    revision, run, training = in_the_middle(operator, "worker-dies", 5)
    time.sleep(2)  # the last checkpoint is on its way

    operator.stack.services["gpu-1"].kill()
    operator.stack.restart("gpu-1")
    states = [operator.ended(one)["state"]["type"] for one in (training, run)]

    assert states == ["CRASHED", "FAILED"]
    assert_goes_on(operator, "worker-dies", revision)


def test_a_power_cut_costs_the_run_and_no_version(operator: Operator) -> None:
    revision, run, training = in_the_middle(operator, "power-cut", 4)

    kill_everything(operator)
    for name in operator.stack.services:
        operator.stack.restart(name)
    for one in (run, training):  # what the automation does after five minutes without a heartbeat
        operator.api.post(f"/flow_runs/{one}/set_state", state=CRASHED, force=True)

    assert operator.retrain("power-cut", revision).startswith("production names power-cut@1")
    assert operator.registry.verify_all("power-cut").findings == ()
    assert operator.files("power-cut") == operator.plain(revision)


def test_no_secret_was_left_anywhere_by_all_that(operator: Operator) -> None:
    assert operator.kept_with(b"a careless stage says ***")
    assert operator.kept_with(operator.stack.variables["AWS_SECRET_ACCESS_KEY"].encode()) == []


def kill_everything(operator: Operator) -> None:
    """Kill -9 every process of the stack at once."""
    for process_id in marked(str(operator.stack.folder)):
        try:
            os.kill(process_id, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for service in operator.stack.services.values():
        if service.process:
            service.process.wait()
