"""Read what other stages have left about themselves, and say at once where that is of a release that left less.

Reads a JSON file of data/prepared, data/split, data/train or data/eval; leaves nothing. A file that lacks what is read
of it only at the end would cost all the work before.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from stages.errors import DataError

Settings = TypeVar("Settings")

# By the file: the stage that leaves it, and what evaluate, its report or export read of it. Whoever reads more adds it.
NEEDS = {
    "prepare.json": ("prepare", ("num_images", "num_groups", "num_duplicates")),
    "split.json": ("split", ("method", "seed")),
    "train.json": ("train", (
        "architecture", "weights", "weights_sha256", "method", "image_size", "labels", "num_train", "num_valid",
        "learning_rate", "device", "precision", "versions",
        "params.architecture", "params.method", "params.weights", "params.device",
    )),
    "preprocess.json": ("train", ("mean", "std", "resize.short_side", "crop.width", "crop.height")),
    "calibration.json": ("evaluate", (
        "temperature", "unsure_precision", "unsure_below", "valid_sure_accuracy", "valid_reckoned_accuracy",
        "test_sure", "ece_by_chance", "rare_labels",
    )),
    "metrics.json": ("evaluate", (
        "num_test", "accuracy", "accuracy_low", "accuracy_high", "baseline_logistic", "unsure_share",
    )),
    "params.json": ("evaluate", ("download.source",)),
}  # fmt: skip


def described(path: Path, *more: str) -> dict[str, Any]:
    """Return what a stage has left in one of the JSON files of NEEDS.

    Raises DataError for a file that is torn, or that lacks what is read of it or one of `more`; a dot stands between a
    key and one of those below it.
    """
    stage, needs = NEEDS[path.name]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"no JSON file; run `dvc repro --force {stage}`: {path}") from error
    if lacking := [key for key in (*needs, *more) if not _has(content, key)]:
        raise DataError(f"{path} lacks what this release reads; run `dvc repro {stage}`: {', '.join(lacking)}")
    found: dict[str, Any] = content
    return found


def settings_of(train: Path, kind: type[Settings]) -> Settings:
    """Return the settings of the model in `train` as a `kind`, all of whose fields the stage must have known.

    Raises DataError, as `described` does, and where the stage knew others too.
    """
    path = train / "train.json"
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    given = described(path, *(f"params.{name}" for name in known))["params"]
    if others := [name for name in given if name not in known]:
        told = f"{path} has settings that this release doesn't know; run `dvc repro train`"
        raise DataError(f"{told}: {', '.join(others)}")
    return kind(**given)


def _has(content: object, key: str) -> bool:
    first, _, rest = key.partition(".")
    return isinstance(content, Mapping) and first in content and (not rest or _has(content[first], rest))
