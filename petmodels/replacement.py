"""Put a folder in the place of another one, whole or not at all.

Reads what is there; leaves the new folder, and nothing beside it, not even of a process that was killed.
"""

import ctypes
import errno
import glob
import hashlib
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from petmodels.errors import RequestError

_DAY_SECONDS = 86_400
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def replacement(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, which takes its place unless an exception leaves the block.

    On Linux what is there is whole at any moment, elsewhere it is gone for an instant. Of several processes that do so
    at once the last one wins, whole. Raises RequestError for a mount point, and OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{_here()}-{secrets.token_hex(4)}.partial")
    try:
        temporary.mkdir()
        yield temporary
        _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_mount_point(target: Path) -> None:
    """Raise RequestError for a folder that can't be replaced, because something is mounted on it."""
    if target.is_mount():
        raise _mounted(target)


def _remove_leftovers(target: Path) -> None:
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        process, _, rest = leftover.name.removeprefix(f".{target.name}.").partition("-")
        is_ours = rest.startswith(_here()) and process.isdigit()
        try:
            is_dead = not _lives(int(process)) if is_ours else leftover.stat().st_mtime < time.time() - _DAY_SECONDS
        except FileNotFoundError:
            continue
        if is_dead:
            shutil.rmtree(leftover, ignore_errors=True)


def _here() -> str:
    """Return what tells this machine's processes, or this container's, from those that write to the same disk."""
    try:
        numbers = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        numbers = 0
    return hashlib.sha256(f"{platform.node()} {numbers}".encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _swap(temporary: Path, target: Path) -> None:
    """Put `temporary` in the place of `target`; what was there is in the place of `temporary` then, or gone."""
    old = temporary.with_name(f"{temporary.name.removesuffix('.partial')}-old.partial")
    for _ in range(100):  # others may pull into the same folder at the same time; the last one wins, whole
        try:
            temporary.replace(target)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _mounted(target) from error
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.EXDEV}:
                raise
            if _exchanged(temporary, target):
                return
            if not _moved_away(target, old):
                continue  # another process has just moved it out of its own way
            try:
                temporary.replace(target)
            except OSError:
                continue
            finally:
                shutil.rmtree(old, ignore_errors=True)
            return
        else:
            return
    raise RequestError(f"other processes keep replacing this folder; choose another one: {target}")


def _moved_away(target: Path, old: Path) -> bool:
    try:
        target.replace(old)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(target)  # it came with a container's image, and overlayfs renames no such folder
    return True


def _mounted(target: Path) -> RequestError:
    return RequestError(
        f"a pull puts another folder in its place, and this is a mount point; pull into a folder in it: "
        f"{target / 'model'}"
    )


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, where the system can: Linux, but for some file systems."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
