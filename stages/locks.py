"""Let one process at a time write a place, on disks that know such locks.

Reads nothing; leaves an empty file beside what `alone` holds. A lock ends with its process at the latest.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.errors import ResourceError

# A network file system without locks says one of the last four; NFS, which has some, but none for a folder, the first.
_LOCKLESS = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def held(folder: Path) -> Iterator[bool | None]:
    """Hold a folder; yield False if another process holds it, None where the disk can't tell."""
    with _held(os.open(folder, os.O_RDONLY)) as ours:
        yield ours


@contextmanager
def alone(folder: Path, others: str, *, patience_seconds: float = 10) -> Iterator[None]:
    """Hold a folder, which is made if need be; raise ResourceError, naming the `others`, while another process does.

    By a file beside it, for NFS has locks on files that are open for writing. What a killed process had forked, such as
    those that load images, holds the lock for some seconds longer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, end = folder.with_name(f".{folder.name}.lock"), time.monotonic() + patience_seconds
    while True:
        with _held(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)) as ours:
            if ours is not False:
                yield
                return
        if time.monotonic() > end:
            raise ResourceError(f"{others} writes here; wait for it, or end it: {folder}")
        time.sleep(0.2)


@contextmanager
def _held(handle: int) -> Iterator[bool | None]:
    process, ours = os.getpid(), None
    try:
        ours = _is_taken(handle)
        yield ours
    finally:
        if ours and process == os.getpid():
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile has the file open, too
        os.close(handle)


def _is_taken(handle: int) -> bool | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _LOCKLESS:
            return None
        raise
    return True
