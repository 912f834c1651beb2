"""Let one process at a time write a place, on disks that know such locks.

Reads nothing; leaves nothing: a lock ends with its process at the latest.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.errors import ResourceError

# A network file system without locks says one of the last four; NFS, which has some, but none for a folder, the first.
_LOCKLESS = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def held(folder: Path) -> Iterator[bool | None]:
    """Hold a folder; yield False if another process holds it, None where the disk can't tell."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _is_taken(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path, others: str) -> Iterator[None]:
    """Hold a folder, which is made if need be; raise ResourceError, naming the `others`, while another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder) as ours:
        if ours is False:
            raise ResourceError(f"{others} writes here; wait for it, or end it: {folder}")
        yield


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
