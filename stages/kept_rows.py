"""A file of rows of numbers by name, for what could be computed again: whatever goes wrong with it costs time only.

Reads and leaves one SQLite file, a row a name, with the CRC-32 of both, so that no row is believed to be another's; and
deletes files beside it that were not used for longest. Processes may share it; it may be deleted at any time.
"""

import os
import sqlite3
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# This many files stay in a folder, those used last; and a file begins anew at this size, 200,000 rows of 1,280 numbers:
# some of them are about images that there are no more.
MOST_FILES = 8
MOST_BYTES = 2**30
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Row = NDArray[np.float32]
Value = TypeVar("Value")


class KeptRows:
    """The rows in `file`, which need not exist. What goes wrong is told in one line, beginning with `what`."""

    def __init__(self, file: Path, what: str) -> None:
        self._file, self._what, self._has_given_up = file, what, False

    def get(self, names: Sequence[str]) -> dict[str, Row]:
        """Return the rows that are there and whole."""

        def read(connection: sqlite3.Connection) -> dict[str, Row]:
            query = "SELECT crc, row FROM outputs WHERE name = ?"
            found = ((name, connection.execute(query, (name,)).fetchone()) for name in names)
            return {name: np.frombuffer(row[1], np.float32) for name, row in found if row and _is_whole(name, *row)}

        try:
            os.utime(self._file)  # it is in use: another goes before it
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            self._give_up(error)
        return self._with_file(read) or {}

    def put(self, rows: Mapping[str, Row]) -> None:
        """Keep rows, in the place of those with the same names."""

        def write(connection: sqlite3.Connection) -> None:
            pairs = ((name, row.tobytes()) for name, row in rows.items())
            values = [(name, _checksum(name, data), data) for name, data in pairs]
            with connection:
                connection.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", values)

        self._with_file(write)

    def _with_file(self, action: Callable[[sqlite3.Connection], Value]) -> Value | None:
        """Do something with the file, made where there is none; what goes wrong is told once, and costs time only."""
        if self._has_given_up:
            return None
        try:
            self._make_room()
            with closing(sqlite3.connect(self._file, timeout=60)) as connection:
                connection.execute("PRAGMA synchronous = OFF")  # what a power cut breaks is computed anew
                columns = "name TEXT PRIMARY KEY, crc INTEGER, row BLOB"
                connection.execute(f"CREATE TABLE IF NOT EXISTS outputs ({columns}) WITHOUT ROWID")
                return action(connection)
        except (sqlite3.DatabaseError, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) in _BROKEN:
                self._tell(f"can't be read, {error}; computed anew: {self._file}")
                _forget(self._file)
            elif isinstance(error, sqlite3.OperationalError | OSError):
                self._give_up(error)
            else:
                raise
        return None

    def _make_room(self) -> None:
        """Make sure that the file may be made, or grow, and that only the files used last stay beside a new one."""
        folder = self._file.parent
        if not self._file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            used_last_first = sorted(folder.glob("*.sqlite"), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in used_last_first[MOST_FILES - 1 :]:
                _forget(path)
        elif self._file.stat().st_size > MOST_BYTES:
            self._tell(f"begin anew at {MOST_BYTES / 2**30:.2g} GiB: {self._file}")
            _forget(self._file)

    def _give_up(self, error: Exception) -> None:
        self._tell(f"can't be kept, {getattr(error, 'strerror', error)}: {self._file}")
        self._has_given_up = True

    def _tell(self, line: str) -> None:
        print(f"{self._what} {line}", file=sys.stderr)


def _checksum(name: str, data: bytes) -> int:
    return zlib.crc32(name.encode() + data)


def _is_whole(name: str, crc: object, row: object) -> bool:
    return isinstance(row, bytes) and len(row) % 4 == 0 and _checksum(name, row) == crc


def _forget(file: Path) -> None:
    for path in (file, file.with_name(f"{file.name}-journal")):
        with suppress(OSError):
            path.unlink()
