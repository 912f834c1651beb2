"""Say which breed, species and subject a file has, by the rule that params.yaml names.

Reads file names, folder names or a CSV file; leaves nothing.
"""

import csv
import io
import posixpath
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from stages.addresses import names_image
from stages.errors import DataError, ParamsError, printable

LabelRule = Callable[[Path], str | None]

# Persian and Sinhala are spelled with joiners, and emoji made by them; between Latin, Greek or Cyrillic letters, with
# accents or without, none is seen.
_SHOWN, _JOINED = r"[^\s\u200c\u200d]", r"[^\s\u200c\u200d\x00-\u052f\u1e00-\u1fff]"
_JOINER = re.compile(f"(?<={_SHOWN})[\u200c\u200d](?={_JOINED})|(?<={_JOINED})[\u200c\u200d](?={_SHOWN})")


def label_rule(source: Path, labels_from: str, *, pattern: str, label_file: str | None) -> LabelRule:
    """Return a function from a file's path to its label, None where the rule gives none.

    `pattern` searches the file's name, its first group is the label; `folder` takes the name of the file's folder, if
    it lies in one of the source's or of an arrival's; `csv` looks the path up in a file with the columns path and
    label; paths there count from `source`, else from that file's folder, and of absolute ones the longest end that is
    a file's. Raises DataError when no row names a file, or two rows give one file two labels.
    """
    if labels_from == "folder":
        return lambda path: None if _is_top(path.parent, source) else spelled(path.parent.name)
    if labels_from == "csv":
        labels = _listed(source, label_file)
        return lambda path: labels.get(_place(path, source)) if path.is_relative_to(source) else None
    compiled = re.compile(spelled(pattern))

    def by_pattern(path: Path) -> str | None:
        match = compiled.search(spelled(path.name))  # of an é in two characters, \w would take the e alone
        return match.group(1) if match else None  # None, too, where another alternative of the pattern matched

    return by_pattern


def spelled(label: str) -> str:
    """Return a label in the one way to spell it: an é may be one character or two, as macOS writes it."""
    return unicodedata.normalize("NFC", label)


def spellings(text: str) -> list[str]:
    """Return a text as it is typed, with an é in one character, and in two: what a name on disk may be."""
    return list(dict.fromkeys((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))))


def is_folder_name(label: str) -> bool:
    """Say whether a label can name its images' folder, and is seen as what it is; prepare rejects those of others."""
    shown = _JOINER.sub("", label).replace("\u3000", " ").isprintable()
    plain = shown and label == label.strip() and len(label.encode()) <= 200
    return plain and label not in {".", ".."} and not set(label) & set("/\\")


def species_of(label: str, species: Mapping[str, str]) -> str:
    """Return the first species whose pattern is found in `label`, or an empty string."""
    return next((name for name, pattern in species.items() if re.search(spelled(pattern), label)), "")


def subject_of(source: str, pattern: str | None) -> str:
    """Return what `pattern`'s first group finds in an image's path, or an empty string.

    `source` is the index's column; what is searched is `path_within` of it, such as `images/pug_1.jpg`.
    """
    match = re.search(spelled(pattern), path_within(source)) if pattern else None
    return (match and match.group(1)) or ""


def path_within(source: str) -> str:
    """Return an image's path below the source or its arrival, as the archive or folder had it."""
    return spelled(source.split("/", 1 if source.startswith("source/") else 2)[-1])


def _listed(source: Path, label_file: str | None) -> dict[str, str]:
    assert label_file is not None  # PrepareParams sees to it
    path = next(filter(Path.is_file, (source / one for one in spellings(label_file))), None)
    if path is None:
        raise ParamsError(f"params.yaml: prepare: label_file: no such file in the source: {label_file}")
    try:
        # A spreadsheet program begins its UTF-8 with a mark.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8, save it as such: {label_file}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [column.strip() for column in reader.fieldnames or []]
    if not {"path", "label"} <= set(columns):
        # Cut: any file of this machine can be named here, and its first line may be a secret.
        found = ", ".join(column[:20] for column in columns[:5])
        raise DataError(f"{label_file}: expected the columns path and label, found: {found}")
    reader.fieldnames = columns
    rows = [((row["path"] or "").strip(), (row["label"] or "").strip()) for row in reader]
    return _by_file(source, label_file, [(path, spelled(label)) for path, label in rows if path and label])


def _by_file(source: Path, label_file: str, rows: list[tuple[str, str]]) -> dict[str, str]:
    names = {_place(path, source) for path in source.rglob("*") if path.is_file()}
    labels: dict[str, str] = {}
    strangers = []
    for path, label in rows:
        place = next((place for place in _places(path, label_file) if place in names), None)
        if place is None:
            strangers.append(path)
        elif labels.setdefault(place, label) != label:
            raise DataError(f"{label_file}: two labels for one file, {labels[place]} and {label}: {place}")
    if not labels:
        looked_for = next((name for name in sorted(names) if names_image(name)), "an image")
        first = strangers[0] if strangers else "none"
        raise DataError(
            f"{label_file}: no row names a file of the source; looked for {looked_for}, first path: {first}"
        )
    if strangers:
        told = f"{len(strangers)} of {len(rows)} rows of {label_file} name no file of the source, the first: "
        print(f"prepare: {told}{printable(strangers[0])}", file=sys.stderr)
    return labels


def _places(path: str, label_file: str) -> list[str]:
    """Return what a row's path may mean below the source: from its top, from the CSV file's folder, or an end of it."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if parts and (parts[0] == "/" or parts[0].endswith(":")):
        return [spelled("/".join(parts[first:])) for first in range(1, len(parts))]
    places = ("/".join(parts), posixpath.normpath(PurePosixPath(label_file).parent / PurePosixPath(*parts)))
    return [spelled(place) for place in places]


def _place(path: Path, source: Path) -> str:
    return spelled(path.relative_to(source).as_posix())


def _is_top(folder: Path, source: Path) -> bool:
    """Say whether a folder is the source or one arrival: its name is no label."""
    return folder == source or folder.parent == source.parent / "arrivals"
