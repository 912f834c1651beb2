"""SHA-256 of files: in pieces, never a whole file in memory."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE_BYTES = 2**20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, in order; hashing releases Python's lock, so that all cores help."""
    with ThreadPoolExecutor(thread_name_prefix="hash") as pool:
        return list(pool.map(sha256_of, paths))


def no_progress(_num_bytes: int) -> None:
    """Tell nobody how many more bytes were moved."""


Progress = Callable[[int], None]
