"""Write the index of the images that can be used, and what there is to say of them and the others.

Reads nothing; leaves index.csv, rejects.csv, conflicts.csv, balance.csv and prepare.json.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from stages.corrections import Correction
from stages.duplicates import groups, joined
from stages.labels import subject_of
from stages.outputs import write_csv, write_json

if TYPE_CHECKING:
    from stages.prepare import PrepareParams


@dataclass(frozen=True, kw_only=True)
class Image:
    """One row of index.csv; `path` is relative to data/prepared, `source` to data/raw, the size is the original's."""

    path: str
    label: str
    species: str
    width: int
    height: int
    sha256: str
    phash: str
    group: str
    official: str
    arrival: int
    arrived: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """The images with the names of their groups, and how many images of a subject are in which groups.

    `num_duplicates` images are copies of an earlier one in their group; of `num_parted` pictures there are copies in
    several groups; `most_copied` are the sources of the most images that are one picture; `conflicts` are (group,
    labels, sources) of copies that have several labels. `ghosts` are the images that were withdrawn: how many images
    stand before each, its correction, and its group.
    """

    images: list[Image]
    subjects: dict[str, Counter[str]]
    num_duplicates: int
    num_parted: int
    most_copied: list[str]
    conflicts: list[tuple[str, str, str]]
    ghosts: list[tuple[int, Correction, str]]


def grouped(
    images: Sequence[Image], distance: int, pattern: str | None, withdrawn: Sequence[Correction] = ()
) -> Grouped:
    """Group images by `duplicates.groups` for this distance and by what `pattern` finds in their sources.

    Those that were withdrawn take part, in the place that they had, so that the others' groups stay what they were.
    """
    everyone: list[Image | Correction] = [*images, *withdrawn]
    if withdrawn:
        everyone.sort(key=lambda one: (one.arrival, one.sha256))
    pictures = groups(((one.sha256, one.phash) for one in everyone), distance)
    shown = [_subject(one, pattern) for one in everyone]
    names = joined(zip((one.sha256 for one in everyone), pictures, shown, strict=True))
    ghosts: list[tuple[int, Correction, str]] = []
    if withdrawn:
        ghosts, real = _parted(everyone, names)
        pictures, shown, names = ([values[place] for place in real] for values in (pictures, shown, names))
    subjects: dict[str, Counter[str]] = defaultdict(Counter)
    for subject, name in zip(shown, names, strict=True):
        if subject:
            subjects[subject][name] += 1
    places = set(zip(pictures, names, strict=True))
    named = [replace(image, group=name) for image, name in zip(images, names, strict=True)]
    copies = _copies(named, pictures)
    return Grouped(
        images=named,
        subjects=subjects,
        num_duplicates=len(images) - len(places),
        num_parted=sum(number > 1 for number in Counter(picture for picture, _ in places).values()),
        most_copied=[image.source for image in max(copies, key=len, default=[])],
        conflicts=_conflicts(copies),
        ghosts=ghosts,
    )


def write_index(params: "PrepareParams", folder: Path, found: Grouped, rejects: list[tuple[str, str]]) -> None:
    """Leave the five files in `folder`; `rejects` are (source, reason)."""
    from stages.images import FILTER_NAME

    images = found.images
    balance = sorted(Counter(image.label for image in images).items(), key=lambda item: item[0].lower())
    columns = [field.name for field in fields(Image)]
    write_csv(folder / "index.csv", columns, map(attrgetter(*columns), images))  # astuple copies each value deeply
    write_csv(folder / "rejects.csv", ["source", "reason"], rejects)
    write_csv(folder / "conflicts.csv", ["group", "labels", "sources"], found.conflicts)
    write_csv(folder / "balance.csv", ["label", "images"], balance)
    summary = {
        "short_side": params.short_side,
        "filter": FILTER_NAME,
        "num_images": len(images),
        "num_rejected": len(rejects),
        "num_groups": len({image.group for image in images}),
        "num_duplicates": found.num_duplicates,
        "num_conflicts": len(found.conflicts),
        "labels": len(balance),
    }
    write_json(folder / "prepare.json", summary)


def _subject(one: Image | Correction, pattern: str | None) -> str:
    if isinstance(one, Image):
        return subject_of(one.source, pattern)
    return one.subject if pattern else ""


def _parted(
    everyone: Sequence[Image | Correction], names: Sequence[str]
) -> tuple[list[tuple[int, Correction, str]], list[int]]:
    """Return the ghosts, and the places of the images among all."""
    ghosts, real = [], []
    for place, (one, name) in enumerate(zip(everyone, names, strict=True)):
        if isinstance(one, Image):
            real.append(place)
        else:
            ghosts.append((len(real), one, name))
    return ghosts, real


def _copies(images: Sequence[Image], pictures: Sequence[str]) -> list[list[Image]]:
    copies = defaultdict(list)
    for image, picture in zip(images, pictures, strict=True):
        copies[picture].append(image)
    return list(copies.values())


def _conflicts(copies: Sequence[Sequence[Image]]) -> list[tuple[str, str, str]]:
    return [
        (same[0].group, " ".join(sorted({image.label for image in same})), " ".join(image.source for image in same))
        for same in copies
        if len({image.label for image in same}) > 1
    ]
