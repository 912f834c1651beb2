"""Automations as code: who is told when a run goes wrong, and what becomes of a run whose machine died.

`python -m flows.prepare` creates them on the server that PREFECT_API_URL names, or brings them up to date: each is
found again by its name. PETMODELS_NOTIFY is the address of a webhook that takes JSON; it is kept as a secret of the
block `petmodels-notify`. Without it those that tell people are left alone: on a new server nobody is told.
"""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID, uuid4

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.types import SecretDict

from flows.prefect_settings import ENDLESS_SECONDS, LATE_SECONDS, ZOMBIE_SECONDS

BLOCK = "petmodels-notify"
RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
# Others may use the same server: only runs of the deployments in prefect.yaml carry this tag, and so do their events.
OURS = ResourceSpecification({"prefect.resource.id": "prefect.tag.petmodels"})
AUDITS = ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": "audit"})
RUN_BODY = (
    "{{ flow.name }}/{{ deployment.name }}, run {{ flow_run.name }}: {{ flow_run.state.name }}. "
    "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)
# Else Slack makes links and calls to a whole channel of what others wrote. It wants these three alone, so no `|e`.
ESCAPED = "{% filter replace('&', '&amp;')|replace('<', '&lt;')|replace('>', '&gt;') %}", "{% endfilter %}"
# What a run may do after Pending: anything but the steps on the way to Running.
STARTED = {f"prefect.flow-run.{name}" for name in (
    "Running", "Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "Paused", "Suspended",
    "Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Retrying",
)}  # fmt: skip

ENDED = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}


def bring_up_to_date(client: SyncPrefectClient, wanted: Iterable[AutomationCore]) -> None:
    """Create each automation, or update the one that has its name; a second one of that name is deleted.

    One that is as wanted is left alone: an update makes the server forget which runs it waits for. One that a person
    has disabled stays so.
    """
    for automation in wanted:
        found = client.read_automations_by_name(automation.name)
        wish = automation.model_copy(update={"enabled": found[0].enabled}) if found else automation
        if not found:
            client.create_automation(wish)
        elif _content(found[0]) != _content(wish):
            client.update_automation(found[0].id, wish)
        for other in found[1:]:
            client.delete_automation(other.id)


def endings(*, zombie_seconds: int = ZOMBIE_SECONDS) -> list[AutomationCore]:
    """Return what ends the runs that can no longer end themselves, so that their slots become free.

    A run of ours counts as dead when nothing is heard of it for `zombie_seconds` after Running or a heartbeat, which
    others' needn't send; it is also dead when it doesn't begin within that time after a worker has taken it. The server
    never lets a run leave Completed, Failed or Cancelled for Crashed: a heartbeat that arrives late does no harm.
    """
    silence = EventTrigger(
        match=RUNS,
        match_related=OURS,
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=zombie_seconds),
    )
    stuck = silence.model_copy(update={"after": {"prefect.flow-run.Pending"}, "expect": STARTED})
    return [
        _crash("petmodels: end runs without a heartbeat", silence, f"no heartbeat for {zombie_seconds} seconds"),
        _crash("petmodels: end runs that never begin", stuck, f"not begun {zombie_seconds} seconds after its start"),
    ]


def notifications(
    block: UUID, *, late_seconds: int = LATE_SECONDS, endless_seconds: int = ENDLESS_SECONDS
) -> list[AutomationCore]:
    """Return what tells people, through the notification block, of what may need them.

    A run is late when `late_seconds` after its time no worker has taken it. One that hangs sends heartbeats as one that
    works does, so that it is only told of, after `endless_seconds`. A night's audit that found nothing is told of, too:
    where all is silent, the server is gone.
    """
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
    audited = EventTrigger(
        match=RUNS,
        match_related=[OURS, AUDITS],
        expect={"prefect.flow-run.Completed"},
        posture=Posture.Reactive,
        threshold=1,
    )
    told = "{{ event.resource.id }}: {{ event.payload.sentence }}"
    return [
        _tell("petmodels: tell of failed and crashed runs", failed, block, "petmodels: a run failed", RUN_BODY),
        _tell("petmodels: tell of late runs", late, block, "petmodels: a run is late", RUN_BODY),
        _tell("petmodels: tell of runs without an end", endless, block, "petmodels: a run goes on and on", RUN_BODY),
        _tell("petmodels: tell of audits that found nothing", audited, block, "petmodels: alive", RUN_BODY),
        _tell("petmodels: tell of refused challengers", _said("challenger.refused"), block,
              "petmodels: challenger refused", told),
        _tell("petmodels: tell of slipping champions", _said("champion.slipping"), block,
              "petmodels: a champion is slipping", told),
        _tell("petmodels: tell of moved aliases", _said("alias.moved"), block, "petmodels: an alias moved", told),
    ]  # fmt: skip


def _said(event: str) -> EventTrigger:
    """Return what listens to an event that a flow announces of a model."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "petmodels.model.*"}),
        expect={f"petmodels.{event}"},
        posture=Posture.Reactive,
        threshold=1,
    )


def names_in_use() -> list[str]:
    """Return the names of all automations that a preparation makes."""
    return [one.name for one in (*endings(), *notifications(uuid4()))]


def still_telling(client: SyncPrefectClient) -> list[str]:
    """Return the names of the automations that tell people on this server, made by an earlier preparation."""
    names = [one.name for one in notifications(uuid4())]
    return [name for name in names if any(found.enabled for found in client.read_automations_by_name(name))]


def save_block(address: str) -> UUID:
    """Save the block through which people are told; `address` is kept as a secret."""
    block = CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"address": address}),
    )
    saved = block.save(BLOCK, overwrite=True)
    assert isinstance(saved, UUID)
    return saved


def _content(automation: AutomationCore) -> dict[str, object]:
    content = automation.model_dump(include=set(AutomationCore.model_fields))
    content["trigger"].pop("id", None)
    return content


def _crash(name: str, trigger: EventTrigger, message: str) -> AutomationCore:
    action = ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
    return AutomationCore(name=name, trigger=trigger, actions=[action])


def _tell(name: str, trigger: EventTrigger, block: UUID, subject: str, body: str) -> AutomationCore:
    action = SendNotification(block_document_id=block, subject=subject, body=body.join(ESCAPED))
    return AutomationCore(name=name, trigger=trigger, actions=[action])
