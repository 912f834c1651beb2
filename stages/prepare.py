"""Turn raw files into an index of verified, upright, equally sized, labelled images.

Reads data/raw. Leaves data/prepared: `images/<label>/…jpg`, `index.csv` (one row an image), `rejects.csv` (what can't
be used and why), `conflicts.csv` (one picture under several labels), `corrected.csv` (how images that were withdrawn or
relabelled are dealt), `balance.csv` and `prepare.json` (counts).
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from stages import hints
from stages.candidates import Candidate, candidates
from stages.cores import check_threads
from stages.corrected import corrected, listed_corrections, write_corrected
from stages.corrections import ghosts, withdrawn
from stages.errors import DataError, ParamsError, printable
from stages.index import Grouped, Image, grouped, write_index
from stages.labels import path_within, subject_of
from stages.outputs import new_folder
from stages.params import STRICT, Pattern
from stages.threads import in_threads


def _stays_below(glob: str) -> str:
    path = PurePosixPath(glob)
    if not path.parts:
        raise ValueError("should name files below the source, as in images/*")
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
    label_file: Annotated[
        str | None,
        Field(description="CSV file in the source with the columns path and label"),
        AfterValidator(lambda name: name and _stays_below(name)),
    ]
    species: Annotated[
        dict[str, Pattern], Field(description="species by regular expression on the label; may be empty")
    ]
    short_side: Annotated[int, Field(ge=16, le=4096, description="shorter side of a stored image, in pixels")]
    min_side: Annotated[int, Field(ge=1, description="an original with a shorter side below this is rejected")]
    jpeg_quality: Annotated[int, Field(ge=50, le=100, description="quality of a stored image")]
    duplicate_distance: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="bits of 256 by which perceptual hashes of one picture may differ; its mirror image is the "
            "same picture, unless this is 0",
        ),
    ]
    group_pattern: Annotated[
        Pattern | None,
        Field(
            description="regular expression on an image's path below the source or its arrival; images with the same "
            "group 1 (an animal, a patient, a scene) share a side; null: copies only"
        ),
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
        if self.group_pattern is not None and not re.compile(self.group_pattern).groups:
            raise ParamsError(
                "params.yaml: prepare: group_pattern needs a group (…) that holds what several images show: "
                f"{self.group_pattern!r}"
            )


def prepare(params: PrepareParams, *, raw: Path, out: Path) -> None:
    """Decode, check, label, resize and index all images of `raw` into `out`.

    Rows stand in the order of arrival, those of the source by content hash. Raises DataError when there is no image,
    when `group_pattern` fits none, or when more than `max_rejected_share` of the files can't be used.
    """
    corrections = listed_corrections(raw)
    num_withdrawn = sum(bool(one.official) for one in withdrawn(corrections))
    mended = corrected(candidates(params, raw, num_withdrawn=num_withdrawn), corrections, params.species)
    files = mended.files
    _check_subjects(params, files)
    with new_folder(out) as folder:
        images, rejects = _stored(params, files, folder)
        _check_rejects(params, rejects, len(files))
        found = grouped(images, params.duplicate_distance, params.group_pattern, ghosts(corrections))
        write_index(params, folder, found, rejects)
        write_corrected(folder, found, mended.dealt_as)
    _tell(found, rejects, out)


def _check_subjects(params: PrepareParams, files: list[Candidate]) -> None:
    pattern = params.group_pattern
    if pattern and not any(subject_of(one.source, pattern) for one in files):
        path = path_within(files[0].source)
        raise DataError(f"no image's path fits prepare.group_pattern; the first path: {path}; the pattern: {pattern}")


def _stored(params: PrepareParams, files: list[Candidate], folder: Path) -> tuple[list[Image], list[tuple[str, str]]]:
    check_threads()
    from stages.pictures import stored_image
    from stages.progress import counted

    images, rejects, dark = [], [], list[str]()
    with in_threads(lambda candidate: stored_image(params, candidate, folder, dark), files) as results:
        for candidate, result in zip(files, counted(results, len(files), "prepare"), strict=True):
            if isinstance(result, Image):
                images.append(result)
            else:
                rejects.append((candidate.source, result))
    _print(hints.blackened(dark))
    images.sort(key=lambda image: (image.arrival, image.sha256, image.source))
    return images, rejects


def _check_rejects(params: PrepareParams, rejects: list[tuple[str, str]], num_files: int) -> None:
    if len(rejects) <= params.max_rejected_share * num_files and len(rejects) < num_files:
        return
    kinds = Counter(re.split("[:,]", reason)[0] for _, reason in rejects).most_common(5)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds)
    source, reason = next(reject for reject in rejects if reject[1].startswith(kinds[0][0]))
    raise DataError(
        f"{len(rejects)} of {num_files} files can't be used, more than prepare.max_rejected_share "
        f"{params.max_rejected_share}; {told}; the first: {source}: {reason}"
    )


def _tell(found: Grouped, rejects: list[tuple[str, str]], out: Path) -> None:
    _print(f"rejected {source}: {reason}" for source, reason in rejects[:10])
    _print(hints.arrived_labels(found.images))
    _print(hints.alike_labels(image.label for image in found.images))
    _print(hints.of_groups(found))
    num_images = len(found.images)
    print(f"prepare: {num_images} images, {len(rejects)} rejected, in {out}; next: dvc repro split", file=sys.stderr)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"prepare: {printable(line)}", file=sys.stderr)


if __name__ == "__main__":
    from stages.entry import run
    from stages.prepare import prepare as stage

    run(stage)
