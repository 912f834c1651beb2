"""What the owner of a source may not have noticed, in a line each.

Reads the names of its files; leaves nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stages.addresses import IMAGE_SUFFIXES

_SUFFIXES = (*IMAGE_SUFFIXES, ".heic", ".heif", ".avif")
_MOST = 3


def left_out(source: Path, files: Iterable[Path], glob: str) -> Iterator[str]:
    """Say how many images by their names are not among `files`, those that fit the glob.

    One of the same name as one that fits is its mask or its thumbnail.
    """
    images = {path for path in source.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()}
    fitting = set(files)
    names = {path.stem for path in fitting}
    others = sorted(path for path in images - fitting if path.stem not in names)
    if others:
        first = others[0].relative_to(source).as_posix()
        yield f"{len(others)} with an image's suffix don't fit prepare.files (capitals count), as {first}: {glob}"


def merged_labels(source: Path, labelled: Iterable[tuple[Path, str | None]]) -> Iterator[str]:
    """Say which labels come from several folders of one name."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path, label in labelled:
        if label:
            folders[label].add(path.parent.relative_to(source).as_posix())
    merged = [f"{label} ({_some(sorted(found))})" for label, found in sorted(folders.items()) if len(found) > 1]
    if merged:
        yield f"folders of one name are one label: {_some(merged)}"


def unused_lists(sides: Sequence[str], *, num_used: int) -> Iterator[str]:
    """Say that the archive's lists are there but name no image; `sides` are the names in them."""
    if sides and not num_used:
        yield f"annotations/trainval.txt and test.txt name none of the images; the first name in them: {sides[0]}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
