"""Send a part of a flow to another deployment, and wait for its end.

Reads and changes runs on the Prefect server. Nobody waits for ever: what runs is ended by its heartbeats, what no
worker begins in time is taken back here, and what a cancelled flow has sent the server cancels within 20 seconds.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.states import Cancelled

from flows.errors import StageError

_POLL_SECONDS = 1.0


def sent(
    deployment: str,
    parameters: Mapping[str, Any],
    begin_within_hours: float,
    *,
    meanwhile: Callable[[], None],
    tell: Callable[[str], None],
) -> FlowRun:
    """Run a deployment and return its run when that has completed; `meanwhile` is called when it has been asked for.

    `tell` gets a line then, and one when a worker has begun it.

    A run that still lives is taken for it where this flow's run has begun before, in a pod that was evicted, and has
    sent it with the same parameters; should it end as Crashed, another one is run. Raises StageError with the run's own
    sentence when it ends otherwise, and when no worker has begun it in time.
    """
    with get_client(sync_client=True) as client:
        taken = _sent_before(client, deployment, parameters)
        once = str(uuid4())  # the client asks again where an answer is lost, and a training is dear
        run: Any = taken or run_deployment(deployment, parameters=dict(parameters), timeout=0, idempotency_key=once)
        name = f"{deployment}, run {run.id}"  # its name changes when it begins
        tell(f"waits for {name}, which a worker of its pool is to begin within {begin_within_hours:g} hours")
        meanwhile()
        ended, state = _ended(client, run.id, deployment, begin_within_hours, tell)
    if state.is_completed():
        return ended
    if taken and state.is_crashed():  # its machine may have died with the former attempt's
        return sent(deployment, parameters, begin_within_hours, meanwhile=lambda: None, tell=tell)
    raise StageError(state.message or f"the run of {deployment} is {state.name}")


def _ended(
    client: SyncPrefectClient, run: UUID, deployment: str, begin_within_hours: float, tell: Callable[[str], None]
) -> tuple[FlowRun, State]:
    """Return the run, and its last state, when it has ended; take it back where no worker has begun it in time."""
    has_begun, end = False, time.monotonic() + begin_within_hours * 3600
    while True:
        found = client.read_flow_run(run)
        state = found.state
        if found.start_time and not has_begun:
            has_begun = True
            tell(f"{deployment}, run {run} has begun")
        if state and state.is_final():
            return found, state
        if time.monotonic() > end and (state is None or state.is_scheduled() or state.is_pending()):
            told = f"no worker has begun {deployment} within {begin_within_hours:g} hours"
            client.set_flow_run_state(run, Cancelled(message=told))
            raise StageError(f"{told}; start one for its pool, then run this again")
        time.sleep(_POLL_SECONDS)


def _sent_before(client: SyncPrefectClient, deployment: str, parameters: Mapping[str, Any]) -> FlowRun | None:
    """Return what a former attempt of this flow's run has sent and what hasn't ended since."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    wanted = client.read_deployment_by_name(deployment).id
    ours = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[context.flow_run.id]))
    for run in client.read_flow_runs(flow_run_filter=ours):
        is_over = run.state is None or run.state.is_final() or run.state.is_cancelling()
        if run.deployment_id == wanted and not is_over and run.parameters.items() >= parameters.items():
            return run
    return None
