"""The border to this machine's disk: what a full, forbidden or broken one means to a person."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petmodels.errors import MachineError, ReadOnlyError

CACHE = "PETMODELS_CACHE"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses in the block into MachineError."""
    try:
        yield
    except OSError as error:
        raise machine_error(error, path) from error


def is_folder(path: Path) -> bool:
    """Say whether a folder is there; a name that the system refuses is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Say whether a plain file is there; a name that the system refuses is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def machine_error(error: OSError, path: Path) -> MachineError:
    """Return what a full or forbidden disk means to a person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return MachineError(f"no space left; free some, or choose another disk with {CACHE}: {path}")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ReadOnlyError(f"not allowed to write here; check its rights, or set {CACHE}: {path}")
    return MachineError(f"this can't be used ({error.strerror}); choose another place, or set {CACHE}: {path}")
