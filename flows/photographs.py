"""The demo's photographs: which make the first model, and which come later.

Reads a project that has been reproduced, or an archive or folder of photographs; leaves what it unpacks.
"""

import csv
import re
import shutil
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from flows.errors import RequestError

PETS = r"^(.+)_\d+\.jpg$"
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")
_SIDES = {"train", "training", "val", "valid", "validation", "test", "testing", "trainval"}
_FIRST_SHARE = 0.4
_FEWEST = 5
BROKEN = (shutil.ReadError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Photograph:
    """An image and its label."""

    path: Path
    label: str


def of_project(project: Path) -> list[Photograph]:
    """Return the images that the project has prepared."""
    with (project / "data/prepared/index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Photograph(project / "data/raw" / row["source"], row["label"]) for row in rows]


def dealt(project: Path) -> tuple[list[Photograph], list[Photograph]]:
    """Return the project's images, those of the first model and those that come later: of each label the same share."""
    by_label: dict[str, list[Photograph]] = defaultdict(list)
    for photograph in of_project(project):
        by_label[photograph.label].append(photograph)
    first, later = [], []
    for photographs in by_label.values():
        cut = max(_FEWEST, round(_FIRST_SHARE * len(photographs)))
        first += photographs[:cut]
        later += photographs[cut:]
    if not later:
        raise RequestError("every label has so few images that none is left to arrive later")
    return first, later


def unpacked(source: Path, folder: Path) -> list[Photograph]:
    """Return the photographs in a folder, or in an archive, which is unpacked into `folder`.

    A name as the pets' have it says the label where `names_tell`, else the folder does.
    """
    if source.is_file():
        try:
            if tarfile.is_tarfile(source):
                _untar(source, folder)
            else:
                shutil.unpack_archive(source, folder, "zip")
        except BROKEN as error:
            raise RequestError(f"no whole archive of photographs (tar, tar.gz or zip): {source}") from error
        source = folder
    paths = sorted(path for path in source.rglob("*") if is_photograph(path))
    if not paths:
        raise RequestError(f"no photographs in {source}")
    by_name = names_tell(paths)
    return [Photograph(path, _label(path, by_name=by_name)) for path in paths]


def _untar(source: Path, folder: Path) -> None:
    """Unpack the images among a tar's plain files; raise TarError for one that would leave `folder`.

    Python's own filter for that came with 3.11.4, and Debian 12 has 3.11.2.
    """
    with tarfile.open(source) as archive:
        for member in archive:
            path = folder / member.name
            if not (member.isreg() and is_photograph(path)):
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                raise tarfile.TarError(member.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            taken = archive.extractfile(member)
            assert taken is not None  # a plain file's never is
            with taken, path.open("wb") as file:
                shutil.copyfileobj(taken, file)


def is_photograph(path: PurePath) -> bool:
    """Say by its name whether a file is an image, and none of those that macOS adds to an archive."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def names_tell(images: Sequence[PurePath]) -> bool:
    """Say whether the names of images tell their labels, as the pets' do, and not the folders in which they lie.

    A camera's `cup/IMG_1000.jpg` has such a name too, but then `IMG` is in more than one folder. Folders that only say
    on which side of a split an image is are none.
    """
    folders: dict[str, list[PurePath]] = defaultdict(list)
    for image in images:
        if named := re.match(PETS, image.name):
            folders[named[1]].append(image.parent.parent if image.parent.name.lower() in _SIDES else image.parent)
    fitting = sum(map(len, folders.values()))
    return 2 * fitting >= len(images) and all(len(set(found)) == 1 for found in folders.values())


def _label(path: Path, *, by_name: bool) -> str:
    named = re.match(PETS, path.name) if by_name else None
    return named[1] if named else path.parent.name
