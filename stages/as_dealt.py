"""Put images that were withdrawn or relabelled back to where they were, so that all others are dealt as before.

Reads data/prepared/corrected.csv; leaves nothing.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stages.errors import DataError
from stages.sides import Row

_COLUMNS = ["row", "change", "label", "group", "official", "arrival", "arrived"]
_CHANGES = ("withdrawn", "relabelled")


def as_dealt(rows: Sequence[Row], listing: Path) -> tuple[Sequence[Row], Sequence[int]]:
    """Return the index's rows as they are dealt, those that were withdrawn among them, and where each of `rows` is.

    Without corrections, or without the list, the rows are dealt as they are. Raises DataError for a broken list.
    """
    ghosts, labels = _read(listing, len(rows))
    if not ghosts and not labels:
        return rows, range(len(rows))
    dealt: list[Row] = []
    places: list[int] = []
    for row in rows:
        _add(dealt, ghosts.get(row.number, ()))
        places.append(len(dealt))
        dealt.append(replace(row, number=len(dealt), label=labels.get(row.number, row.label)))
    _add(dealt, ghosts.get(len(rows), ()))
    return dealt, places


def _read(listing: Path, num_rows: int) -> tuple[dict[int, list[Row]], dict[int, str]]:
    """Return the withdrawn by the number of rows before them, and the labels of others by their row."""
    ghosts: dict[int, list[Row]] = defaultdict(list)
    labels: dict[int, str] = {}
    if not listing.exists():
        return ghosts, labels
    with listing.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        try:
            if next(reader, None) != _COLUMNS:
                raise ValueError
            for number, change, label, group, official, arrival, arrived in reader:
                if change not in _CHANGES or int(number) > num_rows - (change == "relabelled"):
                    raise ValueError
                if change == "withdrawn":
                    ghosts[int(number)].append(Row(0, label, group, official, int(arrival), arrived))
                else:
                    labels[int(number)] = label
        except (ValueError, csv.Error) as error:
            raise DataError(f"{listing}: line {reader.line_num} is broken, run `dvc repro prepare`") from error
    return ghosts, labels


def _add(dealt: list[Row], ghosts: Sequence[Row]) -> None:
    for ghost in ghosts:
        dealt.append(replace(ghost, number=len(dealt)))
