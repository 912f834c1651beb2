"""The cache: every file once by its hash, shared by all models, versions and registries on this machine.

`blobs/<sha256>` is there whole and verified or not at all; `<sha256>.partial` beside it is what a broken download has
so far, and the next one goes on from there; `<sha256>.1.partial` is one beside that of a frozen process. Any number of
processes may use one cache. Nothing waits for the disk (no fsync): each use reads and hashes the file first, so what a
power cut tears is noticed and fetched again.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BufferedRandom
from pathlib import Path

from petmodels.disk import CACHE, reading, writing
from petmodels.errors import ChecksumError, MachineError, RequestError
from petmodels.hashing import Progress, has_bytes
from petmodels.locks import NoHeadwayError, lock
from petmodels.machine import check_system
from petmodels.patience import silence_seconds

# Linux's ioctl number for sharing a file's blocks until one side changes (FICLONE in linux/fs.h).
_FICLONE = 0x40049409

Download = Callable[[int, int], Iterator[bytes]]


class Cache:
    """The files on this machine, by hash; MachineError on Windows, where processes can't share one."""

    def __init__(self, folder: Path | str | None = None) -> None:
        check_system()
        if "\0" in str(folder or ""):
            raise RequestError(f"no folder's name holds a NUL: {str(folder)!r}")
        self.folder = Path(folder) if folder else default_folder()

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash is kept, whether it is there or not."""
        return self.folder / "blobs" / sha256

    def num_missing_bytes(self, sha256: str, size_bytes: int) -> int:
        """Return how many bytes of the file are still to be fetched: none if it is there, fewer after a break."""
        path = self.path(sha256)
        try:
            if path.exists():
                return 0
            return max(size_bytes - path.with_name(f"{sha256}.partial").stat().st_size, 0)
        except OSError:
            return size_bytes

    def holds(self, sha256: str, size_bytes: int) -> bool:
        """Say whether the file is there with the right bytes: it is read and hashed."""
        path = self.path(sha256)
        with reading(path), suppress(FileNotFoundError):
            return not path.is_symlink() and has_bytes(path, sha256, size_bytes)
        return False

    def fetch(self, sha256: str, size_bytes: int, name: str, download: Download, progress: Progress) -> Path:
        """Return the path of the file with this hash; download what is missing of it.

        One process does so at a time; the others wait while it gets on, and no longer. `download(start, length)` yields
        the file's bytes from `start` on; `name` is what errors call it. Raises ChecksumError, and keeps nothing, when
        the bytes are others, too few or too many.
        """
        path = self.path(sha256)
        if self.holds(sha256, size_bytes):
            progress(size_bytes)
            return path
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            # Numbered and kept: one that is ended again and again, as by gunicorn, gets on, and leaves one file.
            partial = path.with_name(f"{sha256}.{number}.partial" if number else f"{sha256}.partial")
            try:
                return self._fetched(partial, size_bytes, name, download, progress)
            except NoHeadwayError:  # the process that downloads it is frozen, or its store is silent
                number += 1

    def _fetched(self, partial: Path, size_bytes: int, name: str, download: Download, progress: Progress) -> Path:
        sha256 = partial.name.partition(".")[0]
        path = self.path(sha256)
        patience = silence_seconds() if partial.stem == sha256 else 0  # who has waited once waits for no other
        # The partial file is its own lock: making a second file for it would cost as much as what it protects.
        with lock(partial, silence_seconds=patience) as held:
            if self.holds(sha256, size_bytes):  # another process has brought it while we waited
                partial.unlink()
                progress(size_bytes)
                return path
            with writing(partial), os.fdopen(held, "r+b", closefd=False) as file:
                is_resumed = os.fstat(held).st_size > 0
                found = _fill(file, partial, size_bytes, download, progress)
                if found != sha256 and is_resumed:  # a power cut may have torn what was there
                    file.truncate(0)
                    found = _fill(file, partial, size_bytes, download, progress)
            if found != sha256:
                partial.unlink(missing_ok=True)
                raise ChecksumError(f"the bytes are not the published ones; they were thrown away: {name}")
            with writing(partial):
                partial.replace(path)
            with suppress(OSError):  # a guard alone, and not every disk lets one set it
                path.chmod(0o444)
        return path


def place(sources: Mapping[Path, Path]) -> None:
    """Give each target the bytes of a cached file: shared blocks where the disk can, else a hard link, else a copy."""
    shares = True
    for folder in sorted({target.parent for target in sources}):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    for target, source in sources.items():
        with writing(target):
            shares = shares and _cloned(source, target)  # a disk that can't do it once can't do it for the next file
            if not shares:
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copyfile(source, target)


def default_folder() -> Path:
    """Return PETMODELS_CACHE, or petmodels in the user's cache folder."""
    named = os.environ.get(CACHE)
    try:
        if named:
            return Path(named).expanduser()
        users = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # The XDG specification has a relative one ignored: each folder that one works in would get a cache of its own.
        return (users if users.is_absolute() else Path.home() / ".cache") / "petmodels"
    except RuntimeError as error:
        raise MachineError(f"this user has no home folder; say where the cache may be: {CACHE}") from error


def _fill(file: BufferedRandom, partial: Path, size_bytes: int, download: Download, progress: Progress) -> str:
    """Complete a partial file and return its hash; bytes past the promised size are never asked for nor written."""
    try:
        file.seek(0)
        whole = hashlib.file_digest(file, "sha256")
        start = file.tell()
        progress(start)
        for piece in download(start, max(size_bytes - start, 0)) if start <= size_bytes else ():
            file.write(piece)
            if not piece:
                os.utime(partial)  # who waits for it sees that it gets on
            whole.update(piece)
            progress(len(piece))
        file.flush()
        num_bytes = file.tell()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            partial.unlink(missing_ok=True)
        raise
    return whole.hexdigest() if num_bytes == size_bytes else ""


def _cloned(source: Path, target: Path) -> bool:
    import fcntl

    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True
