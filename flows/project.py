"""One project a Prefect server: which one it is, as its variable `petmodels_project` says.

Pools, the queue, deployments, automations and the webhook's block have constant names, so that a second project would
take over those of the first. Reads the environment and the server; leaves the variable, which each run asks for.
"""

import os
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists

from flows.errors import SettingsError
from flows.settings import REGISTRY, Settings
from flows.telling import redacted
from petmodels.errors import AddressError
from petmodels.storage import open_storage

VARIABLE = "petmodels_project"


def check_project(client: SyncPrefectClient, *, take_over: bool) -> None:
    """Raise SettingsError, naming both, where the server is another project's, and it isn't to be taken over."""
    other, ours = _named(client), _ours()
    if other not in (None, ours) and not take_over:
        mend = "give each a server of its own, or, where it is this one that has moved, say --take-over"
        raise SettingsError(f"this Prefect server is the project's of {_told(other)}; {mend}: {_told(ours)}")


def claim(client: SyncPrefectClient, *, take_over: bool) -> None:
    """Make the server this project's; raise what `check_project` does where another was quicker."""
    ours = _ours()
    try:
        client.create_variable(VariableCreate(name=VARIABLE, value=ours, tags=["petmodels"]))
    except ObjectAlreadyExists:
        check_project(client, take_over=take_over)
        client.update_variable(VariableUpdate(name=VARIABLE, value=ours))


def check_run() -> None:
    """Raise SettingsError in a run whose worker has another registry than the server's project: one request.

    A second project's worker takes runs that people of the first asked for, and would move its own production by them.
    A server that was prepared by an earlier release has no variable, and its runs aren't asked.
    """
    address = os.environ.get(REGISTRY)
    if FlowRunContext.get() is None or not address:
        return
    with get_client(sync_client=True) as client:
        named = _named(client)
    registry = named.get("registry") if isinstance(named, dict) else None
    if registry and registry != (ours := _registry(address)):
        mend = f"correct {REGISTRY}, or, where the registry has moved, run flows.prepare with --take-over"
        raise SettingsError(f"this worker's registry isn't the one of the server's project, {registry}; {mend}: {ours}")


def _named(client: SyncPrefectClient) -> Any:
    found = client.read_variable_by_name(VARIABLE)
    return found.value if found else None


def _ours() -> dict[str, str]:
    settings = Settings.from_environment()
    return {"registry": _registry(settings.registry), "git": redacted(settings.git).rstrip("/")}


def _registry(address: str) -> str:
    try:
        return open_storage(address).address
    except AddressError as error:
        raise SettingsError(f"{REGISTRY}: {error}") from error


def _told(project: Any) -> str:
    """Return a project in words; Postgres gives its keys back in another order, and a person may write anything."""
    if not isinstance(project, dict):
        return str(project)
    return " and ".join(str(project[key]) for key in ("registry", "git") if key in project)
