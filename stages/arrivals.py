"""Read arrivals.csv, the committed list of images that came after the source.

Reads that file; leaves nothing.
"""

import re
from dataclasses import dataclass, fields
from pathlib import Path

from stages.addresses import kind_of
from stages.committed_lists import check_day, check_sha256, listed_rows
from stages.errors import DataError, SourceError


@dataclass(frozen=True)
class Arrival:
    """One row: an image or an archive, the sha256 of its bytes, the images' label or '', the day they came."""

    address: str
    sha256: str
    label: str
    arrived: str


COLUMNS = [field.name for field in fields(Arrival)]


def read_arrivals(path: Path) -> list[Arrival]:
    """Return the rows in their order; raises DataError naming the line of the first that can't be right."""
    return [_arrival(cells, place) for place, cells in listed_rows(path, COLUMNS, of="arrivals")]


def _arrival(cells: list[str], place: str) -> Arrival:
    arrival = Arrival(*(cell.strip() for cell in cells))
    try:
        kind = kind_of(arrival.address)
    except SourceError as error:
        raise DataError(f"{place}: {error}") from error
    if not arrival.address or kind == "sample":
        raise DataError(f"{place}: address must name an image or an archive: {arrival.address!r}")
    check_sha256(arrival.sha256, place)
    if re.search(r"[/\\\0]", arrival.label) or arrival.label in {".", ".."}:
        raise DataError(f"{place}: label must be able to name a folder, or be empty: {arrival.label!r}")
    check_day(arrival.arrived, place)
    return arrival
