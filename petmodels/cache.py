"""The cache: every file once by its hash, shared by all models, versions and registries on this machine.

`blobs/<2 digits>/<sha256>` is there whole and verified or not at all; `<sha256>.partial` beside it is what a broken
download has so far, and the next one goes on from there. Any number of processes may use one cache.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from petmodels.errors import ChecksumError, MachineError
from petmodels.hashing import PIECE_BYTES, Progress, sha256_of
from petmodels.locks import lock

CACHE = "PETMODELS_CACHE"
# Linux's ioctl number for sharing a file's blocks until one side changes (FICLONE in linux/fs.h).
_FICLONE = 0x40049409

Download = Callable[[int, int], Iterator[bytes]]


class Cache:
    """The files on this machine, by hash."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash is kept, whether it is there or not."""
        return self.folder / "blobs" / sha256[:2] / sha256

    def holds(self, sha256: str, size_bytes: int) -> bool:
        """Say whether the file is there with the right bytes: it is read and hashed, and thrown away when it is not."""
        path = self.path(sha256)
        try:
            if path.is_symlink() or path.stat().st_size != size_bytes or sha256_of(path) != sha256:
                path.unlink()
                return False
        except FileNotFoundError:
            return False
        except OSError as error:
            raise machine_error(error, path) from error
        return True

    def fetch(self, sha256: str, size_bytes: int, name: str, download: Download, progress: Progress) -> Path:
        """Return the path of the file with this hash; download what is missing of it, one process at a time.

        `download(start, length)` yields its bytes from `start` on; `name` is what errors call it. Raises ChecksumError,
        and keeps nothing, when the bytes are others, too few or too many.
        """
        path = self.path(sha256)
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_name(f".{sha256}.lock")):
            if self.holds(sha256, size_bytes):
                progress(size_bytes)
                return path
            partial = path.with_name(f"{sha256}.partial")
            with writing(partial):
                found = _fill(partial, size_bytes, download, progress)
            if found != sha256:
                partial.unlink(missing_ok=True)
                raise ChecksumError(f"the bytes are not the published ones; they were thrown away: {name}")
            with writing(partial):
                partial.chmod(0o444)
                partial.replace(path)
        return path


def place(source: Path, target: Path) -> None:
    """Give `target` the bytes of a cached file: shared blocks where the disk can, else a hard link, else a copy."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _cloned(source, target):
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def default_folder() -> Path:
    """Return PETMODELS_CACHE, or petmodels in the user's cache folder."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "petmodels"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses in the block into MachineError."""
    try:
        yield
    except OSError as error:
        raise machine_error(error, path) from error


def machine_error(error: OSError, path: Path) -> MachineError:
    """Return what a full or forbidden disk means to a person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return MachineError(f"no space left; free some, or choose another disk with {CACHE}: {path}")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return MachineError(f"not allowed to write here; check its rights, or set {CACHE}: {path}")
    return MachineError(f"this can't be used ({error.strerror}): {path}")


def _fill(partial: Path, size_bytes: int, download: Download, progress: Progress) -> str:
    """Complete a partial file and return its hash; bytes past the promised size are never asked for nor written."""
    whole = hashlib.sha256()
    try:
        with partial.open("r+b" if partial.exists() else "w+b") as file:
            while piece := file.read(PIECE_BYTES):
                whole.update(piece)
            start = file.tell()
            progress(start)
            for piece in download(start, max(size_bytes - start, 0)) if start <= size_bytes else ():
                file.write(piece)
                whole.update(piece)
                progress(len(piece))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            partial.unlink(missing_ok=True)
        raise
    return whole.hexdigest() if partial.stat().st_size == size_bytes else ""


def _cloned(source: Path, target: Path) -> bool:
    try:
        import fcntl

        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except (ImportError, OSError):
        target.unlink(missing_ok=True)
        return False
    return True
