"""Say which breed, species, official side and subject a file has, by the rule that params.yaml names.

Reads file names, folder names, a CSV file or the archive's own lists; leaves nothing.
"""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

from stages.errors import DataError, ParamsError

LabelRule = Callable[[Path], str | None]


def label_rule(source: Path, labels_from: str, *, pattern: str, label_file: str | None) -> LabelRule:
    """Return a function from a file's path to its label, None where the rule gives none.

    `pattern` searches the file's name, its first group is the label; `folder` takes the name of the file's folder, if
    it lies in one of the source's or of an arrival's; `csv` looks the path, relative to `source`, up in a file with the
    columns path and label.
    """
    if labels_from == "folder":
        return lambda path: None if _is_top(path.parent, source) else spelled(path.parent.name)
    if labels_from == "csv":
        labels = _listed(source, label_file)
        return lambda path: labels.get(_place(path, source)) if path.is_relative_to(source) else None
    compiled = re.compile(pattern)

    def by_pattern(path: Path) -> str | None:
        match = compiled.search(path.name)
        label = match.group(1) if match else None  # None, too, where another alternative of the pattern matched
        return None if label is None else spelled(label)

    return by_pattern


def spelled(label: str) -> str:
    """Return a label in the one way to spell it: an é may be one character or two, as macOS writes it."""
    return unicodedata.normalize("NFC", label)


def species_of(label: str, species: Mapping[str, str]) -> str:
    """Return the first species whose pattern is found in `label`, or an empty string."""
    return next((name for name, pattern in species.items() if re.search(pattern, label)), "")


def subject_of(source: str, pattern: str | None) -> str:
    """Return what `pattern`'s first group finds in an image's path, or an empty string.

    `source` is the index's column; what is searched is `path_within` of it, such as `images/pug_1.jpg`.
    """
    match = re.search(pattern, path_within(source)) if pattern else None
    return (match and match.group(1)) or ""


def path_within(source: str) -> str:
    """Return an image's path below the source or its arrival, as the archive or folder had it."""
    return spelled(source.split("/", 1 if source.startswith("source/") else 2)[-1])


def official_sides(source: Path) -> dict[str, str]:
    """Return `trainval` or `test` by image name without suffix, from the lists in `annotations/`.

    The lists are trainval.txt and test.txt; the result is empty without them. A line begins with
    the image's name; the rest is not needed here.
    """
    sides: dict[str, str] = {}
    for side in ("trainval", "test"):
        for listing in sorted(source.glob(f"**/annotations/{side}.txt")):
            lines = os.fsdecode(listing.read_bytes()).splitlines()  # as the names of the images are read
            sides |= {line.split()[0]: side for line in lines if line.strip() and not line.startswith("#")}
    return sides


def _listed(source: Path, label_file: str | None) -> dict[str, str]:
    assert label_file is not None  # PrepareParams sees to it
    path = source / label_file
    if not path.is_file():
        raise ParamsError(f"params.yaml: prepare: label_file: no such file in the source: {label_file}")
    try:
        # A spreadsheet program begins its UTF-8 with a mark.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8, save it as such: {label_file}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    if not {"path", "label"} <= set(columns):
        # Cut: any file of this machine can be named here, and its first line may be a secret.
        found = ", ".join(column[:20] for column in columns[:5])
        raise DataError(f"{label_file}: expected the columns path and label, found: {found}")
    return {spelled(row["path"]): spelled(row["label"]) for row in reader if row["path"] and row["label"]}


def _place(path: Path, source: Path) -> str:
    return spelled(path.relative_to(source).as_posix())


def _is_top(folder: Path, source: Path) -> bool:
    """Say whether a folder is the source or one arrival: its name is no label."""
    return folder == source or folder.parent == source.parent / "arrivals"
