"""Read corrections.csv, the committed list of images that were found wrong: withdrawn ones, and those of a wrong label.

Reads that file; leaves nothing. A row holds what is needed to group and to deal all other images as before, and no name
of a file: `python -m stages.correct` writes it from data/prepared/index.csv.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from stages.committed_lists import check_day, check_sha256, listed_rows
from stages.errors import DataError
from stages.labels import is_folder_name, spelled

_MOST_DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One row: an image by the sha256 of its original, and its right label, "" when it is withdrawn.

    Then what it was to the other images: the label that it had ("": none, it was rejected), its perceptual hash ("": it
    has no copies, or they may be parted), what `prepare.group_pattern` found in its path, its official side, and when
    it came. One original that came twice, under two labels or on two days, has two rows.
    """

    sha256: str
    label: str
    dealt_as: str
    phash: str
    subject: str
    official: str
    arrival: int
    arrived: str


COLUMNS = [field.name for field in fields(Correction)]


def read_corrections(path: Path) -> list[Correction]:
    """Return the rows in their order; raises DataError naming the line of the first that can't be right."""
    corrections = []
    labels: dict[str, str] = {}
    for place, cells in listed_rows(path, COLUMNS, of="corrections"):
        one = _correction(cells, place)
        before = labels.setdefault(one.sha256, one.label)
        if before != one.label:
            told = " and ".join(label or "withdrawn" for label in (before, one.label))
            raise DataError(f"{place}: the rows of one image must agree, but it is {told}: {one.sha256}")
        corrections.append(one)
    return corrections


def withdrawn(corrections: Iterable[Correction]) -> list[Correction]:
    """Return the rows of the images that were withdrawn."""
    return [one for one in corrections if not one.label]


def ghosts(corrections: Iterable[Correction]) -> list[Correction]:
    """Return the rows of the images that were withdrawn and have been grouped and dealt before."""
    return [one for one in withdrawn(corrections) if one.dealt_as]


def _correction(cells: list[str], place: str) -> Correction:
    values = dict(zip(COLUMNS, cells, strict=True))
    values |= {column: spelled(cell.strip()) for column, cell in values.items() if column != "subject"}
    check_sha256(values["sha256"], place)
    for column in ("label", "dealt_as"):
        if not is_folder_name(values[column]):
            raise DataError(f"{place}: {column} must be able to name a folder, or be empty: {values[column]!r}")
    if values["label"] and not values["dealt_as"]:
        raise DataError(f"{place}: dealt_as must be the label that the image had")
    if not re.fullmatch("([0-9a-f]{64})?", values["phash"]):
        raise DataError(f"{place}: phash must be 64 hex digits in small letters, or be empty: {values['phash']!r}")
    if values["official"] not in {"", "trainval", "test"}:
        raise DataError(f"{place}: official must be trainval, test, or be empty: {values['official']!r}")
    if not re.fullmatch(f"[0-9]{{1,{_MOST_DIGITS}}}", values["arrival"]):
        raise DataError(f"{place}: arrival must be 0, or a row's number in arrivals.csv: {values['arrival']!r}")
    arrival = int(values.pop("arrival"))
    if arrival:
        check_day(values["arrived"], place)
    elif values["arrived"]:
        raise DataError(f"{place}: arrived must be empty for an image of the source: {values['arrived']!r}")
    return Correction(arrival=arrival, **values)
