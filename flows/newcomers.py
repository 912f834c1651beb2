"""Photographs that came after a version was made, and what that version says of them.

Reads a clone's lists, the version's own, and the drop; leaves nothing. To the version they are as new as what its users
send it, and people have said what they show.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.arrivals import Row, corrected, hashes_at, listed
from flows.champion import Champion, seen_in
from flows.drop import Drop, name_at
from flows.slipping import Tally
from flows.workspace import Workspace
from petmodels import Model
from petmodels.errors import ImageError
from petmodels.parallel import at_once

# Whatever address a row has by now, that of what ingest has kept ends so; only those lie in the drop.
_KEPT = re.compile(r"([0-9a-f]{64})\.[\w.]+")
_DAY = len("2026-11-29")
_AT_ONCE = 64  # so many photographs lie on this machine's disk, at most
LOST, UNREAD = "whose bytes the drop has lost", "that can't be read here"


@dataclass(frozen=True)
class Answer:
    """A photograph that arrived, under its right label, and what the version calls it."""

    row: Row
    said: str

    @property
    def is_right(self) -> bool:
        return self.said == self.row.label

    @property
    def name(self) -> str:
        """What its file below accepted/ is called."""
        return name_at(self.row.address)


@dataclass(frozen=True)
class Answers:
    """What a version says of photographs, newest first, and how many can't be asked of it, by the reason."""

    given: Sequence[Answer]
    without: Counter[str]


def newcomers(space: Workspace, champion: Champion, tell: Callable[[str], None]) -> list[Row]:
    """Return the rows, newest first and with their right labels, of what ingest took in after a version was made.

    What its commit's list has is none, nor what it was trained on or what was withdrawn. Where nobody knows that list,
    a photograph is new that came after the version's day.
    """
    version, labels = champion.manifest, corrected(space)
    kept = [row for row in listed(space).values() if _is_kept(row)]
    known = (seen_in(champion.folder) or frozenset()) | {sha256 for sha256, label in labels.items() if not label}
    before = hashes_at(space, version.git_commit, tell) if version.git_commit else None
    if before is None:
        tell(f"git has no commit that {version.name} was made of, so what came after its day counts as new")
        before = {row.sha256 for row in kept if row.arrived <= version.created[:_DAY]}
    known |= before
    rows = [row for row in kept if row.sha256 not in known]
    rows.sort(key=lambda row: row.arrived, reverse=True)
    return [replace(row, label=labels.get(row.sha256, row.label)) for row in rows]


def answers(model: Model, drop: Drop, rows: Sequence[Row], folder: Path) -> Answers:
    """Ask a model what the photographs of these rows show, which lie below accepted/ and pass through `folder`."""
    given: list[Answer] = []
    without: Counter[str] = Counter()
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        found = at_once(lambda row: drop.fetch_accepted(name_at(row.address), folder / row.sha256), some)
        here = [row for row, is_there in zip(some, found, strict=True) if is_there]
        without[LOST] += len(some) - len(here)
        for row, said in zip(here, model.predict_each([folder / row.sha256 for row in here], top=1), strict=True):
            if isinstance(said, ImageError):
                without[UNREAD] += 1
            else:
                given.append(Answer(row, said.label))
        for path in folder.iterdir():
            path.unlink()
    return Answers(given, +without)


def tallied(given: Sequence[Answer], tested: dict[str, tuple[int, int]]) -> list[Tally]:
    """Count the right answers a label at a time, beside the test side's; the label that has lost most comes first."""
    counts = Counter(one.row.label for one in given)
    rights = Counter(one.row.label for one in given if one.is_right)
    tallies = [_tally(label, counts[label], rights[label], tested) for label in sorted(counts)]
    return sorted(tallies, key=lambda its: its.surplus if tested else its.num_right - its.num_images)


def _is_kept(row: Row) -> bool:
    name = _KEPT.fullmatch(name_at(row.address))
    return name is not None and name[1] == row.sha256


def _tally(label: str, num_images: int, num_right: int, tested: dict[str, tuple[int, int]]) -> Tally:
    test_images, test_right = tested.get(label, (0, 0))
    counts = {"num_right": num_right, "test_images": test_images, "test_right": test_right}
    return Tally(label=label, num_images=num_images, **counts)
