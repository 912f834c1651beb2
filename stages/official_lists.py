"""Say which side an archive's own lists give to an image.

Reads trainval.txt and test.txt in `annotations/`; leaves nothing.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


def official_sides(source: Path) -> dict[str, str]:
    """Return `trainval` or `test` by what the lists call an image; the result is empty without them.

    A line is an image's name, or that and numbers; the pets' lists have it without folder and suffix.
    """
    sides: dict[str, str] = {}
    for side in ("trainval", "test"):
        for listing in sorted(source.glob(f"**/annotations/{side}.txt")):
            lines = os.fsdecode(listing.read_bytes()).splitlines()  # as the names of the images are read
            for line in lines:
                first, *others = line.split() or ["#"]
                if not first.startswith("#"):
                    names = [line.strip(), first] if all(other.isdigit() for other in others) else [line.strip()]
                    sides |= {_plain(name): side for name in names}
    return sides


def official_side(path: PurePosixPath, sides: Mapping[str, str]) -> str:
    """Return the side of an image by its path below the source, "" without one.

    Whole or without its first folders, with or without its suffix; the longest counts, as lists may say `ok/6` and
    `defect/6`.
    """
    for first in range(len(path.parts) if sides else 0):
        tail = PurePosixPath(*path.parts[first:])
        for name in (str(tail), str(tail.with_suffix(""))):
            if name in sides:
                return sides[name]
    return ""


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
