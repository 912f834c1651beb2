"""List the files that should be images, and what is known of them before they are opened.

Reads data/raw, of images their names only; leaves nothing.
"""

import csv
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from stages.errors import DataError, printable
from stages.hints import left_out, merged_labels, unused_lines
from stages.labels import label_rule, species_of, spelled, spellings
from stages.official_lists import OfficialLists, official_lists

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


def candidates(params: "PrepareParams", raw: Path, *, num_withdrawn: int) -> list[Candidate]:
    """Return the files of the source by name, then those of the arrivals in their order.

    `num_withdrawn` images of the archive's lists have gone. Raises DataError when no file of the source fits `files`.
    """
    source = raw / "source"
    rule = label_rule(source, params.labels_from, pattern=params.label_pattern, label_file=params.label_file)
    lists = official_lists(source)
    label_file = spelled(str(source / (params.label_file or "")))
    found = [
        Candidate(
            file=file,
            source=_readable(file.relative_to(raw)),
            label=rule(file),
            official=lists.side_of(PurePosixPath(file.relative_to(source))),
        )
        for file in _fitting(source, params.files)
        if file.is_file() and spelled(str(file)) != label_file
    ]
    if not found:
        raise DataError(f"no file fits prepare.files; look into {source} and change the glob: {params.files}")
    for line in _hints(params, source, found, lists, num_withdrawn):
        print(f"prepare: {printable(_readable(line))}", file=sys.stderr)
    for row, (label, arrived) in enumerate(_arrivals(raw / "arrivals.csv"), start=1):
        for file in sorted(path for path in (raw / f"arrivals/{row:05d}").rglob("*") if path.is_file()):
            name = _readable(file.relative_to(raw))
            found.append(
                Candidate(file=file, source=name, label=spelled(label) or rule(file), arrival=row, arrived=arrived)
            )
    return [replace(one, species=species_of(one.label or "", params.species)) for one in found]


def _fitting(source: Path, glob: str) -> list[Path]:
    """Return what fits the glob in any of its spellings.

    macOS finds a file by each of them: one that differs from another by its spelling alone is counted once.
    """
    found: list[Path] = []
    for one in spellings(glob):
        known = {spelled(str(path)) for path in found}
        found += [path for path in source.glob(one) if spelled(str(path)) not in known]
    return sorted(found)


def _hints(
    params: "PrepareParams", source: Path, found: list[Candidate], lists: OfficialLists, num_withdrawn: int
) -> Iterator[str]:
    yield from left_out(source, (one.file for one in found), params.files)
    if params.labels_from == "folder":
        yield from merged_labels(source, ((one.file, one.label) for one in found))
    unused = lists.unused(PurePosixPath(one.file.relative_to(source)) for one in found)
    if len(unused) > num_withdrawn:  # whose files are gone, but not their lines
        yield from unused_lines(unused, num_lines=len(lists.names))


def _readable(path: Path | str) -> str:
    """Return the path as text; bytes of a name that are no UTF-8 become `\\x..`, as archives from Windows hold them."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _arrivals(listing: Path) -> list[tuple[str, str]]:
    if not listing.exists():
        return []
    with listing.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["arrived"]) for row in csv.DictReader(file)]
