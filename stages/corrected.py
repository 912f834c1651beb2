"""Apply corrections to what prepare has found, and keep what split needs to deal all other images as before.

Reads the candidates' files where there is anything to correct. Leaves corrected.csv: a row an image that was withdrawn,
or is dealt by another label than the index has; with nothing corrected, its header alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.candidates import Candidate
from stages.checksums import sha256_of
from stages.corrections import Correction, read_corrections
from stages.errors import DataError
from stages.index import Grouped
from stages.labels import species_of
from stages.outputs import write_csv
from stages.threads import in_threads

COLUMNS = ("row", "change", "label", "group", "official", "arrival", "arrived")
WITHDRAWN, RELABELLED = "withdrawn", "relabelled"

_Row = tuple[int, str, str, str, str, int, str]


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """The candidates that stay, with their right labels, and by source the label as which those are dealt."""

    files: list[Candidate]
    dealt_as: dict[str, str]


def listed_corrections(raw: Path) -> list[Correction]:
    """Return the corrections that download has left in `raw`; none where an older one left no list."""
    listing = raw / "corrections.csv"
    return read_corrections(listing) if listing.exists() else []


def corrected(files: list[Candidate], corrections: Sequence[Correction], species: Mapping[str, str]) -> Corrected:
    """Take out the files that were withdrawn, and give the others the labels that were found to be right.

    Raises DataError when nothing is left.
    """
    if not corrections:
        return Corrected(files=files, dealt_as={})
    rows = defaultdict(list)
    for one in corrections:
        rows[one.sha256].append(one)
    stay: list[Candidate] = []
    dealt_as: dict[str, str] = {}
    with in_threads(lambda candidate: sha256_of(candidate.file), files) as hashes:
        for file, sha256 in zip(files, hashes, strict=True):
            found = rows.get(sha256)
            label = found[0].label if found else file.label
            if found and label:
                dealt_as[file.source] = _dealt_as(file.label, found)
                file = replace(file, label=label, species=species_of(label, species))  # noqa: PLW2901
            if label or not found:
                stay.append(file)
    if not stay:
        raise DataError("every image was withdrawn; add others, or take rows out of data/corrections.csv")
    return Corrected(files=stay, dealt_as=dealt_as)


def write_corrected(folder: Path, found: Grouped, dealt_as: Mapping[str, str]) -> None:
    """Leave corrected.csv in `folder`, beside the index of the same images.

    `row` counts the index's rows before the image: of one that is there, its own number.
    """
    write_csv(folder / "corrected.csv", COLUMNS, [*_ghosts(found), *_relabelled(found, dealt_as)])


def _dealt_as(label: str | None, rows: Sequence[Correction]) -> str:
    """Return the label as which a file is dealt: a copy under another label keeps its own, for it was dealt by it.

    A label that was mended where it comes from, too, is none that the image had.
    """
    had = [one.dealt_as for one in rows]
    return label if label in had else had[0]


def _ghosts(found: Grouped) -> Iterator[_Row]:
    for place, one, group in found.ghosts:
        yield place, WITHDRAWN, one.dealt_as, group, one.official, one.arrival, one.arrived


def _relabelled(found: Grouped, dealt_as: Mapping[str, str]) -> Iterator[_Row]:
    for number, one in enumerate(found.images if dealt_as else ()):
        label = dealt_as.get(one.source, one.label)
        if label != one.label:
            yield number, RELABELLED, label, one.group, one.official, one.arrival, one.arrived
