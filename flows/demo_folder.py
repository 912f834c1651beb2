"""Whose folder it is that the demo puts itself into: its own, or nobody's.

Reads what is there, and its git; leaves a git repository with a mark, so that a demo that was stopped can go on.
"""

import subprocess
from pathlib import Path

from flows.loop import git

# By these a folder is known as a demo's: the mark stands in its git's settings from the first moment on.
FIRST_COMMIT = "The demo's settings"
_MARK = "petmodels.demo"


def claim(folder: Path) -> None:
    """Make `folder` the demo's own; raise FileExistsError where it holds what no demo has put there."""
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise FileExistsError(f"the folder is somebody else's, or only half made; name another, or delete it: {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "config", _MARK, "true")


def _is_ours(folder: Path) -> bool:
    if not (folder / ".git").exists():
        return False
    try:
        is_marked = git(folder, "config", "--default", "", "--get", _MARK).strip() == "true"
        return is_marked or git(folder, "log", "--max-parents=0", "--format=%s").strip() == FIRST_COMMIT
    except subprocess.CalledProcessError:  # it has no commit
        return False
