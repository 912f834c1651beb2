"""Deal the prepared images to the sides train, valid and test.

Reads data/prepared: index.csv, and corrected.csv, by which an image that was withdrawn or relabelled moves no other.
Leaves data/split: train.csv, valid.csv and test.csv with the index's columns, and split.json with the counts.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from stages.as_dealt import as_dealt
from stages.errors import DataError, ParamsError
from stages.outputs import new_folder, write_json
from stages.params import STRICT
from stages.sides import SIDES, Row, by_time, official, stable


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """How the sides are dealt, and how large they should be."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    method: Annotated[
        Literal["stable", "official", "time"],
        Field(description="`stable` by hash of the group, `official` by the archive's lists, `time` by arrival"),
    ]
    seed: Annotated[int, Field(ge=0, description="another seed deals another split")]
    valid_share: Annotated[
        float, Field(gt=0, lt=1, description="share of a label's images for validation, a group counted once")
    ]
    test_share: Annotated[
        float, Field(gt=0, lt=1, description="share of a label's images for the test, a group counted once")
    ]

    def __post_init__(self) -> None:
        if self.valid_share + self.test_share >= 1:
            raise ParamsError("params.yaml: split: valid_share and test_share leave nothing to train on; lower one")


def split(params: SplitParams, *, prepared: Path, out: Path) -> None:
    """Write the three sides of `prepared`'s index to `out`.

    Raises DataError for a label with fewer than three groups, for a label that is missing from a side, and for
    `official` without the archive's lists.
    """
    index = prepared / "index.csv"
    rows = list(_rows(index))
    if not rows:
        raise DataError(f"{index}: no images, run `dvc repro prepare`")
    _check_groups(rows)
    dealt, places = as_dealt(rows, prepared / "corrected.csv")
    sides_dealt = _sides(params, dealt)
    sides = [sides_dealt[place] for place in places]
    _check_sides(rows, sides)
    counts = Counter(sides)
    with new_folder(out) as folder:
        _write(index, sides, folder)
        summary = {"method": params.method, "seed": params.seed}
        write_json(folder / "split.json", summary | {name: counts[side] for side, name in enumerate(SIDES)})
    told = ", ".join(f"{counts[side]} {name}" for side, name in enumerate(SIDES))
    print(f"split: {told}, in {out}; next: dvc repro train", file=sys.stderr)


def _rows(index: Path) -> Iterator[Row]:
    with index.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        missing = {"label", "group", "official", "arrival", "arrived"} - set(header)
        if missing:
            raise DataError(f"{index}: columns are missing, run `dvc repro prepare`: {', '.join(sorted(missing))}")
        label, group, side, arrival, arrived = map(header.index, ("label", "group", "official", "arrival", "arrived"))
        try:
            for number, row in enumerate(reader):
                # Interned, because a million rows share few labels and days.
                yield Row(
                    number,
                    sys.intern(row[label]),
                    row[group],
                    sys.intern(row[side]),
                    int(row[arrival]),
                    sys.intern(row[arrived]),
                )
        except (ValueError, IndexError, csv.Error) as error:
            raise DataError(f"{index}: line {reader.line_num} is broken, run `dvc repro prepare`") from error


def _check_groups(rows: list[Row]) -> None:
    images = Counter(row.label for row in rows)
    groups = Counter(label for label, _ in {(row.label, row.group) for row in rows})
    few = [label for label, count in sorted(groups.items()) if count < len(SIDES)]
    if few:
        told = [f"{label} (images: {images[label]}, groups: {groups[label]})" for label in few[:10]]
        more = f" and {len(few) - 10} labels more" if len(few) > 10 else ""
        raise DataError(
            "too few groups of images of a label, add images or remove it (each side needs a group, so 3 at least; an "
            f"image without copies is one): {', '.join(told)}{more}"
        )


def _sides(params: SplitParams, rows: Sequence[Row]) -> list[int]:
    shares = (1 - params.valid_share - params.test_share, params.valid_share, params.test_share)
    if params.method == "official":
        if not any(row.official for row in rows):
            raise DataError(
                "split.method is official, but no image stands in the archive's annotations/trainval.txt or test.txt; "
                "use stable, or, where prepare has said that the lists are there, correct the names in them"
            )
        return official(rows, shares, params.seed)
    return {"stable": stable, "time": by_time}[params.method](rows, shares, params.seed)


def _check_sides(rows: list[Row], sides: list[int]) -> None:
    found = {(row.label, side) for row, side in zip(rows, sides, strict=True)}
    for label, side in product(sorted({row.label for row in rows}), range(len(SIDES))):
        if (label, side) not in found:
            raise DataError(
                f"a label is missing from the {SIDES[side]} side, add images of it or change split.seed: {label}"
            )


def _write(index: Path, sides: list[int], folder: Path) -> None:
    with ExitStack() as stack:
        reader = csv.reader(stack.enter_context(index.open(encoding="utf-8", newline="")))
        files = [
            stack.enter_context((folder / f"{name}.csv").open("w", encoding="utf-8", newline="")) for name in SIDES
        ]
        writers = [csv.writer(file, lineterminator="\n") for file in files]
        header = next(reader)
        for writer in writers:
            writer.writerow(header)
        for row, side in zip(reader, sides, strict=True):
            writers[side].writerow(row)


if __name__ == "__main__":
    from stages.entry import run
    from stages.split import split as stage

    run(stage)
