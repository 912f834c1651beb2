"""Tell a Prefect server what the deployments of prefect.yaml stand on: work pools, limits, automations.

Run it once for every server, and again after a change: `python -m flows.prepare --gpus 2`. It reads PREFECT_API_URL,
PETMODELS_NOTIFY and the workers' variables, and leaves nothing on this machine. What an earlier release left on the
server it only names; another project's server it leaves as it is.
"""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.plugins import load_prefect_collections
from prefect.utilities.dispatch import lookup_type
from prefect.workers.base import BaseWorker

from flows import silences
from flows.automations import bring_up_to_date, endings
from flows.errors import FlowError, RequestError, SettingsError
from flows.event_stream import why_closed
from flows.leftovers import leftovers
from flows.notifications import BLOCK, names_telling, notifications, save_block, still_telling, why_unheard
from flows.prefect_api import named_server
from flows.prefect_settings import ENDLESS_SECONDS, LATE_SECONDS, ZOMBIE_SECONDS
from flows.project import check_project, claim

CPU, GPU = "cpu", "gpu"
# Both deployments of retrain take their runs from here: the limit holds over the two together.
RETRAIN_QUEUE = "retrain"
_ADDRESS = re.compile(r"https?://[^/\s]\S*$")


def main() -> None:
    """Run `python -m flows.prepare`."""
    parser = argparse.ArgumentParser(prog="python -m flows.prepare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cpus", type=int, default=4, help="how many runs the pool cpu may have at once")
    parser.add_argument("--gpus", type=int, default=1, help="how many the pool gpu may: as many as there are GPUs")
    parser.add_argument("--pool-type", default="process", help="process, docker or kubernetes")
    parser.add_argument("--python", help="the interpreter of process workers, at one path on every machine")
    parser.add_argument("--zombie-seconds", type=int, default=ZOMBIE_SECONDS, help="silence after which a run is dead")
    parser.add_argument("--late-seconds", type=int, default=LATE_SECONDS, help="lateness after which people are told")
    parser.add_argument(
        "--endless-seconds",
        type=int,
        default=ENDLESS_SECONDS,
        help="seconds after which people are told of a run that hasn't ended",
    )
    parser.add_argument(
        "--take-over", action="store_true", help="make the server this project's, whose registry or git has moved"
    )
    arguments = parser.parse_args()
    try:
        _prepare(arguments)
    except FlowError as error:
        sys.exit(f"prepare: {error}")


