"""Add rows to data/arrivals.csv of a branch: one commit, pushed; and count what has arrived since a version.

Reads and changes a clone and its remote. A branch that has moved meanwhile is read again, and what stands there by then
is not added twice.
"""

import csv
import io
import random
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple, dataclass, fields, replace

from flows.errors import BusyError, ChildError, RequestError
from flows.workspace import Workspace

PATH = "data/arrivals.csv"
CORRECTIONS = "data/corrections.csv"  # people write it; here it is only handed on
_TRIES = 8
_IDENTITY = ("-c", "user.name=petmodels", "-c", "user.email=petmodels@localhost")


@dataclass(frozen=True)
class Row:
    """One image that arrived: where its bytes are, their SHA-256, its label, and the UTC day."""

    address: str
    sha256: str
    label: str
    arrived: str


def listed(space: Workspace) -> dict[str, Row]:
    """Return the rows of the clone's list by their SHA-256, labels as the stages spell them.

    An é is one character there, and two in a list that was written on macOS.
    """
    columns = [field.name for field in fields(Row)]
    names, rows = _read(space, PATH)
    if names != columns:
        raise RequestError(f"{PATH}: the branch's list should begin with the line {','.join(columns)}")
    found = [Row(*((row[column] or "").strip() for column in columns)) for row in rows]
    return {row.sha256: replace(row, label=_spelled(row.label)) for row in reversed(found)}


def check_branch(space: Workspace, branch: str) -> None:
    """Raise RequestError when the remote has no branch of this name; a tag or commit can't be pushed to."""
    if not space.git("ls-remote", "origin", f"refs/heads/{branch}"):
        raise RequestError(f"arrivals are pushed to a branch, and the git remote has none of this name: {branch}")


def push_rows(space: Workspace, branch: str, rows: Iterable[Row], tell: Callable[[str], None]) -> int:
    """Append those rows whose SHA-256 isn't listed, in one commit on top of the branch; return how many.

    Raises RemoteError when the remote can't be reached or refuses, BusyError when the branch moves on and on.
    """
    wanted = list(rows)
    for failures in range(_TRIES):
        there = listed(space)
        new = list({row.sha256: row for row in reversed(wanted) if row.sha256 not in there}.values())[::-1]
        if not new or _pushed(space, branch, new):
            return len(new)
        tell(f"{branch} has moved meanwhile; adding the rows on top of it")
        time.sleep(random.uniform(0, 0.1 * 2**failures))
    raise BusyError(f"the branch moved {_TRIES} times while arrivals were added; run again: {branch}")


def corrected(space: Workspace) -> dict[str, str]:
    """Return the right labels of the images in the clone's list of corrections, "" of those that it takes out.

    They are spelled as those of `listed` are.
    """
    _, rows = _read(space, CORRECTIONS)
    return {(row.get("sha256") or "").strip(): _spelled((row.get("label") or "").strip()) for row in rows}


def withdrawn(space: Workspace) -> set[str]:
    """Return the SHA-256 of the images that the clone's list of corrections takes out."""
    return {sha256 for sha256, label in corrected(space).items() if not label}


def hashes_at(space: Workspace, commit: str, tell: Callable[[str], None]) -> set[str] | None:
    """Return the SHA-256 of the images in another commit's list, which may be an older one with other columns.

    None where git has no such commit. An empty set without a commit or a list, and where one can't be read, which is
    told in a line.
    """
    if not re.fullmatch("[0-9a-f]{7,64}", commit):
        return set()
    try:
        space.git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except ChildError:
        return None
    try:
        reader = _reader(space.git("show", f"{commit}:{PATH}"))
        return {(row["sha256"] or "").strip() for row in reader}
    except ChildError:
        return set()
    except (KeyError, csv.Error):
        tell(f"the list of {commit[:7]} has no column sha256, so all images of the branch count as new since: {PATH}")
        return set()


def num_since(space: Workspace, before: Collection[str]) -> int:
    """Return how many rows of the list have another SHA-256 than these."""
    return len(listed(space).keys() - set(before))


def _spelled(label: str) -> str:
    return unicodedata.normalize("NFC", label)


def _reader(text: str) -> "csv.DictReader[str]":
    return csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))


def _read(space: Workspace, name: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a list of the clone's, which people write too."""
    try:
        reader = _reader(space.text(name))
        return list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{name}: the branch's list is no CSV file in UTF-8: {error}") from error


def _pushed(space: Workspace, branch: str, rows: list[Row]) -> bool:
    """Commit the rows and push; False, and at the branch's new head, when somebody else was quicker."""
    base = space.git("rev-parse", "HEAD")
    _append(space, rows)
    space.git(*_IDENTITY, "commit", "--quiet", "--message", _message(rows), "--", PATH)
    try:
        space.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
    except ChildError:
        space.git("fetch", "--quiet", "origin", f"refs/heads/{branch}")
        head = space.git("rev-parse", "FETCH_HEAD")
        if head == base:
            raise  # nobody moved it: the remote has another reason
        if head != space.git("rev-parse", "HEAD"):
            space.git("reset", "--hard", "--quiet", head)
            return False
    return True


def _append(space: Workspace, rows: list[Row]) -> None:
    text = space.text(PATH)
    new = io.StringIO(newline="")
    csv.writer(new, lineterminator="\n").writerows(astuple(row) for row in rows)
    space.set_text(PATH, text + ("" if text.endswith("\n") else "\n") + new.getvalue())


def _message(rows: list[Row]) -> str:
    labels = Counter(row.label for row in rows)
    counts = ", ".join(f"{number} {label}" for label, number in sorted(labels.items()))
    noun = "image" if len(rows) == 1 else "images"
    return f"{len(rows)} {noun} arrived\n\n{counts}"
