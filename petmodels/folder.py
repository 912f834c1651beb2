"""A registry in a plain folder: for tests, USB sticks and sites without a network.

Writers take turns through a lock on `.lock` in the folder; what a killed one leaves is a partial file and no more.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from petmodels.errors import ChecksumError
from petmodels.folder_errors import MissingError, translated
from petmodels.folder_files import partial_files, write_whole
from petmodels.hashing import PIECE_BYTES, Digest, Progress, sha256_of
from petmodels.locks import lock
from petmodels.storage import NotStoredError, Stored, Unfinished


class FolderStorage:
    """The objects of a registry as files below a folder; see `petmodels.storage.Storage`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.address = str(self.root)

    def read(self, key: str, limit: int) -> tuple[bytes, str]:
        """Return the bytes of a file and their hash as its change mark."""
        with self._open(key) as file, translated(self.root):
            data = file.read(limit + 1)
        return data, hashlib.sha256(data).hexdigest()

    def find(self, key: str) -> Stored | None:
        """Return a file's size and time; a symbolic link is no stored object."""
        path = self._path(key)
        try:
            with translated(self.root):
                found = path.lstat()
        except MissingError:
            return None
        if stat.S_ISDIR(found.st_mode):
            return None
        if stat.S_ISLNK(found.st_mode):
            raise ChecksumError(f"the registry holds a symbolic link instead of a file: {path}")
        return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), "")

    def create(self, key: str, data: bytes) -> bool:
        """Write a file where none is."""
        with self._turn():
            if self.find(key):
                return False
            self._write(key, lambda path: path.write_bytes(data))
        return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write over a file whose bytes still hash to `etag`."""
        with self._turn():
            try:
                current = self.read(key, 2**30)[1]
            except NotStoredError:
                return False
            if current != etag:
                return False
            self._write(key, lambda path: path.write_bytes(data))
        return True

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Write the file's own bytes again, once both conditions have refused it."""
        if self.create(key, data) or self.replace(key, data, "of other bytes"):
            return False
        with self._turn():
            self._write(key, lambda path: path.write_bytes(data))
        return True

    def upload(self, key: str, path: Path, digest: Digest, progress: Progress) -> bool:
        """Copy a file in and check the copy's hash before it gets its name."""
        if self.find(key):
            return False

        def copy(target: Path) -> None:
            shutil.copyfile(path, target)
            if sha256_of(target) != digest.sha256:
                raise ChecksumError(f"the file changed while it was published; publish again: {path}")

        self._write(key, copy)
        progress(path.stat().st_size)
        return True

    def download(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a file in pieces of 1 MiB."""
        with self._open(key) as file:
            with translated(self.root):
                file.seek(start)
            while length > 0:
                with translated(self.root):
                    piece = file.read(min(PIECE_BYTES, length))
                if not piece:
                    return
                length -= len(piece)
                yield piece

    def list(self, prefix: str, limit: int | None = None) -> Iterator[Stored]:
        """Yield the files right below the folder `prefix`."""
        names = sorted(self._names(prefix, folders=False))
        for name in names[:limit]:
            found = self.find(prefix + name)
            if found:
                yield found

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders right below `prefix` that hold a file, as an object store would."""
        for name in sorted(self._names(prefix, folders=True)):
            if any(not file.startswith(".") for *_, files in os.walk(self._path(prefix + name)) for file in files):
                yield name

    def delete(self, key: str) -> None:
        """Remove a file."""
        with translated(self.root):
            self._path(key).unlink(missing_ok=True)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the partial files that killed writers left below `prefix`."""
        for path, final in partial_files(self._path(prefix.rstrip("/"))):
            key, final_key = (one.relative_to(self.root).as_posix() for one in (path, final))
            with suppress(FileNotFoundError):  # its writer was done meanwhile
                yield Unfinished(final_key, key, datetime.fromtimestamp(path.lstat().st_mtime, UTC))

    def discard(self, upload: Unfinished) -> None:
        """Remove a partial file."""
        self.delete(upload.id)

    def _path(self, key: str) -> Path:
        return self.root / key

    def _names(self, prefix: str, *, folders: bool) -> Iterator[str]:
        with translated(self.root):
            try:
                entries = list(os.scandir(self._path(prefix.rstrip("/")) if prefix else self.root))
            except (FileNotFoundError, NotADirectoryError):
                return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) == folders and not entry.name.startswith("."):
                yield entry.name

    @contextmanager
    def _open(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        try:
            with translated(self.root):
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except MissingError as error:
            raise NotStoredError(key) from error
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise NotStoredError(key)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with translated(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with lock(self.root / ".lock", translated(self.root)):
            yield

    def _write(self, key: str, fill: Callable[[Path], object]) -> None:
        with translated(self.root):
            write_whole(self._path(key), fill)
