"""A lock on a file, so that processes on one machine take turns; the system frees it when its holder dies."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from petmodels.disk import writing

try:
    import fcntl
except ImportError:  # Windows, where a Cache and a registry in a folder are refused before anything is locked
    fcntl = None  # type: ignore[assignment]


_PAUSE_SECONDS = (0.01, 0.1)


class NoHeadwayError(Exception):
    """Who holds the lock has not written into its file for too long."""


@contextmanager
def lock(
    path: Path, border: AbstractContextManager[None] | None = None, *, silence_seconds: float | None = None
) -> Iterator[int]:
    """Wait until no other process or thread holds the lock `path`, and hold it while the block runs.

    Yields the file's descriptor: on a CIFS disk, what is locked can be read and written through no other. Who holds it
    may rename or remove the file; who waited for it then takes the lock on a new one. When it can't be made, `border`
    says what that means; without one the disk is this machine's own. Raises NoHeadwayError when the file stays as it is
    for `silence_seconds`, while somebody holds it; 0 waits not at all, None for ever.
    """
    with border or writing(path):
        descriptor, process = _taken(path, silence_seconds), os.getpid()
    try:
        yield descriptor
    finally:
        if process == os.getpid():
            _give_back(descriptor)
        else:
            os.close(descriptor)


def _taken(path: Path, silence_seconds: float | None) -> int:
    while True:
        # Through a link that somebody else put there a file would be made elsewhere.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            _wait(descriptor, silence_seconds)
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        _give_back(descriptor)


def _wait(descriptor: int, silence_seconds: float | None) -> None:
    if silence_seconds is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    pause, longest = _PAUSE_SECONDS
    seen, since = None, time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            found = os.fstat(descriptor)
        if (found.st_size, found.st_mtime_ns) != seen:
            seen, since = (found.st_size, found.st_mtime_ns), time.monotonic()
        if time.monotonic() - since >= silence_seconds:
            raise NoHeadwayError
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _give_back(descriptor: int) -> None:
    """Free the lock also where a process that was forked meanwhile has the file open, too; closing wouldn't."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
