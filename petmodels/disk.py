"""The border to this machine's disk: what a full, forbidden or broken one means to a person."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from petmodels.errors import MachineError, ReadOnlyError, RequestError

CACHE = "PETMODELS_CACHE"


@contextmanager
def writing(path: Path, *, is_cache: bool = True) -> Iterator[None]:
    """Turn what the disk refuses in the block into MachineError."""
    try:
        yield
    except OSError as error:
        raise machine_error(error, path, is_cache=is_cache) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the disk refuses in the block, which reads a part of the cache, into MachineError; absence passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise MachineError(f"not allowed to read here; check its rights, or set {CACHE}: {path}") from error
        raise machine_error(error, path) from error


def from_the_root(path: Path) -> Path:
    """Return the whole path; raise RequestError for one that counts from a folder which is gone, as that of a shell."""
    try:
        return path.absolute()
    except OSError as error:
        raise RequestError(
            f"the folder that you are in is gone; go to another, or give a whole path: {path}"
        ) from error


def all_below(folder: Path) -> Iterator[Path]:
    """Yield all that is below a folder but for folders, of which links are none; raise OSError for a closed one."""
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted([*names, *(one for one in folders if (Path(place) / one).is_symlink())]):
            yield Path(place) / name


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


def is_there(path: Path) -> bool:
    """Say whether anything of this name is there; a name that the system refuses is nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def machine_error(error: OSError, path: Path, *, is_cache: bool = True) -> MachineError:
    """Return what a full or forbidden disk means to a person, who has named the path unless it is in the cache."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        way = f"another disk with {CACHE}" if is_cache else "a folder on another disk"
        return MachineError(f"no space left; free some, or choose {way}: {path}")
    way = f"set {CACHE}" if is_cache else "choose another folder"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ReadOnlyError(f"not allowed to write here; check its rights, or {way}: {path}")
    return MachineError(f"this can't be used ({error.strerror}); choose another place, or {way}: {path}")


def _raise(error: OSError) -> NoReturn:
    raise error
