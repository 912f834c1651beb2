"""Write into corrections.csv which images are withdrawn, or what their right label is: `python -m stages.correct`.

Not a DVC stage: what it leaves is committed. Reads data/prepared: index.csv, and corrected.csv, by which an image is
dealt whose label was corrected; the corrections that are there, and what params.yaml groups by. Leaves the list with a
row more for each image, or with another label in the rows that it has.
"""

import argparse
import re
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path

from stages.checksums import sha256_of
from stages.corrected import RELABELLED
from stages.corrections import COLUMNS, Correction, read_corrections
from stages.errors import DataError, printable
from stages.labels import is_folder_name, spelled, subject_of
from stages.outputs import new_file, read_csv, write_csv

_FEWEST_DIGITS, _DIGITS_TOLD = 8, 16
_MOST_TOLD = 5


@dataclass(frozen=True)
class _Known:
    """The index's rows by the sha256 of the original, in its order, and the corrections that are there.

    A row has a column more, `dealt_as`: a label may be one that a correction gave which is there no more.
    """

    prepared: Path
    images: dict[str, list[dict[str, str]]]
    corrections: dict[str, list[Correction]]

    @cached_property
    def hashes(self) -> list[str]:
        """Every image's sha256, those that begin alike beside each other."""
        return sorted(self.images.keys() | self.corrections.keys())

    @cached_property
    def names(self) -> dict[str, set[str]]:
        """The sha256 of the images that a path or a source of the index names, its accents in the one spelling."""
        found = defaultdict[str, set[str]](set)
        for sha256, rows in self.images.items():
            for row in rows:
                for name in (row["path"], row["source"]):
                    found[spelled(name)].add(sha256)
        return found

    @cached_property
    def file_names(self) -> dict[str, set[str]]:
        """The same by the names without folders, which a report gives."""
        found = defaultdict[str, set[str]](set)
        for name, hashes in self.names.items():
            found[name.rpartition("/")[2]] |= hashes
        return found


def correct(images: Sequence[str], label: str, *, index: Path, corrections: Path, pattern: str | None) -> list[str]:
    """Give `images` the right `label`, or withdraw them by an empty one; return what there is to say, a line each.

    An image is named by its sha256 or the first eight digits or more of it, by its path or its source in the index, by
    either's last part, or by a file of the same bytes. `pattern` is prepare's `group_pattern`. Raises DataError for one
    that is unknown, or isn't the only one of that name; the list is then as it was.
    """
    label = spelled(label)
    if not is_folder_name(label):
        raise DataError(f"--label must be able to name a folder: {label!r}")
    before = read_corrections(corrections)
    known = _known(index, before)
    found = {sha256 for image in images for sha256 in _named(image, known)}
    if rejected := [one.sha256 for one in before if label and one.sha256 in found and not one.dealt_as]:
        raise DataError(f"an image that was rejected has no label to correct; delete its row: {rejected[0]}")
    rows = [replace(one, label=label) if one.sha256 in found else one for one in before]
    for sha256, copies in known.images.items():
        if sha256 in found and sha256 not in known.corrections:
            rows += dict.fromkeys(_row(copy, label, pattern) for copy in copies)
    with new_file(corrections) as path:
        write_csv(path, COLUMNS, map(astuple, rows))
    return list(_told(found, label, known, num_rows=sum(one.sha256 in found for one in rows)))


def _known(index: Path, corrections: Iterable[Correction]) -> _Known:
    if not index.exists():
        pulled = f"{index} {index.parent / 'corrected.csv'}"
        raise DataError(f"no index of the images; run `dvc repro prepare`, or `dvc pull {pulled}`: {index}")
    images, corrected = defaultdict(list), defaultdict(list)
    dealt_as = _labels_dealt(index.parent / "corrected.csv")
    for number, row in enumerate(read_csv(index)):
        images[row["sha256"]].append(row | {"dealt_as": dealt_as.get(str(number), row["label"])})
    for one in corrections:
        corrected[one.sha256].append(one)
    return _Known(index.parent, images, corrected)


def _labels_dealt(listing: Path) -> dict[str, str]:
    """Return, by the index's row, the label as which an image is dealt that has another one there."""
    rows = read_csv(listing) if listing.exists() else []  # an older prepare left no list
    return {row["row"]: row["label"] for row in rows if row["change"] == RELABELLED}


