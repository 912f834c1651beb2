"""Write what a stage leaves so that it is there whole or not at all.

Reads nothing; leaves a folder or a file under its final name only once it is complete. A file's bytes are flushed to
the disk before; those of a folder's files the system writes when it will, as it does DVC's own: what a power cut has
cut of them, `dvc status` calls modified.
"""

import csv
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stages.errors import ResourceError, StageError
from stages.interrupts import held_back
from stages.locks import held

# Less than a page is left of a disk on which something could not be written.
_SMALLEST_FREE_BYTES = 4096
_DAY_SECONDS = 86_400


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `final` when the block ends without an error.

    A failed or interrupted block leaves `final` as it was and removes the new folder; after a kill -9 a folder
    `.<name>.*.partial` stays beside `final` until the next run removes it, or brings it back as `final`; where the disk
    can't tell whether another run still writes it, until it is a day old. Raises ResourceError while another run writes
    the same folder, and when the disk is full.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    before = _before(final)
    leftovers = set(final.parent.glob(f".{final.name}.*.partial")) - {before}
    for leftover in leftovers:
        with held(leftover) as ours:
            if ours is False:
                raise ResourceError(f"another run is writing this folder; wait for it: {final}")
            if ours or _is_old(leftover):
                shutil.rmtree(leftover)
    if before.exists() and not final.exists():
        before.replace(final)
    shutil.rmtree(before, ignore_errors=True)
    folder = final.with_name(f".{final.name}.{secrets.token_hex(8)}.partial")
    folder.mkdir()  # with the rights that the user's umask and the folder around it give
    try:
        with held(folder):
            yield folder
            _replace_folder(folder, final)
    except BaseException as error:
        full = _is_full_disk(error, folder)
        shutil.rmtree(folder, ignore_errors=True)
        if full:
            raise _full_disk(final) from error
        raise


@contextmanager
def new_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `final` and rename it to `final` when the block ends without an error.

    What killed runs have left of it is removed after a day. Raises ResourceError when the disk is full.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for leftover in final.parent.glob(f".{final.name}.*.partial"):
        with suppress(FileNotFoundError):
            if _is_old(leftover):
                leftover.unlink()
    temporary = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some libraries leave their files to the owner alone
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(final)
    except BaseException as error:
        full = _is_full_disk(error, final.parent)
        temporary.unlink(missing_ok=True)
        if full:
            raise _full_disk(final) from error
        raise


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON that a person can read and `diff` can compare: indented, in the given order, UTF-8, no NaN."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with a header and `\\n` line ends."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header that a stage left, however much one cell holds."""
    csv.field_size_limit(2**31 - 1)  # one picture under many names makes a long cell
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be read by being set
    os.umask(mask)
    return mask


def _is_old(leftover: Path) -> bool:
    return leftover.stat().st_mtime < time.time() - _DAY_SECONDS


def _is_full_disk(error: BaseException, place: Path) -> bool:
    """Say whether the error means that the disk of `place` is full, and not another one."""
    if not isinstance(error, Exception) or isinstance(error, StageError):
        return False
    full = shutil.disk_usage(place).free < _SMALLEST_FREE_BYTES
    if isinstance(error, OSError):
        named = error.filename2 or error.filename
        here = full if named is None else Path(os.fsdecode(named)).is_relative_to(place)
        return error.errno in {errno.ENOSPC, errno.EDQUOT} and here
    # safetensors raises an error of its own, and torch one that says nothing of a disk.
    return full or os.strerror(errno.ENOSPC) in str(error)


def _full_disk(final: Path) -> ResourceError:
    return ResourceError(f"no space left; free some and run again: {final}")


def _replace_folder(folder: Path, final: Path) -> None:
    if final.is_symlink() or final.is_file():
        final.unlink()
    elif final.exists():
        before = _before(final)
        try:
            with held_back():
                final.replace(before)
                folder.replace(final)
        finally:
            if final.exists():
                shutil.rmtree(before, ignore_errors=True)
            else:
                before.replace(final)
        return
    folder.replace(final)


def _before(final: Path) -> Path:
    """Return where the last output is while the new one takes its place."""
    return final.with_name(f".{final.name}.before.partial")
