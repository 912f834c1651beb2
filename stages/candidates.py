"""List the files that should be images, and what is known of them before they are opened.

Reads data/raw, of images their names only; leaves nothing.
"""

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.errors import DataError
from stages.labels import label_rule, official_sides, species_of, spelled

if TYPE_CHECKING:
    from stages.prepare import PrepareParams


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file that should be an image, and what is known before it is opened."""

    file: Path
    source: str
    label: str | None
    species: str = ""
    official: str = ""
    arrival: int = 0
    arrived: str = ""


def candidates(params: "PrepareParams", raw: Path) -> list[Candidate]:
    """Return the files of the source by name, then those of the arrivals in their order.

    Raises DataError when no file of the source fits `files`.
    """
    source = raw / "source"
    rule = label_rule(source, params.labels_from, pattern=params.label_pattern, label_file=params.label_file)
    official = official_sides(source)
    found = [
        Candidate(
            file=file,
            source=_readable(file.relative_to(raw)),
            label=rule(file),
            official=official.get(file.stem, ""),
        )
        for file in sorted(source.glob(params.files))
        if file.is_file()
    ]
    if not found:
        raise DataError(f"no file fits prepare.files; look into {source} and change the glob: {params.files}")
    for row, (label, arrived) in enumerate(_arrivals(raw / "arrivals.csv"), start=1):
        for file in sorted(path for path in (raw / f"arrivals/{row:05d}").rglob("*") if path.is_file()):
            name = _readable(file.relative_to(raw))
            found.append(
                Candidate(file=file, source=name, label=spelled(label) or rule(file), arrival=row, arrived=arrived)
            )
    return [replace(one, species=species_of(one.label or "", params.species)) for one in found]


def _readable(path: Path) -> str:
    """Return the path as text; bytes of a name that are no UTF-8 become `\\x..`, as archives from Windows hold them."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _arrivals(listing: Path) -> list[tuple[str, str]]:
    if not listing.exists():
        return []
    with listing.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["arrived"]) for row in csv.DictReader(file)]
