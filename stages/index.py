"""Write the index of the images that can be used, and what there is to say of them and the others.

Reads nothing; leaves index.csv, rejects.csv, conflicts.csv, balance.csv and prepare.json.
"""

from collections import Counter, defaultdict
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.duplicates import groups
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


def grouped(images: list[Image], distance: int) -> list[Image]:
    """Return the images, each with the name of its group, as `duplicates.groups` gives it for this distance."""
    names = groups(((image.sha256, image.phash) for image in images), distance)
    return [replace(image, group=name) for image, name in zip(images, names, strict=True)]


def write_index(params: "PrepareParams", folder: Path, images: list[Image], rejects: list[tuple[str, str]]) -> None:
    """Leave the five files in `folder`; `rejects` are (source, reason)."""
    from stages.images import FILTER_NAME

    found = conflicts(images)
    balance = sorted(Counter(image.label for image in images).items(), key=lambda item: item[0].lower())
    write_csv(folder / "index.csv", [field.name for field in fields(Image)], map(astuple, images))
    write_csv(folder / "rejects.csv", ["source", "reason"], rejects)
    write_csv(folder / "conflicts.csv", ["group", "labels", "sources"], found)
    write_csv(folder / "balance.csv", ["label", "images"], balance)
    num_groups = len({image.group for image in images})
    summary = {
        "short_side": params.short_side,
        "filter": FILTER_NAME,
        "num_images": len(images),
        "num_rejected": len(rejects),
        "num_groups": num_groups,
        "num_duplicates": len(images) - num_groups,
        "num_conflicts": len(found),
        "labels": len(balance),
    }
    write_json(folder / "prepare.json", summary)


def conflicts(images: list[Image]) -> list[tuple[str, str, str]]:
    """Return group, labels and sources of each group whose images have several labels."""
    members = defaultdict(list)
    for image in images:
        members[image.group].append(image)
    return [
        (group, " ".join(sorted({image.label for image in same})), " ".join(image.source for image in same))
        for group, same in members.items()
        if len({image.label for image in same}) > 1
    ]
