"""Run DVC commands, list by list: `python -P dvc_commands.py [MODULE …]`, with `-P` for the modules beside this file.

Imports DVC and the modules, then reads lists from standard input, a line of JSON each: a mark, the folder and the
commands, as `["a7", "/clone", "repro --pull split", "push --run-cache split"]`. Says by the mark, which a stage can't
know, where the answer begins, and where it ends the status of the last command, or of the first that fails. Leaves
what they leave; imports nothing of the project. Of the flows, this program alone knows DVC's insides: it runs in DVC's
process, not in theirs.
"""

import gc
import importlib
import json
import logging
import os
import runpy
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

BEGINS, MARK = "> dvc ", "< dvc "


def main(modules: Sequence[str]) -> None:
    """Run each list of commands until one fails, until no more lists come."""
    lists, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.dup(1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # a stage that reads would take the lists away
    gc.set_threshold(100_000)  # DVC makes little garbage: to look for it as often as usual takes a fifth of its time
    for module in ("dvc.cli.parser", "dvc.repo", *modules):
        with suppress(ImportError):  # DVC says it best, when it comes to need it
            importlib.import_module(module)
    gc.freeze()
    listed: dict[str, dict[str, int]] = {}
    copy_new_entries_alone(listed)
    keep_files_in_their_folder()
    for line in lists:
        mark, folder, *commands = json.loads(line)
        os.dup2(answers, 1)  # DVC lets go of it when a pipe breaks
        _mark(answers, f"{MARK}{mark} begins")
        os.chdir(folder)
        listed.clear()
        status = _first_failure(commands)
        sys.stdout.flush()
        _mark(answers, f"{MARK}{mark} {status}")


def _mark(answers: int, line: str) -> None:
    """Say a line, whole, whoever else writes there: a stage may have ended within one, or left somebody behind."""
    os.write(answers, f"\n{line}\n".encode())


def _first_failure(commands: Sequence[str]) -> int:
    for command in commands:
        print(f"{BEGINS}{command}", flush=True)
        if status := _status(command):
            return status
    return 0


def copy_new_entries_alone(listed: dict[str, dict[str, int]]) -> None:
    """Let DVC copy the entries of the run-cache that the other side lacks, together.

    As it comes, DVC 3.67 copies every entry there is, one after the other: of each stage that any machine ever ran, in
    each push and in each reproduction that may pull. An entry is named after what it holds, so one that is there is the
    same, if it isn't shorter: a power cut may have torn either. A remote is listed once, until `listed` is emptied.
    """
    from dvc.stage.cache import StageCache
    from dvc_objects.fs import generic

    all_entries = StageCache.transfer

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


def keep_files_in_their_folder() -> None:
    """Let DVC refuse a list of a folder's files that names one elsewhere.

    As it comes, DVC 3.67 restores a stage from the run-cache by writing wherever the list says, be it over the
    project's own programs: whoever may write to the remote could run anything here.
    """
    from dvc_data.hashfile import tree
    from dvc_objects.errors import ObjectFormatError

    lists: Any = tree.Tree
    any_list = lists.from_list.__func__

    def from_list(cls: Any, files: list[dict[str, Any]], hash_name: str | None = None) -> Any:
        for entry in files:
            if {"", ".", ".."} & set(str(entry["relpath"]).split("/")):
                raise ObjectFormatError(f"a list of files that leaves its folder: {str(entry['relpath'])[:200]!r}")
        return any_list(cls, files, hash_name)

    lists.from_list = classmethod(from_list)


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
    main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # DVC has closed what it had open; to take its modules apart takes a quarter of a second
