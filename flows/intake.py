"""The steps of an ingest: fetch what was dropped, judge it, keep it, and take the originals away.

Reads and changes the drop. Bad files leave the drop before the list of arrivals is pushed, good ones after it: a run
that follows a killed one then judges the rest as the killed one did.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from flows.arrivals import Row
from flows.drop import Drop, name_at
from flows.dropped import Dropped, name_of
from flows.screening import Fetched, Verdict, verdicts
from flows.telling import printable
from flows.workspace import Workspace
from petmodels import Manifest
from petmodels.errors import MachineError, StoreError, UnreachableError
from petmodels.parallel import at_once

ACCEPTED, ALREADY, QUARANTINED, LEFT = "accepted", "already there", "quarantined", "left"


@dataclass(frozen=True)
class Outcome:
    """What became of a dropped file, where its bytes are now, and why if it wasn't accepted."""

    file: Fetched
    label: str
    outcome: str
    reason: str
    address: str

    def to_row(self) -> dict[str, str]:
        """Return the outcome as a row of a table that people read."""
        name = name_of(self.file.dropped.key)
        shown = {"outcome": self.outcome, "reason": self.reason, "address": name_of(self.address)}
        return {"file": name, "label": self.label, **shown}


@contextmanager
def passing(folder: Path) -> Iterator[Path]:
    """Make a folder anew for what a run fetches, and leave no photograph there; a killed one may have left its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fitting(drop: Drop, files: Sequence[Dropped], folder: Path, most: int) -> tuple[list[Dropped], list[Outcome]]:
    """Return the first files, up to `most`, that the folder's disk has room for, and what can't be fetched to it.

    That is what is larger than half of the disk, or unfit. It stays where it is: it can't be put aside unread, and must
    not keep those after it waiting. Half of the room is for what else a run writes. Raises MachineError when there is
    none for the first file.
    """
    disk = shutil.disk_usage(folder)
    room, largest = disk.free // 2, disk.total // 2
    batch: list[Dropped] = []
    left: list[Outcome] = []
    too_large = f"too large for the disk of this worker, which takes up to {largest} bytes; take it away"
    total = 0
    for one in files:
        if reason := one.unfit or (too_large if one.stored.size_bytes > largest else ""):
            left.append(_left(drop, one, folder, reason))
        elif len(batch) == most or total + one.stored.size_bytes > room:
            if not batch:
                raise MachineError(f"no room on this worker's disk for what waits in the drop; free some: {folder}")
            break
        else:
            batch.append(one)
            total += one.stored.size_bytes
    return batch, left


def fetched(drop: Drop, files: Sequence[Dropped], folder: Path) -> tuple[list[Fetched], list[Outcome]] | None:
    """Bring files to an empty folder of this machine; return them, and what the store refuses to give, with its reason.

    None when somebody else takes one of them away meanwhile. Raises StoreError where nothing is given: that is hardly
    the files' fault. A refused one stays where it is, as in `fitting`.
    """

    def fetch(numbered: tuple[int, Dropped]) -> Fetched | StoreError | None:
        number, dropped = numbered
        path = folder / f"{number:06d}"
        try:
            sha256 = drop.fetch(dropped, path)
        except UnreachableError:
            raise
        except StoreError as error:  # such as another's key or owner, or an archive: one object's, not the bucket's
            return error
        return Fetched(dropped, path, sha256) if sha256 else None

    found = at_once(fetch, enumerate(files, start=1))
    refused = [(one, error) for one, error in zip(files, found, strict=True) if isinstance(error, StoreError)]
    if refused and len(refused) == len(files):
        raise refused[0][1]
    whole = [one for one in found if isinstance(one, Fetched)]
    left = [_left(drop, one, folder, printable(str(error))) for one, error in refused]
    return (whole, left) if len(whole) + len(left) == len(files) else None


def judged(
    space: Workspace, files: Sequence[Fetched], *, max_bytes: int, newest: Manifest | None, new_labels: bool,
    tell: Callable[[str], None],
) -> list[tuple[Fetched, Verdict]]:  # fmt: skip
    """Return each file with its verdict; one of more than `max_bytes` isn't opened."""
    small = [one for one in files if one.dropped.stored.size_bytes <= max_bytes]
    found = verdicts(space, small, newest=newest, new_labels=new_labels, tell=tell) if small else []
    by_path = dict(zip((one.path for one in small), found, strict=True))
    too_large = Verdict("", "bad", f"larger than ingest.max_bytes, {max_bytes}", "")
    return [(one, by_path.get(one.path, too_large)) for one in files]


def kept(drop: Drop, pairs: Sequence[tuple[Fetched, Verdict]], rows: Mapping[str, Row]) -> list[Outcome]:
    """Copy good files to their content address and bad ones to quarantine; the bad ones' originals are taken away."""

    def keep(pair: tuple[Fetched, Verdict]) -> Outcome:
        file, verdict = pair
        if verdict.verdict == "good":
            address = drop.accept(file.path, file.sha256, verdict.suffix)
            return Outcome(file, verdict.label, ACCEPTED, "", address)
        if verdict.verdict == "listed" and (address := _again(drop, file, rows[file.sha256])):
            return Outcome(file, verdict.label, ALREADY, verdict.reason, address)
        address = drop.quarantine(file.dropped, file.path, file.sha256, verdict.reason)
        return _gone(drop, Outcome(file, verdict.label, QUARANTINED, verdict.reason, address))

    return at_once(keep, pairs)


def taken_away(drop: Drop, outcomes: Sequence[Outcome], rows: Mapping[str, Row]) -> list[Outcome]:
    """Take the originals of those away that are listed on the branch by now; what has changed meanwhile is left."""

    def take(one: Outcome) -> Outcome:
        if one.outcome not in {ACCEPTED, ALREADY}:
            return one
        row = rows[one.file.sha256]
        if row.label != one.label:
            return replace(one, outcome=LEFT, reason=f"somebody has listed these bytes meanwhile as {row.label}")
        # By its name: the list may still have the address that the drop was moved from.
        is_ours = name_at(row.address) == name_at(one.address)
        return _gone(drop, one if is_ours else replace(one, address=row.address))

    return at_once(take, outcomes)


def new_rows(outcomes: Sequence[Outcome], day: str) -> list[Row]:
    """Return the rows that accepted files are listed by."""
    return [Row(one.address, one.file.sha256, one.label, day) for one in outcomes if one.outcome == ACCEPTED]


def _left(drop: Drop, one: Dropped, folder: Path, reason: str) -> Outcome:
    return Outcome(Fetched(one, folder, ""), one.label, LEFT, reason, f"{drop.address}/{one.key}")


def _again(drop: Drop, file: Fetched, row: Row) -> str:
    """Keep a listed file below accepted/, should a copy be missing there; "" when it isn't listed by its content.

    By its name there alone: after a move of the drop the list's addresses are the former ones.
    """
    name, _, suffix = name_at(row.address).rpartition(".")
    return drop.accept(file.path, file.sha256, suffix) if name == file.sha256 else ""


def _gone(drop: Drop, one: Outcome) -> Outcome:
    if drop.take_away(one.file.dropped, one.file.sha256, one.address):
        return one
    return replace(one, outcome=LEFT, reason="it has changed meanwhile, or its copy has")
