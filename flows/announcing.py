"""Announce what has happened, and know that it was heard.

Leaves an event on Prefect's server. `emit_event` leaves its events to a thread that gives up on a server which is away
for ten seconds, and tells nobody; what an event calls for, such as a retrain, would never come.
"""

from typing import Any

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run

from flows.errors import RemoteError

REGISTRY, SOUND = "petmodels.registry", "petmodels.registry.sound"


def announce(event: str, model: str, payload: dict[str, Any]) -> None:
    """Send an event about a model, and return when the server has it; the run that it is sent from is related to it.

    In a run it is tried as long as any call to the server, as it goes by the run's own client. Raises RemoteError when
    the server stays away or refuses it.
    """
    _send(event, f"petmodels.model.{model}", payload)


def announce_move(model: str, alias: str, version: int, sentence: str) -> None:
    """Announce that an alias names this version now, for those who deploy what it names."""
    announce("petmodels.alias.moved", model, {"alias": alias, "version": version, "sentence": sentence})


def announce_sound(sentence: str) -> None:
    """Announce that an audit has read versions and found nothing broken: the sign of life of a night."""
    _send(SOUND, REGISTRY, {"sentence": sentence})


def _send(event: str, resource_id: str, payload: dict[str, Any]) -> None:
    related = []
    if flow_run.id:
        role = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
        related.append(RelatedResource(role))
    resource = Resource({"prefect.resource.id": resource_id})
    happened = Event(event=event, resource=resource, related=related, payload=payload)
    with get_client(sync_client=True) as client:
        try:
            # The client has no method for it: Prefect sends events over a websocket.
            client.request("POST", "/events", json=[happened.model_dump(mode="json")])
        except HTTPError as error:
            raise RemoteError(f"Prefect's server didn't take the event {event}: {error}") from error
