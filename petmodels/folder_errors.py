"""The border to the file system that keeps a registry: what it refuses means to a person who gave a folder's name."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petmodels.errors import AccessError, AddressError, ChecksumError, MachineError, PetmodelsError


class MissingError(PetmodelsError):
    """A file or folder is absent, or went away meanwhile."""


@contextmanager
def translated(root: Path) -> Iterator[None]:
    """Turn what the system refuses in the block into the error that says what it means for the registry at `root`."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if error.errno == errno.ENOTDIR and root.is_file():
            raise AddressError(f"a registry's folder is wanted, this is a file: {root}") from error
        raise MissingError(f"the registry's folder changed under our hands: {error.filename}") from error
    except FileExistsError as error:
        raise AddressError(f"a registry's folder is wanted, this is a file: {root}") from error
    except PermissionError as error:
        raise AccessError(f"not allowed to do this in the registry's folder: {error.filename}") from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise AccessError(f"not allowed to write in the registry's folder: {root}") from error
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise MachineError(f"no space left in the registry's folder; free some and run again: {root}") from error
        if error.errno == errno.ELOOP:
            raise ChecksumError(f"the registry holds a symbolic link instead of a file: {error.filename}") from error
        raise MachineError(f"the registry's folder can't be used ({error.strerror}): {root}") from error
