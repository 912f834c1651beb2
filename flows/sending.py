"""Send a part of a flow to another deployment, and wait for its end.

Reads and changes runs on the Prefect server. Nobody waits for ever: what runs is ended by its heartbeats, what no
worker begins in time is taken back here, and what a cancelled flow has sent the server cancels within 20 seconds.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelled

from flows.errors import StageError

_POLL_SECONDS = 1.0


def sent(
    deployment: str, parameters: Mapping[str, Any], begin_within_hours: float, *, meanwhile: Callable[[], None]
) -> FlowRun:
    """Run a deployment and return its run when that has completed; `meanwhile` is called when it has been asked for.

    Raises StageError with the run's own sentence when it ends otherwise, and when no worker has begun it in time.
    """
    run: Any = run_deployment(deployment, parameters=dict(parameters), timeout=0)
    end = time.monotonic() + begin_within_hours * 3600
    meanwhile()
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_flow_run(run.id)
            state = found.state
            if state and state.is_completed():
                return found
            if state and state.is_final():
                raise StageError(state.message or f"the run of {deployment} is {state.name}")
            if time.monotonic() > end and (state is None or state.is_scheduled() or state.is_pending()):
                told = f"no worker has begun {deployment} within {begin_within_hours:g} hours"
                client.set_flow_run_state(run.id, Cancelled(message=told))
                raise StageError(f"{told}; start one for its pool, then run this again")
            time.sleep(_POLL_SECONDS)
