"""A file in the drop, as it was when it was listed, and why it can't be taken in from there, if it can't.

Reads a folder's entries; leaves nothing. What a bucket lists is always a file.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.telling import printable
from petmodels.storage import Stored
from petmodels.tree import written_at

_OPEN_IT = "chmod -R a+rX opens it"


@dataclass(frozen=True)
class Dropped:
    """A file in the drop, as it was when it was listed, and why it can't be taken in from there, "" when it can."""

    stored: Stored
    unfit: str = ""

    @property
    def key(self) -> str:
        """Its key in the store."""
        return self.stored.key

    @property
    def label(self) -> str:
        """The folder it lies in, "" for none."""
        return text_of(self.key).rpartition("/")[0]

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.key.rpartition("/")[2]


def in_folder(folder: Path, prefix: str) -> Iterator[Dropped]:
    """Yield what lies in a folder's part, "" or `<name>/`, also what is no file, at which a store's list would end."""
    try:
        paths = list((folder / prefix).iterdir())
    except PermissionError:
        yield _closed(prefix.rstrip("/"), "this folder")
    except FileNotFoundError:
        return
    else:
        yield from filter(None, (_on_disk(path, prefix + path.name) for path in paths))


def text_of(key: str) -> str:
    """Return a key as text that can be written as UTF-8: bytes that are none become `\\x..`."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def name_of(key: str) -> str:
    """Return a key as people are shown it: what isn't printable becomes `\\x..`, too."""
    return printable(text_of(key))


def _on_disk(path: Path, key: str) -> Dropped | None:
    """Return what lies at a path, None where a folder does, or nothing any more."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except PermissionError:
        return _closed(key, "its folder")
    if stat.S_ISDIR(found.st_mode):
        return None
    return Dropped(Stored(key, found.st_size, written_at(found), ""), _unfit(path, found.st_mode))


def _closed(key: str, what: str) -> Dropped:
    unknown = Stored(key, 0, datetime.fromtimestamp(0, UTC), "")
    return Dropped(unknown, f"{what} is closed to this worker's user; {_OPEN_IT}")


def _unfit(path: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link, and links aren't followed; put the file itself into the drop"
    if not stat.S_ISREG(mode):
        return "neither a file nor a folder; take it away"
    return "" if os.access(path, os.R_OK) else f"this worker's user may not read it; {_OPEN_IT}"
