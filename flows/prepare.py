"""Tell a Prefect server what the deployments of prefect.yaml stand on: work pools, limits, automations.

Run it once for every server, and again after a change: `python -m flows.prepare --gpus 2`. It reads PREFECT_API_URL
and PETMODELS_NOTIFY, and leaves nothing on this machine.
"""

import argparse
import os
import sys
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.utilities.dispatch import lookup_type
from prefect.workers.base import BaseWorker

from flows.automations import bring_up_to_date, endings, notifications, save_block
from flows.prefect_settings import LATE_SECONDS, ZOMBIE_SECONDS

CPU, GPU = "cpu", "gpu"
# Both deployments of retrain take their runs from here: the limit holds over the two together.
RETRAIN_QUEUE = "retrain"


def main() -> None:
    """Run `python -m flows.prepare`."""
    parser = argparse.ArgumentParser(prog="python -m flows.prepare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cpus", type=int, default=4, help="how many runs the pool cpu may have at once")
    parser.add_argument("--gpus", type=int, default=1, help="how many the pool gpu may: as many as there are GPUs")
    parser.add_argument("--pool-type", default="process", help="process, docker or kubernetes")
    parser.add_argument("--zombie-seconds", type=int, default=ZOMBIE_SECONDS, help="silence after which a run is dead")
    parser.add_argument("--late-seconds", type=int, default=LATE_SECONDS, help="lateness after which people are told")
    arguments = parser.parse_args()
    with get_client(sync_client=True) as client:
        _limit_pool(client, CPU, arguments.pool_type, arguments.cpus)
        _limit_pool(client, GPU, arguments.pool_type, arguments.gpus)
        _limit_queue(client, CPU, RETRAIN_QUEUE, 1)
        bring_up_to_date(client, endings(zombie_seconds=arguments.zombie_seconds))
        if address := os.environ.get("PETMODELS_NOTIFY"):
            bring_up_to_date(client, notifications(save_block(address), late_seconds=arguments.late_seconds))
        else:
            print(_nobody_new(client), file=sys.stderr)


def _nobody_new(client: SyncPrefectClient) -> str:
    told = [one.name for one in notifications(UUID(int=0)) if client.read_automations_by_name(one.name)]
    if told:
        return (
            "prepare: PETMODELS_NOTIFY is unset; the webhook of an earlier prepare is still told, until somebody "
            f"deletes these automations: {', '.join(told)}"
        )
    return "prepare: PETMODELS_NOTIFY is unset, so nobody is told of failed runs"


def _limit_pool(client: SyncPrefectClient, name: str, kind: str, limit: int) -> None:
    """Make the pool where there is none, and set its limit; a person's other changes to it stay.

    Ends the program with 1 where the pool is of another type, which Prefect never changes. Without a job template the
    first workers of a pool would all write one at once, which SQLite doesn't like.
    """
    worker = lookup_type(BaseWorker, kind)
    template = worker.get_default_base_job_template()
    pool = WorkPoolCreate(name=name, type=kind, concurrency_limit=limit, base_job_template=template)
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        found = client.read_work_pool(name).type
        if found != kind:
            sys.exit(f"prepare: pool {name} is of type {found}; delete it for another, or give --pool-type {found}")
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))


def _limit_queue(client: SyncPrefectClient, pool: str, name: str, limit: int) -> None:
    try:
        queue = client.create_work_queue(name=name, work_pool_name=pool)
    except ObjectAlreadyExists:
        queue = client.read_work_queue_by_name(name, work_pool_name=pool)
    client.update_work_queue(id=queue.id, concurrency_limit=limit)


if __name__ == "__main__":
    main()