def _prepare(arguments: argparse.Namespace) -> None:
    _check(arguments)
    address = _told_address()
    with named_server() as client:
        check_project(client, take_over=arguments.take_over)
        for name in (CPU, GPU):
            _check_pool(client, name, arguments.pool_type, arguments.python)
        claim(client, take_over=arguments.take_over)
        _limit_pool(client, CPU, arguments.pool_type, arguments.cpus)
        _limit_pool(client, GPU, arguments.pool_type, arguments.gpus)
        if arguments.python:
            for name in (CPU, GPU):
                _start_by(client, name, shlex.join([arguments.python, "-m", "prefect.engine"]))
        _limit_queue(client, CPU, RETRAIN_QUEUE, 1)
        bring_up_to_date(client, endings(zombie_seconds=arguments.zombie_seconds))
        if address:
            seconds = {"late_seconds": arguments.late_seconds, "endless_seconds": arguments.endless_seconds}
            bring_up_to_date(client, notifications(save_block(address), **seconds))
        else:
            print(f"prepare: PETMODELS_NOTIFY is unset, {_who_is_told(client)}", file=sys.stderr)
        if address and (why := why_unheard(address)):
            told = "takes no message from here, so see to it that the server's reach people"
            print(f"prepare: the webhook of PETMODELS_NOTIFY {told}: {why}", file=sys.stderr)
        for line in leftovers(client, [*(one.name for one in endings()), *names_telling()]):
            print(f"prepare: {line}", file=sys.stderr)
        if address:
            silences.begin(client)  # last: by now the server has loaded the triggers that listen to it
    if why := why_closed():
        told = (
            f"so no run from here has heartbeats, and each is set to Crashed after {arguments.zombie_seconds} seconds"
        )
        mend = "let WebSockets through (docs/operations.md, Behind a reverse proxy)"
        print(f"prepare: Prefect's stream of events is closed, {told}; {mend}: {why}", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> None:
    """Raise RequestError for options that can't be, before the server is asked."""
    for name in ("cpus", "gpus", "zombie_seconds", "late_seconds", "endless_seconds"):
        if (value := getattr(arguments, name)) < 1:
            raise RequestError(f"--{name.replace('_', '-')} wants a number from 1 on: {value}")
    if arguments.python and arguments.pool_type != "process":
        raise RequestError(f"--python is for process pools; a run's image brings its own: {arguments.pool_type}")
    if arguments.python and not Path(arguments.python).is_absolute():
        raise RequestError(f"--python wants an absolute path, the same on every worker's machine: {arguments.python}")


def _told_address() -> str:
    """Return the address of the webhook, "" for none; it is a secret, which no message shows."""
    address = os.environ.get("PETMODELS_NOTIFY", "")
    if address and not _ADDRESS.match(address):
        raise SettingsError("PETMODELS_NOTIFY is no address that begins with http:// or https:// and a host")
    return address


def _who_is_told(client: SyncPrefectClient) -> str:
    telling = ", ".join(still_telling(client))
    if not telling:
        return "so nobody is told of failed runs"
    mend = f"to end that, delete in Prefect's UI the block {BLOCK} and the automations {telling}"
    return f"but an earlier one is still told of failed runs; {mend}"


def worker_of(kind: str) -> type[BaseWorker[Any, Any, Any]]:
    """Return what Prefect's workers of a type are; raise RequestError where that isn't installed."""
    try:
        return lookup_type(BaseWorker, kind)
    except KeyError:
        load_prefect_collections()  # takes seconds: all that is installed beside Prefect is imported
    try:
        return lookup_type(BaseWorker, kind)
    except KeyError as error:
        told = "process needs nothing more, docker and kubernetes a pip install of prefect-docker or prefect-kubernetes"
        raise RequestError(f"no worker of this type is installed here; {told}: {kind}") from error


def _check_pool(client: SyncPrefectClient, name: str, kind: str, python: str | None) -> None:
    """Raise RequestError where the pool exists with another type, which it keeps for life, or can't take a command."""
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        return
    if found.type != kind:
        mend = f"delete it (prefect work-pool delete {name}), or give --pool-type {found.type}"
        raise RequestError(f"the pool {name} exists with the type {found.type}, not {kind}; {mend}")
    if python and "command" not in found.base_job_template.get("variables", {}).get("properties", {}):
        mend = "give it one, or leave --python out"
        raise RequestError(f"the job template of the pool {name} has no variable `command`; {mend}")


def _limit_pool(client: SyncPrefectClient, name: str, kind: str, limit: int) -> None:
    """Make the pool where there is none, and set its limit; a person's other changes to it stay.

    Without a job template the first workers of a pool would all write one at once, which SQLite doesn't like.
    """
    template = worker_of(kind).get_default_base_job_template()
    pool = WorkPoolCreate(name=name, type=kind, concurrency_limit=limit, base_job_template=template)
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))


def _start_by(client: SyncPrefectClient, name: str, command: str) -> None:
    """Have the pool's runs started by a command.

    Without one, a process worker starts each run by a program of Prefect's that sees to the flow's packages and then
    makes way for the run: Prefect is imported twice, and the run begins two seconds later. With one, the worker itself
    imports a flow to look for hooks, of which ours have none, and its own PREFECT_ variables go before a job's.
    """
    template = client.read_work_pool(name).base_job_template
    template["variables"]["properties"]["command"]["default"] = command
    client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


def _limit_queue(client: SyncPrefectClient, pool: str, name: str, limit: int) -> None:
    try:
        queue = client.create_work_queue(name=name, work_pool_name=pool)
    except ObjectAlreadyExists:
        queue = client.read_work_queue_by_name(name, work_pool_name=pool)
    client.update_work_queue(id=queue.id, concurrency_limit=limit)


if __name__ == "__main__":
    main()
