"""Read arrivals.csv, the committed list of images that came after the source.

Reads that file; leaves nothing.
"""

import csv
import re
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

from stages.addresses import kind_of
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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if header != COLUMNS:
                raise DataError(f"{path}: line 1: expected {','.join(COLUMNS)}, found: {','.join(header)}")
            return [_arrival(cells, f"{path}: line {reader.line_num}") for cells in reader if cells]
    except FileNotFoundError as error:
        raise DataError(f"no list of arrivals; make it with the one line {','.join(COLUMNS)}: {path}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error


def _arrival(cells: list[str], place: str) -> Arrival:
    if len(cells) != len(COLUMNS):
        raise DataError(f"{place}: expected {len(COLUMNS)} cells, found: {len(cells)}")
    arrival = Arrival(*(cell.strip() for cell in cells))
    try:
        kind = kind_of(arrival.address)
    except SourceError as error:
        raise DataError(f"{place}: {error}") from error
    if not arrival.address or kind == "sample":
        raise DataError(f"{place}: address must name an image or an archive: {arrival.address!r}")
    if not re.fullmatch("[0-9a-f]{64}", arrival.sha256):
        raise DataError(f"{place}: sha256 must be 64 hex digits in small letters: {arrival.sha256!r}")
    if re.search(r"[/\\\0]", arrival.label) or arrival.label in {".", ".."}:
        raise DataError(f"{place}: label must be able to name a folder, or be empty: {arrival.label!r}")
    if not _is_day(arrival.arrived):
        raise DataError(f"{place}: arrived must be a day as 2025-12-31: {arrival.arrived!r}")
    return arrival


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
