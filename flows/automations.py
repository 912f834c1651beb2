"""Automations as code: how they come to a server, and those that end the runs whose machine died.

`python -m flows.prepare` creates them on the server that PREFECT_API_URL names, or brings them up to date: each is
found again by its name. What tells people is in `notifications`.
"""

from collections.abc import Iterable
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.prefect_settings import ZOMBIE_SECONDS

RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
# Others may use the same server: only runs of the deployments in prefect.yaml carry this tag, and so do their events.
TAG = "prefect.tag.petmodels"
OURS = ResourceSpecification({"prefect.resource.id": TAG})
# What a run may do after Pending: anything but the steps on the way to Running.
STARTED = {f"prefect.flow-run.{name}" for name in (
    "Running", "Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "Paused", "Suspended",
    "Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Retrying",
)}  # fmt: skip


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


def _content(automation: AutomationCore) -> dict[str, object]:
    content = automation.model_dump(include=set(AutomationCore.model_fields))
    content["trigger"].pop("id", None)
    return content


def _crash(name: str, trigger: EventTrigger, message: str) -> AutomationCore:
    action = ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
    return AutomationCore(name=name, trigger=trigger, actions=[action])
