"""Have the project's own code judge new images: `python -m stages.screen` as a child process in the clone.

Reads the images that were fetched, and the index of those that a published version was made from, pulled by that
version's dvc.lock. Leaves its lists in the folder of the fetched images.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.arrivals import CORRECTIONS
from flows.dropped import Dropped, text_of
from flows.dvc_lock import take_lock
from flows.errors import RemoteError, RequestError
from flows.reasons import CHECKOUT_FAILED, NO_ROOM
from flows.workspace import Workspace
from petmodels import Manifest

INDEX = "data/prepared/index.csv"
_COLUMNS = ("sha256", "phash", "label", "source")
_UNKNOWN = (
    "which images are known, the newest version doesn't say, and those that wait are left until it does; a retrain "
    "publishes one that can be read"
)


@dataclass(frozen=True)
class Fetched:
    """A dropped file that lies on this machine, and the SHA-256 of its bytes."""

    dropped: Dropped
    path: Path
    sha256: str


@dataclass(frozen=True)
class Verdict:
    """What `stages.screen` says of an image: `good`, `listed` or `bad`; the reason is empty for a good one."""

    label: str
    verdict: str
    reason: str
    suffix: str


def verdicts(
    space: Workspace,
    files: Sequence[Fetched],
    *,
    newest: Manifest | None,
    new_labels: bool,
    tell: Callable[[str], None],
) -> list[Verdict]:
    """Return a verdict for each file, in their order, which decides who is whose duplicate.

    Without a newest version that has a lock the labels and pictures that are known can't be read: any label is allowed,
    and only bytes that stand in arrivals.csv are known. Raises what the child said when it fails.
    """
    folder = files[0].path.parent
    index = _pulled(space, newest, folder, tell)
    labels = set() if new_labels else {row["label"] for row in _rows(index)}
    (folder / "labels.txt").write_text("\n".join(sorted(labels)), encoding="utf-8")
    listing = [(one.path.name, text_of(one.dropped.name), one.dropped.label) for one in files]
    _write(folder / "files.csv", ("file", "name", "label"), listing)
    options = {"files": folder / "files.csv", "index": index, "arrivals": space.folder / "data/arrivals.csv",
               "labels": folder / "labels.txt", "out": folder / "verdicts.csv"}  # fmt: skip
    corrections = space.folder / CORRECTIONS
    if corrections.exists():  # a branch from before there was such a list has a stage that knows of none
        options["corrections"] = corrections
    arguments = [str(part) for name, path in options.items() for part in (f"--{name}", path)]
    space.python("-m", "stages.screen", *arguments)
    found = {row["file"]: row for row in _rows(folder / "verdicts.csv")}
    rows = [found[one.path.name] for one in files]
    return [Verdict(row["label"], row["verdict"], row["reason"], row["suffix"]) for row in rows]


def _pulled(space: Workspace, newest: Manifest | None, folder: Path, tell: Callable[[str], None]) -> Path:
    if newest is None or not newest.dvc_lock:
        tell(
            "no published version says which images are known: only those in arrivals.csv are, and any label is allowed"
        )
        _write(folder / "index.csv", _COLUMNS, [])
        return folder / "index.csv"
    try:
        take_lock(space, newest.dvc_lock)
    except RequestError as error:
        raise RequestError(f"{_UNKNOWN}: {error}") from error
    try:
        space.dvc(f"pull --force {INDEX}")
    except RemoteError as error:
        if CHECKOUT_FAILED in str(error) and NO_ROOM not in str(error):
            raise RemoteError(_lost(newest, str(error))) from error
        raise
    found = space.folder / INDEX
    try:
        rows = _rows(found) if found.exists() else []
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{_UNKNOWN}: {INDEX} is no CSV file: {error}") from error
    if missing := set(_COLUMNS) - (rows[0].keys() if rows else set()):
        raise RequestError(f"{_UNKNOWN}: {INDEX} lacks {f'the column {min(missing)}' if rows else 'any row'}")
    return found


def _lost(newest: Manifest, said: str) -> str:
    """Return what to run where the DVC remote hasn't what a version was made of.

    The stages before train bring it back, whether a version comes of it or not; `reproduce` keeps what it makes to
    itself. At another commit they would make other data.
    """
    parameters = {"model": newest.model, "revision": newest.git_commit, "force": "true"}
    options = " ".join(f"--param {name}={value}" for name, value in parameters.items() if value)
    what = f"the DVC remote has lost the images of {newest.name}, and photographs wait until it has them again"
    check = "see that PETMODELS_DVC_REMOTE names the right place, and that it is mounted"
    return f"{what}; {check}; prefect deployment run retrain/weekly {options} makes them: {said}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
