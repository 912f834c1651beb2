"""What an earlier release has left on a Prefect server: deployments and automations that this one doesn't know.

Reads prefect.yaml and the server; leaves both as they are. `prefect deploy` and `flows.prepare` only make and change:
what was renamed would go on beside its successor, on a schedule of its own.
"""

import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from ruamel.yaml import YAML

TAG, PREFIX = "petmodels", "petmodels: "
_PREFECT_YAML = Path(__file__).parent.parent / "prefect.yaml"


def leftovers(client: SyncPrefectClient, automations: Collection[str]) -> list[str]:
    """Return a line for each thing of ours that neither prefect.yaml nor `automations`, the names in use, knows."""
    return [*_deployments(client), *_automations(client, automations)]


def _deployments(client: SyncPrefectClient) -> Iterator[str]:
    document = YAML(typ="safe", pure=True).load(_PREFECT_YAML)
    known = {f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}" for one in document["deployments"]}
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    for found in client.read_deployments(deployment_filter=ours):
        name = f"{client.read_flow(found.flow_id).name}/{found.name}"
        if name not in known:
            yield f"prefect.yaml has no deployment {name}; to delete it: prefect deployment delete {shlex.quote(name)}"


def _automations(client: SyncPrefectClient, known: Collection[str]) -> Iterator[str]:
    for found in client.read_automations():
        if found.name.startswith(PREFIX) and found.name not in known:
            command = f"prefect automation delete --id {found.id}"
            yield f"no automation of this release is called '{found.name}'; to delete it: {command}"
