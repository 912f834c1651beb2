"""Turn raw files into an index of verified, upright, equally sized, labelled images.

Reads data/raw. Leaves data/prepared: `images/<label>/…jpg`, `index.csv` (one row an image), `rejects.csv` (what can't
be used and why), `conflicts.csv` (one picture under several labels), `balance.csv` and `prepare.json` (counts).
"""

import csv
import hashlib
import io
import os
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal

from PIL.Image import Image as Picture
from pydantic import AfterValidator, ConfigDict, Field

from stages.errors import DataError, ParamsError
from stages.outputs import new_folder, write_csv, write_json
from stages.params import STRICT, Pattern


def _stays_below(glob: str) -> str:
    path = PurePosixPath(glob)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("should be relative to the source, without '..'")
    if any("**" in part and part != "**" for part in path.parts):
        raise ValueError("'**' should be a whole part of the path, as in **/images/*")
    return glob


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """Which files are images, what they show, and the form in which they are stored."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    files: Annotated[
        str,
        Field(min_length=1, description="glob below the source: the files that should be images"),
        AfterValidator(_stays_below),
    ]
    labels_from: Annotated[
        Literal["pattern", "folder", "csv"],
        Field(description="what names the breed: the file's name, its folder, or a CSV file"),
    ]
    label_pattern: Annotated[Pattern, Field(description="regular expression on the file's name; group 1 is the label")]
    label_file: Annotated[str | None, Field(description="CSV file in the source with the columns path and label")]
    species: Annotated[
        dict[str, Pattern], Field(description="species by regular expression on the label; may be empty")
    ]
    short_side: Annotated[int, Field(ge=16, le=4096, description="shorter side of a stored image, in pixels")]
    min_side: Annotated[int, Field(ge=1, description="an original with a shorter side below this is rejected")]
    jpeg_quality: Annotated[int, Field(ge=50, le=100, description="quality of a stored image")]
    duplicate_distance: Annotated[
        int, Field(ge=0, le=64, description="bits of 256 by which two perceptual hashes of one picture may differ")
    ]
    max_rejected_share: Annotated[float, Field(ge=0, le=1, description="more rejected files than this stop the run")]

    def __post_init__(self) -> None:
        if self.labels_from == "csv" and self.label_file is None:
            raise ParamsError(
                "params.yaml: prepare: label_file must name a CSV file in the source when labels_from is csv"
            )
        if self.labels_from == "pattern" and not re.compile(self.label_pattern).groups:
            raise ParamsError(
                f"params.yaml: prepare: label_pattern needs a group (…) that holds the label: {self.label_pattern!r}"
            )


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
class Candidate:
    """A file that should be an image, and what is known before it is opened."""

    file: Path
    source: str
    label: str | None
    species: str = ""
    official: str = ""
    arrival: int = 0
    arrived: str = ""


@dataclass(frozen=True, kw_only=True)
class Usable:
    """A file that passed: its picture as it is stored, the original's size, and both hashes."""

    picture: Picture
    width: int
    height: int
    sha256: str
    phash: str


def prepare(params: PrepareParams, *, raw: Path, out: Path) -> None:
    """Decode, check, label, resize and index all images of `raw` into `out`.

    Rows stand in the order of arrival, those of the source by content hash. Raises DataError when there is no image or
    when more than `max_rejected_share` of the files can't be used.
    """
    candidates = _candidates(params, raw)
    with new_folder(out) as folder:
        images, rejects = _stored(params, candidates, folder)
        _check_rejects(params, rejects, len(candidates))
        images = _grouped(images, params.duplicate_distance)
        _write(params, folder, images, rejects)
    _tell(images, rejects, out)


def _candidates(params: PrepareParams, raw: Path) -> list[Candidate]:
    from stages.labels import label_rule, official_sides, species_of

    source = raw / "source"
    rule = label_rule(source, params.labels_from, pattern=params.label_pattern, label_file=params.label_file)
    official = official_sides(source)
    found = [
        Candidate(
            file=file,
            source=_readable(file.relative_to(raw)),
            label=rule(file),
            official=official.get(file.stem, ""),
        )
        for file in sorted(source.glob(params.files))
        if file.is_file()
    ]
    if not found:
        raise DataError(f"no file fits prepare.files; look into {source} and change the glob: {params.files}")
    for row, (label, arrived) in enumerate(_arrivals(raw / "arrivals.csv"), start=1):
        for file in sorted(path for path in (raw / f"arrivals/{row:05d}").rglob("*") if path.is_file()):
            name = _readable(file.relative_to(raw))
            found.append(Candidate(file=file, source=name, label=label or rule(file), arrival=row, arrived=arrived))
    return [replace(one, species=species_of(one.label or "", params.species)) for one in found]


