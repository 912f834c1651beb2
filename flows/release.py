"""The flow `release`: promote a version, or roll an alias back, by hand and with a reason.

Reads and changes the registry; the reason stays in the alias's history.
"""

from typing import Literal

from prefect import flow
from prefect.runtime import flow_run

from flows.announcing import announce_move
from flows.artifacts import artifact_key, leave_table
from flows.errors import RequestError
from flows.outcome import settled, tell
from flows.settings import Settings
from petmodels import Alias, Registry
from petmodels.errors import NotFoundError


@flow(name="release", flow_run_name="{action} {model} {alias}")
@settled
def release(
    model: str = "pets",
    action: Literal["promote", "rollback"] = "promote",
    alias: str = "production",
    version: int | None = None,
    reason: str = "",
) -> str:
    """Make an alias name a version (`promote`), or what it named before (`rollback`)."""
    if not reason.strip():
        raise RequestError("a release needs a reason: it stays in the alias's history")
    if (action == "promote") != (version is not None):
        raise RequestError("promote needs a version, and rollback takes none: it goes back to the version before")
    registry = Registry(Settings.from_environment().registry, notice=tell)
    note = f"{reason} (run {str(flow_run.id)[-12:]})"  # its end: ids that a server makes begin with the time
    moved = _moved_by(registry, model, alias, note)
    if moved is None and action == "promote":
        moved = registry.promote(f"{model}@{version}", alias, message=note)
    elif moved is None:
        moved = registry.rollback(model, alias, message=note)
    rows = [{"at": step.at, "action": step.action, "version": step.version, "reason": step.note}
            for step in reversed(moved.steps)]  # fmt: skip
    leave_table(rows, artifact_key(model, alias, "history"), f"{model}@{alias}, newest step first")
    by_now = "" if moved.steps[-1].note == note else " by now, moved once more after this run"
    sentence = f"{alias} names {model}@{moved.version}{by_now}: {reason}"
    announce_move(model, alias, moved.version, sentence)
    return sentence


def _moved_by(registry: Registry, model: str, alias: str, note: str) -> Alias | None:
    """Return the alias if this run has moved it already: tried again, a rollback would go back once more."""
    try:
        found = registry.alias(model, alias)
    except NotFoundError:
        return None  # promote and rollback say it best
    return found if any(step.note == note for step in found.steps) else None
