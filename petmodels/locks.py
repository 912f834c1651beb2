"""A lock on a file, so that processes on one machine take turns; the system frees it when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from petmodels.disk import writing

try:
    import fcntl
except ImportError:  # Windows: processes don't take turns there; renames still keep every file whole.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock(path: Path, border: AbstractContextManager[None] | None = None) -> Iterator[int]:
    """Wait until no other process or thread holds the lock `path`, and hold it while the block runs.

    Yields the file's descriptor: on a CIFS disk, what is locked can be read and written through no other. Who holds it
    may rename or remove the file; who waited for it then takes the lock on a new one. When it can't be made, `border`
    says what that means; without one the disk is this machine's own.
    """
    with border or writing(path):
        descriptor, process = _taken(path), os.getpid()
    try:
        yield descriptor
    finally:
        if process == os.getpid():
            _give_back(descriptor)
        else:
            os.close(descriptor)


def _taken(path: Path) -> int:
    while True:
        # Through a link that somebody else put there a file would be made elsewhere.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not fcntl or _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        _give_back(descriptor)


def _give_back(descriptor: int) -> None:
    """Free the lock also where a process that was forked meanwhile has the file open, too; closing wouldn't."""
    if fcntl:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
