"""A process that does one step of a registry and is killed (SIGKILL) right before or after its n-th request.

Run as a script: reads one JSON order a line, forks for each a process that carries it out, and answers with what became
of it: `{"status": 0 or -9, "requests": how many were counted}`. Forking saves importing botocore for each of them,
and building its client.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from petmodels import hashing
from petmodels.errors import PetmodelsError
from petmodels.mirror import mirror
from petmodels.registry import Registry
from petmodels.s3 import S3Storage
from tests.petmodels.stores import opened

# The smallest parts that S3 takes, so that little has to be sent.
hashing.SINGLE_BYTES = 2_000
hashing.PART_BYTES = 5 * 2**20
_COUNTING = threading.Lock()


def carry_out(order: dict[str, Any], client: Any, report: int) -> None:
    """Do what is ordered, counting requests, and die at the one that is ordered."""
    registry = opened(order["address"], client, Path(order["cache"]))
    count = 0

    def before(**_: Any) -> None:
        nonlocal count
        with _COUNTING:
            count += 1
            os.pwrite(report, str(count).ljust(9).encode(), 0)
            if order["kill"] == [count, "before"]:
                os.kill(os.getpid(), signal.SIGKILL)

    def after(**_: Any) -> None:
        if order["kill"][1] == "after" and count >= order["kill"][0]:  # other threads may have sent more meanwhile
            os.kill(os.getpid(), signal.SIGKILL)

    client.meta.events.register("before-send.s3", before)
    client.meta.events.register("response-received.s3", after)
    STEPS[order["step"]](registry, order)


STEPS = {
    "publish": lambda registry, order: registry.publish(order["bundle"], "pets"),
    "promote": lambda registry, _order: registry.promote("pets@2", "production"),
    "rollback": lambda registry, _order: registry.rollback("pets", "production"),
    "withdraw": lambda registry, _order: registry.withdraw("pets@2", "asked for", is_dry=False),
    "mirror": lambda registry, order: mirror(
        Registry(order["source"]).storage, registry.storage, registry.cache, ["pets"], known=registry.memory
    ),
    "prune": lambda registry, _order: registry.prune("pets", keep=1, is_dry=False, grace_hours=0),
}


def main() -> None:
    """Answer orders until stdin ends."""
    client = S3Storage("any", "").client  # it has asked nothing, so that each forked process has it to itself
    for line in sys.stdin:
        order = json.loads(line)
        report = os.memfd_create("count")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                carry_out(order, client, report)
                status = 0
            except PetmodelsError as error:
                print(f"{order['step']}: {type(error).__name__}: {error}", file=sys.stderr)
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "requests": int(os.pread(report, 9, 0) or 0)}))
        sys.stdout.flush()
        os.close(report)


if __name__ == "__main__":
    main()
