"""The demo's copy of the project: a folder that is brought up to date with the checkout at each run.

Reads the checkout as git lists it. Leaves its files in the folder, and their names in build/copied, so that the next
run takes away what the checkout has no more, and nothing that somebody else has put there.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from flows.arrivals import CORRECTIONS
from flows.arrivals import PATH as ARRIVALS
from flows.loop import git

_COPIED = "build/copied"


def bring_up_to_date(folder: Path, project: Path) -> int:
    """Make the project's files the folder's; return how many arrivals are listed in the folder alone, and kept there.

    So are corrections of images that the project's own list doesn't name.
    Raises subprocess.CalledProcessError where the project is no git repository.
    """
    listing = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    names = [name for name in listing if (project / name).is_file()]
    for name in set(_parts(folder / _COPIED, "\0")) - set(names):
        (folder / name).unlink(missing_ok=True)
        _remove_empty((folder / name).parent, folder)
    arrived, corrected = (_parts(folder / name, "\n") for name in (ARRIVALS, CORRECTIONS))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / name, folder / name)
    (folder / _COPIED).parent.mkdir(parents=True, exist_ok=True)
    (folder / _COPIED).write_text("\0".join(names), encoding="utf-8")
    _add_rows(folder / CORRECTIONS, corrected, lambda row: row.partition(",")[0])
    return _add_rows(folder / ARRIVALS, arrived, lambda row: row)


def _remove_empty(path: Path, above: Path) -> None:
    """Remove a folder and those around it that it leaves empty: where one was, there may be a file by now."""
    while path != above and path.is_dir() and not any(path.iterdir()):
        path.rmdir()
        path = path.parent


def _add_rows(path: Path, before: list[str], key: Callable[[str], str]) -> int:
    """Add the rows to a list that lacks them by their key; return how many.

    Flows have pushed arrivals, and a stack would push the list without them; what was withdrawn would come back.
    """
    there = _parts(path, "\n")
    keys = {key(row) for row in there}
    kept = [row for row in before[1:] if key(row) not in keys]
    if kept:
        path.write_text("".join(f"{line}\n" for line in [*there, *kept]), encoding="utf-8")
    return len(kept)


def _parts(path: Path, separator: str) -> list[str]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [part for part in text.split(separator) if part]
