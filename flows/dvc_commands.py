"""Run DVC commands one after the other: `python -P dvc_commands.py "repro --pull split" "push --run-cache split"`.

In one process, because DVC and what it needs for S3 take a second to import; with `-P`, because modules beside this
file have names that others use. Says which command begins, and ends with the status of the first that fails. Leaves
what they leave; imports nothing of the project. Of the flows, this program alone knows DVC's insides: it runs in DVC's
process, not in theirs.
"""

import logging
import os
import runpy
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

BEGINS = "> dvc "


def main(commands: Sequence[str]) -> int:
    """Run the commands until one fails; return its status, else 0."""
    copy_new_entries_alone()
    for command in commands:
        print(f"{BEGINS}{command}", flush=True)
        if status := _status(command):
            return status
    return 0


def copy_new_entries_alone() -> None:
    """Let DVC copy the entries of the run-cache that the other side lacks, together.

    As it comes, DVC 3.67 copies every entry there is, one after the other: of each stage that any machine ever ran, in
    each push and in each reproduction that may pull. An entry is named after what it holds, so one that is there is the
    same, if it isn't shorter: a power cut may have torn either. A remote is listed once, by the first command.
    """
    from dvc.stage.cache import StageCache
    from dvc_objects.fs import generic

    all_entries = StageCache.transfer
    listed: dict[str, dict[str, int]] = {}

    def transfer(self: Any, from_odb: Any, to_odb: Any, force: bool = True) -> list[tuple[str, ...]]:
        if {"http", "https"} & {from_odb.fs.protocol, to_odb.fs.protocol}:
            found: list[tuple[str, ...]] = all_entries(self, from_odb, to_odb, force)  # DVC refuses it in its words
            return found
        there = _entries(to_odb, listed)
        new = sorted(name for name, size in _entries(from_odb, listed).items() if there.get(name, -1) < size)
        if new:
            sides = [[odb.fs.join(odb.path, "runs", *name.split("/")) for name in new] for odb in (from_odb, to_odb)]
            copy = generic.log_exceptions(generic.copy)
            copy(from_odb.fs, sides[0], to_odb.fs, sides[1], on_error=_tell_uncopied)
        return [tuple(name.split("/")[-2:]) for name in new]

    StageCache.transfer = transfer


def _tell_uncopied(path: str, _to_path: str, error: BaseException) -> None:
    """Say which entry could not be copied; what is lost is that another machine runs a stage again."""
    logging.getLogger("dvc.stage.cache").warning("the run-cache's entry %s was not copied: %s", path, error)


def _entries(odb: Any, listed: dict[str, dict[str, int]]) -> dict[str, int]:
    """Return the size of each entry of a run-cache by its path in there; `listed` keeps those of remotes."""
    folder = odb.fs.join(odb.path, "runs")
    if odb.fs.protocol == "local":
        return _local_entries(Path(folder))
    if folder not in listed:
        found = odb.fs.fs.find(folder, detail=True)
        listed[folder] = {path[len(folder) + 1 :]: entry["size"] for path, entry in found.items()}
    return listed[folder]


def _local_entries(folder: Path) -> dict[str, int]:
    """Return the same of a folder, but for files that others are writing just now."""
    found = {}
    for path in folder.glob("*/*/*"):
        with suppress(FileNotFoundError):
            if path.suffix != ".tmp":
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _status(command: str) -> int:
    sys.argv = ["dvc", *shlex.split(command)]
    try:
        runpy.run_module("dvc", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # DVC has closed what it had open; to take its modules apart takes a quarter of a second
