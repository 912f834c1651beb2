"""When people are told that a flow hasn't run: so long after its last good run, or after `flows.prepare` where none is.

Reads nothing; leaves an event on Prefect's server for each flow, from which on its first good run is waited for.
"""

from collections.abc import Iterable
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.events import Event, RelatedResource, Resource
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.announcing import REGISTRY, SOUND
from flows.automations import OURS, TAG
from flows.prefect_settings import SILENCES

_COMPLETED, _AWAITED = "prefect.flow-run.Completed", "petmodels.flow.awaited"
# No event has this label, so that all that a trigger takes set one clock. Without any label Prefect's server sees to it
# that there is a clock at all times: it would begin the next one itself, and tell again and again.
_ONE_CLOCK = {"petmodels.clock"}


def silence(flow: str, hours: float) -> EventTrigger:
    """Return what fires so many hours after the flow's last good run, once, until another one begins the time anew.

    Where it has none, the time begins with `begin`. From an audit a sound registry is expected: one of an empty one
    completes, too. The clocks stand in the server's database, and its restart changes none.
    """
    is_audit = flow == "audit"
    of, good = (REGISTRY, SOUND) if is_audit else ("prefect.flow-run.*", _COMPLETED)
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": [of, _resource(flow)]}),
        match_related=[] if is_audit else [OURS, ResourceSpecification({**_labels(flow)})],
        for_each=_ONE_CLOCK,
        after={good, _AWAITED},
        expect={good},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(hours=hours),
    )


def begin(client: SyncPrefectClient, flows: Iterable[str] = SILENCES) -> None:
    """Begin the time of each flow for which none runs: it has never ended well, or people were told since."""
    tag = RelatedResource({"prefect.resource.id": TAG, "prefect.resource.role": "tag"})
    events = [
        Event(
            event=_AWAITED,
            resource=Resource({"prefect.resource.id": _resource(flow)}),
            related=[tag, RelatedResource({"prefect.resource.id": _resource(flow), **_labels(flow)})],
        )
        for flow in flows
    ]
    client.request("POST", "/events", json=[event.model_dump(mode="json") for event in events])


def _resource(flow: str) -> str:
    return f"petmodels.flow.{flow}"


def _labels(flow: str) -> dict[str, str]:
    """Return what events of the flow's runs have of the flow."""
    return {"prefect.resource.role": "flow", "prefect.resource.name": flow}
