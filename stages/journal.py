"""Tell how a training goes, epoch by epoch: a line on stderr, a point in DVCLive's plots.

Reads nothing; leaves data/train/live.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.errors import DataError

if TYPE_CHECKING:
    from stages.checkpoints import Row


class Journal:
    """What is told of one training."""

    def __init__(self, folder: Path, history: "Sequence[Row]") -> None:
        """Open DVCLive's folder; the epochs of an interrupted training come first."""
        from dvclive import Live

        folder.mkdir(parents=True, exist_ok=True)
        self._live = Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None, report=None)
        for row in history:
            self._plot(row)

    def add(self, row: "Row") -> None:
        """Tell of one more epoch."""
        self._plot(row)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in numbers_of(row).items())
        print(f"train: {row['phase']}: {numbers}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Let DVCLive write what it still holds."""
        self._live.end()

    def _plot(self, row: "Row") -> None:
        for name, value in numbers_of(row).items():
            side = name.removesuffix("_loss") if name.endswith("_loss") else "valid"
            self._live.log_metric(f"{side}/loss" if name.endswith("_loss") else name, value)
        self._live.next_step()


def check_commit() -> None:
    """Raise DataError in a git repository without a commit, where DVCLive would end the training with a traceback."""
    try:
        asked = subprocess.run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True, check=False)
    except FileNotFoundError:  # without git there's nothing to open
        return
    settings = Path(".dvc/config")
    is_without_git = settings.is_file() and "no_scm = true" in settings.read_text(encoding="utf-8").lower()
    if asked.returncode == 1 and not is_without_git:  # 128: no repository
        raise DataError("this git repository has no commit; run `git commit` once, then dvc repro")


def numbers_of(row: "Row") -> dict[str, float]:
    """Return an epoch's measured numbers by name; a head that is fitted at once has no learning rate."""
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    return {name: value for name, value in numbers.items() if (row["phase"], name) != ("probe", "learning_rate")}