def _readable(path: Path) -> str:
    """Return the path as text; bytes of a name that are no UTF-8 become `\\x..`, as archives from Windows hold them."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _arrivals(listing: Path) -> list[tuple[str, str]]:
    if not listing.exists():
        return []
    with listing.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["arrived"]) for row in csv.DictReader(file)]


def _stored(
    params: PrepareParams, candidates: list[Candidate], folder: Path
) -> tuple[list[Image], list[tuple[str, str]]]:
    from stages.progress import counted

    images, rejects = [], []
    # Threads, not processes: Pillow and hashlib work outside the interpreter's lock, and nothing is left behind when
    # the stage is killed.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda candidate: _image(params, candidate, folder), candidates)
        for candidate, result in zip(candidates, counted(results, len(candidates), "prepare"), strict=True):
            if isinstance(result, Image):
                images.append(result)
            else:
                rejects.append((candidate.source, result))
    images.sort(key=lambda image: (image.arrival, image.sha256, image.source))
    return images, rejects


def _image(params: PrepareParams, candidate: Candidate, folder: Path) -> Image | str:
    """Store one image and return its row, or the reason why it is rejected."""
    label = candidate.label
    reason = label_reason(params, label)
    if reason or not label:
        return reason
    usable = usable_image(params, candidate.file.read_bytes())
    if isinstance(usable, str):
        return usable
    # Cut, because file systems end a name after 255 bytes; the hash tells those apart that begin alike.
    stem = PurePosixPath(candidate.source).stem[:50]
    path = f"images/{label}/{stem}-{usable.sha256[:12]}.jpg"
    _save(usable.picture, folder / path, params.jpeg_quality)
    return Image(
        path=path,
        label=label,
        species=candidate.species,
        width=usable.width,
        height=usable.height,
        sha256=usable.sha256,
        phash=usable.phash,
        group=usable.sha256,
        official=candidate.official,
        arrival=candidate.arrival,
        arrived=candidate.arrived,
        source=candidate.source,
    )


def label_reason(params: PrepareParams, label: str | None) -> str:
    """Return why an image with this label is rejected, "" when it isn't."""
    if not label:
        return f"no label by the {params.labels_from}"
    return "" if _is_folder_name(label) else f"label is no folder's name: {label!r}"


def usable_image(params: PrepareParams, content: bytes) -> Usable | str:
    """Decode and check the bytes of one file; return the reason when they are rejected."""
    import imagehash

    from stages.images import UnusableImageError, decoded, resized

    try:
        picture, (width, height) = decoded(content, short_side=params.short_side)
    except UnusableImageError as error:
        return str(error)
    if min(width, height) < params.min_side:
        return f"too small: {width}x{height}"
    small = resized(picture, params.short_side)
    sha256, phash = hashlib.sha256(content).hexdigest(), str(imagehash.phash(small, hash_size=16))
    return Usable(picture=small, width=width, height=height, sha256=sha256, phash=phash)


def _is_folder_name(label: str) -> bool:
    plain = label.isprintable() and label == label.strip() and len(label.encode()) <= 200
    return plain and label not in {".", ".."} and not set(label) & set("/\\")


def _save(image: Picture, path: Path, quality: int) -> None:
    buffer = io.BytesIO()
    # 4:4:4, because a second chroma subsampling costs colour edges and the first saved nothing here.
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def _check_rejects(params: PrepareParams, rejects: list[tuple[str, str]], num_files: int) -> None:
    if len(rejects) <= params.max_rejected_share * num_files and len(rejects) < num_files:
        return
    source, reason = rejects[0]
    raise DataError(
        f"{len(rejects)} of {num_files} files can't be used, more than prepare.max_rejected_share "
        f"{params.max_rejected_share}; the first: {source}: {reason}"
    )


def _grouped(images: list[Image], distance: int) -> list[Image]:
    from stages.duplicates import groups

    names = groups(((image.sha256, image.phash) for image in images), distance)
    return [replace(image, group=name) for image, name in zip(images, names, strict=True)]


def _conflicts(images: list[Image]) -> list[tuple[str, str, str]]:
    members = defaultdict(list)
    for image in images:
        members[image.group].append(image)
    return [
        (group, " ".join(sorted({image.label for image in same})), " ".join(image.source for image in same))
        for group, same in members.items()
        if len({image.label for image in same}) > 1
    ]


def _write(params: PrepareParams, folder: Path, images: list[Image], rejects: list[tuple[str, str]]) -> None:
    from stages.images import FILTER_NAME

    conflicts = _conflicts(images)
    balance = sorted(Counter(image.label for image in images).items(), key=lambda item: item[0].lower())
    write_csv(folder / "index.csv", [field.name for field in fields(Image)], map(astuple, images))
    write_csv(folder / "rejects.csv", ["source", "reason"], rejects)
    write_csv(folder / "conflicts.csv", ["group", "labels", "sources"], conflicts)
    write_csv(folder / "balance.csv", ["label", "images"], balance)
    num_groups = len({image.group for image in images})
    summary = {
        "short_side": params.short_side,
        "filter": FILTER_NAME,
        "num_images": len(images),
        "num_rejected": len(rejects),
        "num_groups": num_groups,
        "num_duplicates": len(images) - num_groups,
        "num_conflicts": len(conflicts),
        "labels": len(balance),
    }
    write_json(folder / "prepare.json", summary)


def _tell(images: list[Image], rejects: list[tuple[str, str]], out: Path) -> None:
    for source, reason in rejects[:10]:
        print(f"prepare: rejected {source}: {reason}", file=sys.stderr)
    for _, labels, sources in _conflicts(images)[:10]:
        print(f"prepare: the same picture under several labels ({labels}): {sources}", file=sys.stderr)
    print(f"prepare: {len(images)} images, {len(rejects)} rejected, in {out}; next: dvc repro split", file=sys.stderr)


if __name__ == "__main__":
    from stages.entry import run
    from stages.prepare import prepare as stage

    run(stage)
