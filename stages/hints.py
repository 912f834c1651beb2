"""What the owner of a source may not have noticed, in a line each.

Reads the names of its files, and what prepare has found; leaves nothing.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.addresses import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from stages.index import Grouped, Image

_UNREADABLE = (".heic", ".heif", ".avif")
_SUFFIXES = (*IMAGE_SUFFIXES, *_UNREADABLE)
_UNSEEN = dict.fromkeys(map(ord, "\u200c\u200d\ufe0e\ufe0f"))  # the joiners, and what makes ❤ an emoji or none
_MOST = 3
_MOST_LINES = 10
_MOST_COPIES = 10  # of one picture that people make; more are likelier pictures that a fixed camera has made alike


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
        if any(path.suffix.lower() in _UNREADABLE for path in others):
            yield "HEIC and AVIF can't be read here: convert them to JPEG"


def merged_labels(source: Path, labelled: Iterable[tuple[Path, str | None]]) -> Iterator[str]:
    """Say which labels come from several folders of one name."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path, label in labelled:
        if label:
            folders[label].add(path.parent.relative_to(source).as_posix())
    merged = [f"{label} ({_some(sorted(found))})" for label, found in sorted(folders.items()) if len(found) > 1]
    if merged:
        yield f"folders of one name are one label: {_some(merged)}"


def arrived_labels(images: Iterable["Image"]) -> Iterator[str]:
    """Say which labels only arrivals have, and in which rows: an archive's wrapper folder may have become one."""
    rows: dict[str, Counter[int]] = defaultdict(Counter)
    for image in images:
        rows[image.label][image.arrival] += 1
    new = [(label, counts) for label, counts in sorted(rows.items()) if 0 not in counts]
    for label, counts in new[:_MOST_LINES]:
        which = f"row{'s' if len(counts) > 1 else ''} {_some([str(row) for row in sorted(counts)])}"
        num_images = f"{counts.total()} image{'s' if counts.total() > 1 else ''}"
        yield f"label {label} comes from {which} of arrivals.csv alone ({num_images})"
    if len(new) > _MOST_LINES:
        yield f"{len(new) - _MOST_LINES} more labels come from arrivals.csv alone"


def alike_labels(labels: Iterable[str]) -> Iterator[str]:
    """Say which labels look alike, as several people type them; only they know whether one thing is meant."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels)):
        alike[_typed_plainly(label)].append(label)
    told = [" and ".join(found) for found in alike.values() if len(found) > 1]
    if told:
        yield f"labels that differ by width, case, blanks, joiners or emoji style alone are not merged: {_some(told)}"


def unused_lines(unused: Sequence[str], *, num_lines: int) -> Iterator[str]:
    """Say how many lines of the archive's lists name no image; `unused` are the names in them."""
    foreign = [name for name in unused if not _is_utf_8(name)]
    if unused:
        told = f"{len(unused)} of {num_lines} lines of annotations/trainval.txt and test.txt name no image"
        how = f"; save as UTF-8 the one with this line: {foreign[0]}" if foreign else f", the first: {unused[0]}"
        yield told + how


def blackened(dark: Sequence[str]) -> Iterator[str]:
    """Say which images of 16 bits use so little of their range that eight bits leave nothing of them."""
    if dark:
        told = "images of 16 bits that use less than an eighth of their range become nearly black, scale them first"
        yield f"{told}: {len(dark)}, as {min(dark)}"


def of_groups(found: "Grouped") -> Iterator[str]:
    """Say how many images are copies, which have several labels, and what `group_pattern` has made of the images."""
    if len(found.most_copied) > _MOST_COPIES:
        yield (
            f"{found.num_duplicates} of {len(found.images)} images are copies of others, {len(found.most_copied)} of "
            f"one picture, lower prepare.duplicate_distance if these do differ: {_some(found.most_copied)}"
        )
    for _, labels, sources in found.conflicts[:_MOST_LINES]:
        paths = _some(re.split(r" (?=source/|arrivals/\d)", sources))
        yield (
            f"the same picture under several labels ({labels}), lower prepare.duplicate_distance if these do differ: "
            f"{paths}"
        )
    if found.subjects:
        num_fitting = sum(counts.total() for counts in found.subjects.values())
        yield f"group_pattern fits {num_fitting} of {len(found.images)} images; subjects: {len(found.subjects)}"
    for subject in [subject for subject, groups in found.subjects.items() if len(groups) > 1][:_MOST_LINES]:
        yield f"a subject in several groups, for its images have copies elsewhere: {subject}"
    if found.num_parted:
        yield (
            "pictures whose copies belong to several subjects, so that one side may show what another was trained on: "
            f"{found.num_parted}"
        )


def _typed_plainly(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label.translate(_UNSEEN)).casefold().split())


def _is_utf_8(name: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
