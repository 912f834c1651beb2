"""Decide which side, train, valid or test, an image belongs to.

Reads and leaves nothing: rows in, sides out. Two promises hold for the methods `stable` and `official`: images of one
group share a side, and a later arrival never changes the side of an earlier image. Both follow from dealing images out
in the order of their arrival, each decided by what came before it alone. `time` is a moving window.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SIDES = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)

# A label's first three groups go one to each side; then the side that is furthest below its share takes the next.
_FIRST = (TRAIN, TEST, VALID)


@dataclass(frozen=True, slots=True)
class Row:
    """What a side can depend on; rows are numbered by their place in index.csv."""

    number: int
    label: str
    group: str
    official: str
    arrival: int
    arrived: str


def stable(rows: Iterable[Row], shares: Sequence[float], seed: int) -> list[int]:
    """Return a side a row: dealt in order of arrival, within one arrival by a seeded hash of the group.

    `shares` are those of train, valid and test and sum to 1; each label comes as near to them as whole groups allow. A
    group with several labels is dealt as one of its first image's.
    """
    dealer = _Dealer(shares)
    return _dealt(rows, seed, dealer.side_of)


def official(rows: Sequence[Row], shares: Sequence[float], seed: int) -> list[int]:
    """Return the archive's own sides; the valid side is carved from `trainval` by the rule of `stable`.

    A group with a member in the official test list goes there whole. A later arrival without an official side is dealt
    between train and valid, so that the test side stays the one that others publish results on.
    """
    tested = {row.group for row in rows if row.official == "test" and row.arrival == 0}
    trained = 1 - shares[TEST]
    dealer = _Dealer((shares[TRAIN] / trained, shares[VALID] / trained, 0.0))
    return _dealt(rows, seed, lambda row: TEST if row.group in tested else dealer.side_of(row))


def by_time(rows: Sequence[Row], shares: Sequence[float], seed: int) -> list[int]:
    """Return sides by the day of arrival, label by label: the newest are test, those before them valid."""
    by_label: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row.arrival, row.number)):
        by_label[row.label].setdefault(row.group, (row.arrived, _hash(row.group, seed)))
    side_of_group: dict[str, int] = {}
    for ages in by_label.values():
        newest_first = sorted(ages, key=lambda group: ages[group], reverse=True)
        num_groups = len(newest_first)
        num_test = max(1, min(round(shares[TEST] * num_groups), num_groups - 2))
        num_valid = max(1, min(round(shares[VALID] * num_groups), num_groups - num_test - 1))
        for place, group in enumerate(newest_first):
            side_of_group.setdefault(
                group, TEST if place < num_test else VALID if place < num_test + num_valid else TRAIN
            )
    return [side_of_group[row.group] for row in rows]


def _dealt(rows: Iterable[Row], seed: int, side_of: Callable[[Row], int]) -> list[int]:
    ordered = sorted((row.arrival, _hash(row.group, seed), row.number, row) for row in rows)
    sides = [TRAIN] * len(ordered)
    side_of_group: dict[str, int] = {}
    for *_, row in ordered:
        side = side_of_group.get(row.group)
        if side is None:
            side = side_of_group[row.group] = side_of(row)
        sides[row.number] = side
    return sides


class _Dealer:
    """Deals groups of one label to the side that is furthest below its share."""

    def __init__(self, shares: Sequence[float]) -> None:
        self._shares = shares
        self._first = [side for side in _FIRST if shares[side] > 0]
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])

    def side_of(self, row: Row) -> int:
        counts = self._counts[row.label]
        total = sum(counts)
        empty = [side for side in self._first if not counts[side]]
        side = empty[0] if empty else max(range(3), key=lambda side: self._shares[side] * (total + 1) - counts[side])
        counts[side] += 1
        return side


def _hash(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
