"""A lock on a file, so that processes on one machine take turns; the system frees it when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petmodels.errors import MachineError

try:
    import fcntl
except ImportError:  # Windows: processes don't take turns there; renames still keep every file whole.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Wait until no other process or thread holds the lock `path`, and hold it while the block runs."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise MachineError(f"the lock can't be made ({error.strerror}): {path}") from error
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
