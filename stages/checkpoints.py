"""Keep a training's state, so that a killed one goes on from its last whole epoch.

Reads and leaves `<folder>/<fingerprint>.pt`, outside DVC's outputs, because DVC empties those before a stage runs.
"""

import os
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from stages.outputs import new_file

# The numbers of one epoch.
Row = dict[str, int | float | str]

# What zipfile and torch say of files that were cut or changed: each of these was seen, by the byte that was.
_BROKEN = (OSError, EOFError, RuntimeError, ValueError, TypeError, UnpicklingError, BadZipFile, zlib.error, LZMAError)


@dataclass(kw_only=True)
class Progress:
    """Where a training stands: `phase` and `epoch` are those that come next, `best` the weights of an earlier one."""

    phase: str = "frozen"
    epoch: int = 0
    learning_rate: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    model: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None


def best_row(history: Sequence[Row]) -> Row:
    """Return the row of the lowest valid loss in the last row's phase, the first of several."""
    return min(
        (row for row in history if row["phase"] == history[-1]["phase"]), key=lambda row: float(row["valid_loss"])
    )


def load(path: Path) -> Progress:
    """Return the progress kept in `path`, or a fresh one where there is none; a broken file is told and left alone."""
    try:
        _check(path)
        return Progress(**torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        return Progress()
    except _BROKEN as error:
        print(f"train: no readable checkpoint, beginning anew ({type(error).__name__}): {path}", file=sys.stderr)
        return Progress()


def save(progress: Progress, path: Path) -> None:
    """Replace what `path` keeps; a kill at any moment leaves the old or the new state whole."""
    with new_file(path) as temporary:
        torch.save({**vars(progress), "optimizer": _plain(progress.optimizer)}, temporary)


def tell_of_others(path: Path) -> None:
    """Say which checkpoints of other trainings lie beside `path`, where `path` isn't there: its training begins anew.

    Whoever meant to go on with one sees that a setting, an image or the code is another by now; nobody removes them.
    """
    others = {} if path.exists() else _found(path.parent)
    if others:
        num = f"{len(others)} checkpoint{'s' if len(others) > 1 else ''}"
        newest = max(others, key=lambda other: others[other].st_mtime)
        print(
            f"train: begins anew; {num} of other settings, images, code or packages can't be gone on with and may be "
            f"deleted; the newest ({others[newest].st_size / 1e6:.1f} MB): {newest}",
            file=sys.stderr,
        )


def _found(folder: Path) -> dict[Path, os.stat_result]:
    """Return the checkpoints in a folder, with what the system knows of each."""
    found = {}
    for path in folder.glob("*.pt"):
        with suppress(FileNotFoundError):  # gone meanwhile
            found[path] = path.stat()
    return found


def _check(path: Path) -> None:
    """Raise BadZipFile for a member whose bytes have changed: torch takes them as weights."""
    with ZipFile(path) as archive:
        if broken := archive.testzip():
            raise BadZipFile(broken)


def _plain(optimizer: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return fastai's optimizer state without fastai's and numpy's types, which a safe `torch.load` refuses."""
    if optimizer is None:
        return None
    hypers = [{name: float(value) for name, value in group.items()} for group in optimizer["hypers"]]
    return {"state": list(optimizer["state"]), "hypers": hypers}
