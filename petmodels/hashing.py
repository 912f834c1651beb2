"""SHA-256 of files: in pieces, never a whole file in memory."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISREG

from petmodels.errors import ChecksumError
from petmodels.parallel import at_once, begun

PIECE_BYTES = 2**20
# A file above SINGLE_BYTES is stored in parts, of which S3 takes no more than 10,000.
SINGLE_BYTES, PART_BYTES = 16 * 2**20, 8 * 2**20
_MOST_PARTS = 9_000


@dataclass(frozen=True)
class Digest:
    """The SHA-256 of a file in lower-case hexadecimal, and those of its parts, in order, when it has several."""

    sha256: str
    parts: tuple[bytes, ...] = ()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_bytes(path: Path, sha256: str, size_bytes: int) -> bool:
    """Say whether this is a plain file with just these bytes: it is read and hashed. Raises OSError's kinds."""
    found = path.stat()
    return S_ISREG(found.st_mode) and found.st_size == size_bytes and sha256_of(path) == sha256


def sha256_of_all(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, in order; hashing releases Python's lock, so that all cores help."""
    return at_once(sha256_of, paths)


def digests_of(paths: Iterable[Path]) -> list[Digest]:
    """Return the digest of each file, in order. A byte is read once, so that whole and parts are of the same bytes."""
    return at_once(_digest, paths)


def digest_of(path: Path, sha256: str = "") -> Digest:
    """Return the digest of a file; raise ChecksumError when it isn't the one that was named, if any."""
    (found,) = digests_of([path])
    if sha256 and found.sha256 != sha256:
        raise ChecksumError(f"the file changed since it was checked; run it again: {path}")
    return found


def part_bytes(size_bytes: int) -> int:
    """Return the size of each part of a file of this size, but for the last."""
    return max(PART_BYTES, -(-size_bytes // _MOST_PARTS))


def composite(parts: Sequence[bytes]) -> str:
    """Return what S3 calls the SHA-256 of an object that came in these parts."""
    return f"{base64.b64encode(hashlib.sha256(b''.join(parts)).digest()).decode()}-{len(parts)}"


def no_progress(_num_bytes: int) -> None:
    """Tell nobody how many more bytes were moved."""


def _digest(path: Path) -> Digest:
    size = path.stat().st_size
    if size <= SINGLE_BYTES:
        return Digest(sha256_of(path))
    whole, parts = hashlib.sha256(), []
    with path.open("rb") as file:
        while body := file.read(part_bytes(size)):
            part = begun(partial(hashlib.sha256, body))
            whole.update(body)
            parts.append(part.result().digest())
    return Digest(whole.hexdigest(), tuple(parts))


Progress = Callable[[int], None]
