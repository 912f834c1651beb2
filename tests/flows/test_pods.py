"""Runs as Prefect's Kubernetes worker has pods execute them: evicted and begun again, or begun when they are over."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    temporary_settings,
)

from flows.errors import StageError
from flows.object_store import weed
from flows.sending import sent
from flows.stack import Options, Stack
from tests.flows.api import Api, wait
from tests.flows.interruptions import losing_an_answer
from tests.flows.stacks import stack_with_tables
from tests.flows.stand_ins import checkout

pytestmark = [pytest.mark.slow, pytest.mark.skipif(weed() is None, reason="no S3 server on this platform")]

SENDING = """
from pathlib import Path
from prefect import flow
from flows.outcome import settled
from flows.sending import sent
@flow
@settled
def retrain(revision: str):
    texts = {"revision": revision, "params": "epochs: 1"}
    run = sent("train/gpu", texts, 1.0, meanwhile=Path(revision).touch, tell=print)
    return f"trained by {run.id}"
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server without workers, whose retrain has train/gpu train and does nothing else."""
    project = checkout(tmp_path_factory.mktemp("pods") / "project", {"retrain": SENDING})
    with stack_with_tables(tmp_path_factory, Options(checkout=project, git=str(project), pools=())) as running:
        yield running


@contextmanager
def pod(stack: Stack, run: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Begin a run as a pod does; SIGTERM, which a pod that is evicted gets, puts it back into its queue."""
    own = {"PREFECT__FLOW_RUN_ID": run, "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule"}
    command = [sys.executable, "-m", "prefect", "flow-run", "execute"]
    with subprocess.Popen(command, env=stack.variables | own, cwd=stack.folder) as process:
        try:
            yield process
            process.wait(90)
        finally:
            process.kill()


def trainings(api: Api, run: str) -> list[dict[str, Any]]:
    return api.runs(parent_flow_run_id={"any_": [run]})


def test_a_retrain_that_is_evicted_goes_on_with_the_training_that_it_has_sent(stack: Stack) -> None:
    api = Api(stack.api)
    asked = stack.folder / "asked"  # the flow touches it when it has a training to wait for
    run = api.run("retrain/weekly", revision=str(asked))
    with pod(stack, run) as first:
        wait(asked.exists, 60, "it waits for a training")
        first.send_signal(signal.SIGTERM)
    evicted = api.state(run)
    asked.unlink()
    with pod(stack, run):
        wait(asked.exists, 60, "it waits for a training again")
        (training,) = [one["id"] for one in trainings(api, run)]
        api.post(f"/flow_runs/{training}/set_state", state={"type": "CRASHED", "name": "Crashed"}, force=True)
        wait(lambda: len(trainings(api, run)) == 2, 60, "it has sent another one")
        (again,) = {one["id"] for one in trainings(api, run)} - {training}
        api.post(f"/flow_runs/{again}/set_state", state={"type": "COMPLETED", "name": "Completed"}, force=True)

    assert evicted == "AwaitingRetry"
    assert api.get(f"/flow_runs/{run}")["state"]["message"] == f"trained by {again}"


@pytest.mark.parametrize("is_asked_twice", [False, True])
def test_a_run_that_is_crashed_before_its_pod_begins_does_nothing(stack: Stack, is_asked_twice: bool) -> None:
    """Where an answer of the server was lost, Prefect asks once more to be Running."""
    api = Api(stack.api)
    run = api.run("retrain/weekly", revision="main")
    over = {"type": "CRASHED", "name": "Crashed", "message": "not begun 300 seconds after its start"}
    api.post(f"/flow_runs/{run}/set_state", state=over)
    if is_asked_twice:
        api.post(f"/flow_runs/{run}/set_state", state={"type": "RUNNING", "name": "Running"}, force=True)

    with pod(stack, run):
        pass

    state = api.get(f"/flow_runs/{run}")["state"]
    assert trainings(api, run) == []
    assert (state["type"], state["name"]) == ("CRASHED", "Crashed")
    assert state["message"] == f"{over['message']}; it has begun after that, and done nothing: run it again"


def test_a_training_is_sent_once_where_the_answer_to_that_is_lost(stack: Stack) -> None:
    """As by a database that goes away when it has written the run down."""
    parameters = {"revision": "lost", "params": "epochs: 1"}
    retries = {PREFECT_CLIENT_MAX_RETRIES: 2, PREFECT_CLIENT_RETRY_EXTRA_CODES: "500"}

    with (
        losing_an_answer(stack.api, "/create_flow_run") as address,
        temporary_settings({PREFECT_API_URL: address} | retries),
        pytest.raises(StageError, match=r"^no worker has begun train/gpu within 0 hours"),
    ):
        sent("train/gpu", parameters, 0.0, meanwhile=lambda: None, tell=print)

    runs = [run for run in Api(stack.api).runs() if run["parameters"].get("revision") == "lost"]
    assert [run["state"]["type"] for run in runs] == ["CANCELLED"]
