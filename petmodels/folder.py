"""A registry in a plain folder: for tests, USB sticks and sites without a network.

Writers take turns through a lock on `.lock` in the folder; what a killed one leaves is a partial file and no more. No
link in it is followed, neither to a file nor to a folder. Longer than most modules, because all of a store is here.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

from petmodels.disk import from_the_root
from petmodels.errors import ChecksumError
from petmodels.folder_errors import MissingError, translated
from petmodels.folder_files import partial_files
from petmodels.hashing import PIECE_BYTES, Digest, Progress
from petmodels.locks import lock
from petmodels.storage import NotStoredError, Stored, Unfinished
from petmodels.tree import Tree, written_at


class FolderStorage:
    """The objects of a registry as files below a folder; see `petmodels.storage.Storage`."""

    def __init__(self, root: Path) -> None:
        self.root = from_the_root(root)
        self.address = str(self.root)
        self._tree = Tree(self.root)

    def read(self, key: str, limit: int) -> tuple[bytes, str]:
        """Return the bytes of a file and their hash as its change mark."""
        with self._open(key) as file, translated(self.root):
            data = file.read(limit + 1)
        return data, hashlib.sha256(data).hexdigest()

    def read_changed(self, key: str, limit: int, etag: str) -> tuple[bytes, str] | None:
        """Return what `read` does, None when the bytes still hash to `etag`."""
        found = self.read(key, limit)
        return None if found[1] == etag else found

    def find(self, key: str) -> Stored | None:
        """Return a file's size and time; a symbolic link is no stored object."""
        path = self._path(key)
        try:
            with translated(self.root):
                found = self._tree.lstat(path)
        except MissingError:
            return None
        if stat.S_ISDIR(found.st_mode):
            return None
        if stat.S_ISLNK(found.st_mode):
            raise ChecksumError(f"the registry holds a symbolic link instead of a file: {path}")
        return Stored(key, found.st_size, written_at(found), "")

    def create(self, key: str, data: bytes) -> bool:
        """Write a file where none is."""
        with self._turn():
            return not self.find(key) and self._write(key, lambda file: file.write(data), over=False)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write over a file whose bytes still hash to `etag`."""
        with self._turn():
            try:
                current = self.read(key, 2**30)[1]
            except NotStoredError:
                return False
            if current != etag:
                return False
            self._write(key, lambda file: file.write(data))
        return True

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Write the file's own bytes again, once both conditions have refused it."""
        if self.create(key, data) or self.replace(key, data, "of other bytes"):
            return False
        with self._turn():
            self._write(key, lambda file: file.write(data))
        return True

    def upload(self, key: str, path: Path, digest: Digest, progress: Progress) -> bool:
        """Copy a file in and check the copy's hash before it gets its name."""
        if self.find(key):
            return False

        def copy(target: BufferedRandom) -> None:
            with _opened(path) as source:
                while piece := source.read(PIECE_BYTES):
                    target.write(piece)
                    progress(len(piece))
            target.seek(0)
            if hashlib.file_digest(target, "sha256").hexdigest() != digest.sha256:
                raise ChecksumError(f"the file changed while it was published; publish again: {path}")

        self._write(key, copy)
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
            if self._holds_file(prefix + name):
                yield name

    def delete(self, key: str) -> None:
        """Remove a file."""
        with translated(self.root):
            self._tree.unlink(self._path(key))

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the partial files that killed writers left below `prefix`."""
        with translated(self.root):
            found = list(partial_files(self._tree.files(self._path(prefix))))
        for path, final in found:
            key, final_key = (one.relative_to(self.root).as_posix() for one in (path, final))
            with suppress(FileNotFoundError):  # its writer was done meanwhile
                yield Unfinished(final_key, key, written_at(self._tree.lstat(path)))

    def discard(self, upload: Unfinished) -> None:
        """Remove a partial file."""
        self.delete(upload.id)

    def _path(self, key: str) -> Path:
        return self.root / key

    def _names(self, prefix: str, *, folders: bool) -> Iterator[str]:
        with translated(self.root):
            try:
                names = self._tree.names(self._path(prefix))
            except (FileNotFoundError, NotADirectoryError):
                return
        yield from (name for name, is_folder in names if is_folder == folders and not name.startswith("."))

    def _holds_file(self, prefix: str) -> bool:
        with translated(self.root):
            return any(not file.name.startswith(".") for file in self._tree.files(self._path(prefix)))

    @contextmanager
    def _open(self, key: str) -> Iterator[BinaryIO]:
        try:
            with translated(self.root):
                descriptor = self._tree.open(self._path(key))
        except MissingError as error:
            raise NotStoredError(key) from error
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise NotStoredError(key)
            if not stat.S_ISREG(mode):
                raise ChecksumError(f"the registry holds what is no file: {self._path(key)}")
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

    def _write(self, key: str, fill: Callable[[BufferedRandom], object], *, over: bool = True) -> bool:
        with translated(self.root):
            return self._tree.write(self._path(key), fill, over=over)


def _opened(path: Path) -> BinaryIO:
    """Open a file that is to be copied in; it lies outside the registry, so what the system refuses is said here."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ChecksumError(f"the file can't be read any more; publish again: {path}") from error
