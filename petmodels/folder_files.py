"""The names of files that are whole or absent: each is written beside its place, flushed, and renamed.

Until then it is called `.<name>.<random>.partial`; a killed writer leaves such a partial file and no more.
"""

import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path


def partial_files(files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield the partial ones among some files, in order, each with the path that it would have got."""
    for path in sorted(files):
        if path.name.startswith(".") and path.suffix == ".partial":
            yield path, path.with_name(path.name[1:].rsplit(".", 2)[0])


def temporary_of(path: Path) -> Path:
    """Return the name that a file has until it is whole."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
