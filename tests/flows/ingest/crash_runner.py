"""A process that takes in what was dropped and is killed (SIGKILL) right after its n-th change of the world outside.

Run as a script: reads one JSON order a line, forks for each a process that carries it out, and answers with what became
of it: `{"status": 0 or -9, "steps": how many were counted}`. Forking saves importing Prefect for each of them.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows import intake
from flows.settings import Settings
from flows.workspace import Workspace
from petmodels.folder import FolderStorage
from tests.flows.ingest.place import Place

ANNOUNCED = "announced"  # a file of the place: how many images each call for a retraining spoke of
CHANGES = {"clone", "commit", "fetch", "push", "reset"}


def carry_out(order: dict[str, Any], report: int) -> None:
    """Take in once, counting changes, and die after the one that is ordered."""
    count = 0

    def counted(function: Callable[..., Any], *, is_step: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        def doing(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            done = function(*arguments, **named)
            if is_step(*arguments):
                count += 1
                os.pwrite(report, str(count).ljust(9).encode(), 0)
                if count == order["kill"]:
                    os.kill(os.getpid(), signal.SIGKILL)
            return done

        return doing

    for name in ("create", "delete", "replace", "upload"):
        setattr(FolderStorage, name, counted(getattr(FolderStorage, name)))
    is_change = lambda _self, *arguments: bool(CHANGES & set(arguments))  # noqa: E731 - a claim in one line
    Workspace.git = counted(Workspace.git, is_step=is_change)  # type: ignore[method-assign]
    # One after the other, so that the n-th step is the same one each time.
    intake.at_once = lambda action, items: [action(item) for item in items]
    paths = {"workspaces": Path(order["settings"].pop("workspaces"))}
    folder = Path(order["folder"])

    def announce(_num_before: int, num_images: int) -> None:
        with (folder / ANNOUNCED).open("a") as file:
            file.write(f"{num_images}\n")

    Place(folder, Settings(**order["settings"], **paths)).ingest(announce=announce)


def main() -> None:
    """Answer orders until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        report = os.memfd_create("count")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                carry_out(order, report)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "steps": int(os.pread(report, 9, 0) or 0)}))
        sys.stdout.flush()
        os.close(report)


if __name__ == "__main__":
    main()
