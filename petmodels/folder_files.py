"""Files that are whole or absent: each is written beside its place, flushed, and renamed.

Until then it is called `.<name>.<random>.partial`; a killed writer leaves such a partial file and no more.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def write_whole(path: Path, fill: Callable[[Path], object]) -> None:
    """Put a file at `path`, over what is there, once `fill` has written all of it where it is told to.

    When that fails nothing is left; missing folders are made. It is for folders in which nobody else writes: links on
    the way are followed.
    """
    temporary = temporary_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fill(temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def partial_files(files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield the partial ones among some files, in order, each with the path that it would have got."""
    for path in sorted(files):
        if path.name.startswith(".") and path.suffix == ".partial":
            yield path, path.with_name(path.name[1:].rsplit(".", 2)[0])


def temporary_of(path: Path) -> Path:
    """Return the name that a file has until it is whole."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
