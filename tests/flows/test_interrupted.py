"""Retrains in whose middle something dies: a flow, a training, a worker, the store, the server.

Training takes about thirteen seconds here and leaves a checkpoint each epoch. Each test has a model and a split of its
own, so that no run-cache knows its training.
"""

import time
from functools import partial
from urllib.parse import urlsplit

import pytest

from flows.object_store import weed
from petmodels.errors import NotFoundError
from tests.flows.api import wait
from tests.flows.interruptions import answers_of_500, assert_goes_on, in_the_middle
from tests.flows.operator import Operator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]


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
    assert_goes_on(operator, "gpu-dies", revision, after=training)


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


def test_a_retrain_lives_through_answers_of_500_and_a_server_that_is_away(operator: Operator) -> None:
    revision, run, training = in_the_middle(operator, "server-dies", 7)

    operator.stack.services["server"].kill()
    with answers_of_500(urlsplit(operator.stack.api).port or 0) as asked:
        time.sleep(10)
    time.sleep(20)
    operator.stack.restart("server")
    states = [operator.ended(one)["state"]["type"] for one in (training, run)]

    assert f"/api/flow_runs/{training}" in asked  # by the retrain, which waits for it
    assert states == ["COMPLETED", "COMPLETED"]
    assert operator.files("server-dies") == operator.plain(revision)


def test_a_killed_worker_is_followed_by_its_training_and_the_next_retrain_goes_on(operator: Operator) -> None:
    revision, run, training = in_the_middle(operator, "worker-dies", 5)
    time.sleep(2)  # the last checkpoint is on its way

    operator.stack.services["gpu-1"].kill()
    operator.stack.restart("gpu-1")
    states = [operator.ended(one)["state"]["type"] for one in (training, run)]

    assert states == ["CRASHED", "FAILED"]
    assert_goes_on(operator, "worker-dies", revision, after=training)


def test_a_retrain_killed_at_each_step_of_its_release_releases_once(operator: Operator) -> None:
    """Forty megabytes give the killer time to see the publishing begin."""
    revision = operator.branch("release-dies", split={"seed": 8}, export={"padding_bytes": 40_000_000})
    model, storage = "release-dies", operator.registry.storage

    def has(what: str) -> bool:
        return any(True for _ in storage.list(f"{model}/{what}"))

    def gate_begins(run: str) -> bool:
        filters = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"name": {"like_": "gate"}}}
        return run != "none yet" and bool(operator.api.post("/task_runs/filter", **filters))

    num_killed = 0
    for has_come in (gate_begins, lambda _: has("blobs/"), lambda _: has("versions/"), lambda _: has("aliases/")):
        if has_come("none yet"):
            continue  # the kill before came late
        run = operator.start("retrain/weekly", model=model, revision=revision)
        wait(partial(has_come, run), 240, "the step to be killed at", every=0.02)
        operator.kill_processes_of(run, if_any=True)
        num_killed += operator.ended(run)["state"]["type"] == "CRASHED"
        assert has("versions/") or not has("aliases/")
        if has("versions/"):
            assert operator.registry.verify_all(model).findings == ()

    assert num_killed >= 2
    assert operator.retrain(model, revision).startswith("nothing to do: release-dies@1 is what ")
    assert operator.registry.versions(model) == [1]
    assert [step.version for step in operator.registry.aliases(model)[0].steps] == [1]
    assert operator.files(model) == operator.plain(revision)


def test_no_secret_was_left_anywhere_by_all_that(operator: Operator) -> None:
    operator.registry.storage.create("planted", 100 * b"a planted secret ")
    assert "registry/planted" in operator.kept_with(b"a planted secret")
    assert operator.kept_with(b"a careless stage says ***")
    assert operator.kept_with(operator.stack.variables["AWS_SECRET_ACCESS_KEY"].encode()) == []
