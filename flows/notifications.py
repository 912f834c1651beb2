"""Automations that tell people, through a webhook, of what may need them, and of what hasn't come that should have.

Each is a trigger on events of Prefect's and of the flows' own. PETMODELS_NOTIFY is the address of a webhook that takes
JSON; it is kept as a secret of the block `petmodels-notify`. Without it these are left alone: on a new server nobody is
told.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.types import SecretDict

from flows.announcing import REGISTRY, SOUND
from flows.automations import OURS, RUNS
from flows.prefect_settings import ENDLESS_SECONDS, LATE_SECONDS, SILENCES
from flows.silences import silence

BLOCK = "petmodels-notify"
RUN_BODY = (
    "{{ flow.name }}/{{ deployment.name }}, run {{ flow_run.name }}: {{ flow_run.state.name }}. "
    "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)
# Whoever is told looks next at the page of the run that has announced it; a program of theirs needn't have one.
EVENT_BODY = "{{ event.resource.id }}: {{ event.payload.sentence }}{% if flow_run %}\n{{ flow_run|ui_url }}{% endif %}"
_LAST_GOOD = "{% if flow_run %}\nthe last one that has: {{ flow_run|ui_url }}{% endif %}"
# Else Slack makes links and calls to a whole channel of what others wrote. It wants these three alone, so no `|e`.
ESCAPED = "{% filter replace('&', '&amp;')|replace('<', '&lt;')|replace('>', '&gt;') %}", "{% endfilter %}"
ENDED = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
_MODELS = ResourceSpecification({"prefect.resource.id": "petmodels.model.*"})
_REGISTRY = ResourceSpecification({"prefect.resource.id": REGISTRY})


def notifications(
    block: UUID, *, late_seconds: int = LATE_SECONDS, endless_seconds: int = ENDLESS_SECONDS
) -> list[AutomationCore]:
    """Return what tells people, through the notification block, of what may need them.

    A run is late when `late_seconds` after its time no worker has taken it. One that hangs sends heartbeats as one that
    works does, so that it is only told of, after `endless_seconds`. A night's audit that found nothing is told of, too:
    where all is silent, the server is gone.
    """
    return [*_of_runs(block, late_seconds, endless_seconds), *_of_events(block), *silences(block)]


def _of_runs(block: UUID, late_seconds: int, endless_seconds: int) -> list[AutomationCore]:
    failed = EventTrigger(
        match=RUNS,
        match_related=OURS,
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
        posture=Posture.Reactive,
        threshold=1,
    )
    late = EventTrigger(
        match=RUNS,
        match_related=OURS,
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.Late"},
        expect={"prefect.flow-run.*"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=late_seconds),
    )
    endless = late.model_copy(
        update={
            "after": {"prefect.flow-run.Running"},
            "expect": ENDED,
            "within": timedelta(seconds=endless_seconds),
        }
    )
    return [
        _tell("failed and crashed runs", failed, block, "a run failed", RUN_BODY),
        _tell("late runs", late, block, "a run is late", RUN_BODY),
        _tell("runs without an end", endless, block, "a run goes on and on", RUN_BODY),
    ]


def _of_events(block: UUID) -> list[AutomationCore]:
    return [
        _tell("audits that found nothing", _said(_REGISTRY, SOUND), block, "alive", EVENT_BODY),
        _tell("refused challengers", _said(_MODELS, "petmodels.challenger.refused"), block, "challenger refused",
              EVENT_BODY),
        _tell("slipping champions", _said(_MODELS, "petmodels.champion.slipping"), block, "a champion is slipping",
              EVENT_BODY),
        _tell("moved aliases", _said(_MODELS, "petmodels.alias.moved"), block, "an alias moved", EVENT_BODY),
        _tell("refused photographs", _said(_MODELS, "petmodels.images.refused"), block, "photographs refused",
              EVENT_BODY),
    ]  # fmt: skip


def silences(block: UUID, *, hours: Mapping[str, float] = SILENCES) -> list[AutomationCore]:
    """Return what tells people that no run of a flow has completed for so many hours since the last one.

    A run that fails is told of; of a schedule that is paused or lost there is nothing to tell, and no image is taken in
    any more.
    """
    return [
        _tell(f"silence of {flow}", silence(flow, number), block, f"no {flow}",
              f"no run of {flow} has ended well for {number:g} hours; is its schedule paused?{_LAST_GOOD}")
        for flow, number in hours.items()
    ]  # fmt: skip


def _said(resource: ResourceSpecification, event: str) -> EventTrigger:
    """Return what listens to an event that a flow announces."""
    return EventTrigger(match=resource, expect={event}, posture=Posture.Reactive, threshold=1)


def names_telling() -> list[str]:
    """Return the names of all automations that tell people."""
    return [one.name for one in notifications(uuid4())]


def still_telling(client: SyncPrefectClient) -> list[str]:
    """Return the names of the automations that tell people on this server, made by an earlier preparation."""
    return [name for name in names_telling() if any(found.enabled for found in client.read_automations_by_name(name))]


def save_block(address: str) -> UUID:
    """Save the block through which people are told; `address` is kept as a secret."""
    saved = _block(address).save(BLOCK, overwrite=True)
    assert isinstance(saved, UUID)
    return saved


def why_unheard(address: str, *, most_seconds: float = 30.0) -> str:
    """Send one message as the server will do it; return why it wasn't taken, "" when it was, without the address."""
    try:
        asyncio.run(_send_first(address, most_seconds))
    except TimeoutError:
        return f"no whole answer within {most_seconds:g} seconds"
    except httpx.HTTPStatusError as error:
        return f"{error.response.status_code} {error.response.reason_phrase}"
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # their texts may show the address
        return type(error).__name__
    return ""


async def _send_first(address: str, most_seconds: float) -> None:
    """Send it; raise TimeoutError where all of it takes longer: httpx counts from each byte of an answer anew."""
    async with asyncio.timeout(most_seconds):
        subject, body = "petmodels: prepared; trouble is told here from now on", "python -m flows.prepare"
        await _block(address).anotify(body, subject)


def _block(address: str) -> CustomWebhookNotificationBlock:
    return CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"address": address}),
    )


def _tell(what: str, trigger: EventTrigger, block: UUID, subject: str, body: str) -> AutomationCore:
    action = SendNotification(block_document_id=block, subject=f"petmodels: {subject}", body=body.join(ESCAPED))
    return AutomationCore(name=f"petmodels: tell of {what}", trigger=trigger, actions=[action])
