"""Read a list that is committed with the project, as people and flows write it: whole, or refused by its line.

Reads one CSV file; leaves nothing.
"""

import csv
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from stages.errors import DataError


def listed_rows(path: Path, columns: list[str], *, of: str) -> Iterator[tuple[str, list[str]]]:
    """Yield of each row where it stands, as `list.csv: line 3`, and its cells.

    Raises DataError for a missing file, one with other columns, and a row with too few or too many cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if header != columns:
                raise DataError(f"{path}: line 1: expected {','.join(columns)}, found: {','.join(header)}")
            for cells in filter(None, reader):
                place = f"{path}: line {reader.line_num}"
                if len(cells) != len(columns):
                    raise DataError(f"{place}: expected {len(columns)} cells, found: {len(cells)}")
                yield place, cells
    except FileNotFoundError as error:
        raise DataError(f"no list of {of}; make it with the one line {','.join(columns)}: {path}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error


def check_sha256(text: str, place: str) -> None:
    """Raise DataError for what is no sha256 in hex."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise DataError(f"{place}: sha256 must be 64 hex digits in small letters: {text!r}")


def check_day(text: str, place: str) -> None:
    """Raise DataError for what is no day in the one way to write it, or a year of another calendar.

    Such a year sorts before or behind all others: `split.method: time` would test on the wrong images.
    """
    try:
        is_day = date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_day = False
    if not is_day:
        raise DataError(f"{place}: arrived must be a day as 2025-12-31: {text!r}")
    if not "1990" <= text[:4] <= "2100":
        raise DataError(f"{place}: arrived must be a day of the Gregorian calendar, from 1990 to 2100: {text!r}")