def _named(image: str, known: _Known) -> set[str]:
    """Return the sha256 of the image that is meant."""
    if re.fullmatch(f"[0-9a-f]{{{_FEWEST_DIGITS},64}}", image):
        first = bisect_left(known.hashes, image)
        found = set(known.hashes[first : bisect_right(known.hashes, image, first, key=lambda one: one[: len(image)])])
    else:
        raw = known.prepared.parent / "raw"
        named = {image, *(_below(image, folder) for folder in (known.prepared, raw))}
        found = set().union(*(known.names.get(name, ()) for name in map(spelled, named)))
        if not found and Path(image).is_file():
            sha256 = sha256_of(Path(image))
            found = {sha256} if sha256 in known.images or sha256 in known.corrections else set()
        elif not found:
            found = known.file_names.get(spelled(image), set())
    if len(found) > 1:
        told = f"{len(found)} images are called so, name one by its sha256 or path: {image}"
        raise DataError(f"{told}: {', '.join(_called(one, known) for one in sorted(found)[:_MOST_TOLD])}")
    if not found:
        raise DataError(
            "no such image in the index; name it by its sha256 (8 digits or more), its path, source or file name in "
            f"the index, or a file of the same bytes: {image}"
        )
    return found


def _called(sha256: str, known: _Known) -> str:
    return " ".join([sha256[:_DIGITS_TOLD], *(row["path"] for row in known.images.get(sha256, [])[:1])])


def _below(image: str, folder: Path) -> str:
    path, top = Path(image).absolute(), folder.absolute()
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else image


def _row(copy: dict[str, str], label: str, pattern: str | None) -> Correction:
    return Correction(
        sha256=copy["sha256"],
        label=label,
        dealt_as=copy["dealt_as"],
        phash=copy["phash"],
        subject=subject_of(copy["source"], pattern),
        official=copy["official"],
        arrival=int(copy["arrival"]),
        arrived=copy["arrived"],
    )


def _told(found: set[str], label: str, known: _Known, *, num_rows: int) -> Iterable[str]:
    what = f"labelled {label}" if label else "withdrawn"
    images = "1 image" if len(found) == 1 else f"{len(found)} images"
    rows = "1 row" if num_rows == 1 else f"{num_rows} rows"
    groups = {row["group"] for sha256 in found for row in known.images.get(sha256, ())}
    stay = [
        f"{row['source']} ({row['label']})"
        for sha256, copies in known.images.items() if sha256 not in found
        for row in copies if row["group"] in groups
    ]  # fmt: skip
    if stay:
        more = f" and {len(stay) - _MOST_TOLD} more" if len(stay) > _MOST_TOLD else ""
        yield f"of the same group, so perhaps copies, stay as they are: {', '.join(stay[:_MOST_TOLD])}{more}"
    labels = {row["label"] for copies in known.images.values() for row in copies}
    if label and label not in labels:
        yield f"no image has had this label, and a label needs three images: {label}"
    yield f"{images} {what} by {rows}; next: dvc repro, and commit the list with dvc.lock"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.correct",
        description="Withdraw images, or correct their label, without moving any other image between the sides: by "
        "rows in the committed list of corrections. The next `dvc repro` does it; commit the list.",
    )
    change = parser.add_mutually_exclusive_group(required=True)
    change.add_argument("--withdraw", action="store_true", help="take the images out of all that is made from now on")
    change.add_argument("--label", help="give the images this label")
    named = (
        "a sha256 or 8 digits or more of it, a path, source or file name as in the index, or a file of the same bytes"
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=named)
    for name, path in {
        "index": "data/prepared/index.csv",
        "corrections": "data/corrections.csv",
        "params": "params.yaml",
    }.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(path), metavar="FILE", help=f"default: {path}")
    options = parser.parse_args()
    if options.label is not None and not options.label.strip():
        parser.error("--label is empty; --withdraw takes an image out")
    return options


def _main() -> None:
    from stages.entry import failing_in_one_line
    from stages.params import section
    from stages.prepare import PrepareParams

    options = _options()
    with failing_in_one_line("correct"):
        pattern = section(options.params, "prepare", PrepareParams).group_pattern
        label = (options.label or "").strip()
        lists = {"index": options.index, "corrections": options.corrections}
        for line in correct(options.images, label, **lists, pattern=pattern):
            print(f"correct: {printable(line)}", file=sys.stderr)


if __name__ == "__main__":
    _main()
