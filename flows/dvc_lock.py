"""Take over a dvc.lock that came from elsewhere: with a version, or from another machine's training.

DVC makes paths of the hashes that it finds there, deletes what has another hash, and writes files under the names of a
list: a lock that somebody has made up could reach any file of the worker. So it says no more than a lock of this
project needs to, and nothing of stages that the revision doesn't have. Reads a text; leaves dvc.lock in a workspace.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from flows.errors import RequestError
from flows.pipeline import LOCK, STAGES, dumped, stages_in, yaml_of
from flows.workspace import Workspace
from petmodels import Manifest

_KEYS = {"path", "hash", "md5", "size", "nfiles", "isexec"}
_LONGEST = 200  # characters that a message quotes
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


def take_lock(w: Workspace, text: str) -> None:
    """Make a text the workspace's dvc.lock, "" for none; RequestError where it says what no lock of ours does."""
    document = _checked(text)
    w.set_text(LOCK, dumped(document) if _without_others(document, stages_in(w.text(STAGES))) else text)


def take_lock_of(w: Workspace, version: Manifest | None) -> None:
    """Make the lock that a version holds the workspace's.

    One that isn't taken over costs a line, and no run: whoever may publish can write any, and what it would have told
    comes from the run-cache. Raises RequestError where the revision's dvc.yaml is no YAML.
    """
    stages_in(w.text(STAGES))  # that of the revision is nothing that the version would have to answer for
    try:
        take_lock(w, version.dvc_lock if version else "")
    except RequestError as error:
        w.tell(f"what {version.name if version else ''} was made from is left out: {error}")
        w.set_text(LOCK, "")


def check_lock(text: str) -> None:
    """Raise RequestError for a lock that isn't taken over."""
    _checked(text)


def _checked(text: str) -> Any:
    document = yaml_of(text, LOCK)
    for stage, entry in _entries(document):
        path = entry.get("path")
        if not isinstance(path, str):
            raise _refused("with a file that has no path", stage)
        if unknown := sorted(str(key) for key in entry.keys() - _KEYS):
            raise _refused("with more than paths and hashes", stage, unknown[0])
        if not _MD5.fullmatch(str(entry.get("md5"))):
            raise _refused("whose hash is none", stage, path)
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise _refused("that leaves the project", stage, path)
    return document


def _without_others(document: Any, stages: Collection[str]) -> bool:
    """Take the stages out of a lock that dvc.yaml no longer has, which DVC keeps; say whether there were any.

    An output that another stage makes by now would else have the hash of the last one that the lock names. A stage that
    dvc.yaml makes several of is called `<stage>@<item>` in the lock.
    """
    others = [name for name in document.get("stages", {}) if stages and str(name).partition("@")[0] not in stages]
    for name in others:
        del document["stages"][name]
    return bool(others)


def _entries(document: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    stages = document.get("stages", {}) if isinstance(document, dict) else None
    if not isinstance(stages, dict):
        raise RequestError("a dvc.lock without stages is not taken over")
    for name, stage in stages.items():
        parts = [stage.get(part) or [] for part in ("deps", "outs")] if isinstance(stage, dict) else [None]
        if not all(isinstance(part, list) and all(isinstance(one, dict) for one in part) for part in parts):
            raise _refused("without lists of files", str(name))
        yield from ((str(name), entry) for part in parts for entry in part or ())


def _refused(why: str, *where: str) -> RequestError:
    return RequestError(": ".join([f"a dvc.lock {why} is not taken over", *(part[:_LONGEST] for part in where)]))
