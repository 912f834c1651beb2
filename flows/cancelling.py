"""End what a cancelled run has started on other machines: Prefect cancels a run and not the runs it waits for.

Reads and changes runs on the Prefect server.
"""

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling


def cancel_what_it_started(flow: object, flow_run: FlowRun, state: "State[Any]") -> None:  # noqa: ARG001 - as Prefect names them
    """Cancel the runs that `flow_run` has started and that haven't ended; a hook for a flow's `on_cancellation`."""
    started = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        for child in client.read_flow_runs(flow_run_filter=started):
            if child.state is None or not child.state.is_final():
                client.set_flow_run_state(child.id, Cancelling(message="the run that had started it was cancelled"))
