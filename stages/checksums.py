"""Tell a file by its bytes, and compare it with the size and checksum that were promised for it.

Reads the file; leaves nothing.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from stages.errors import ChecksumError

_FORMS = re.compile(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}|md5-of-first-mib:[0-9a-f]{32}")
_MIB = 1 << 20


def check_bytes(path: Path, *, checksum: str | None, size_bytes: int | None, name: str) -> None:
    """Raise ChecksumError, with what was found, for a file of another size or checksum; None stands for any."""
    found_bytes = path.stat().st_size
    if size_bytes is not None and found_bytes != size_bytes:
        raise ChecksumError(wrong_size(found_bytes, size_bytes, name))
    if checksum is None:
        return
    kind = checksum.partition(":")[0]
    found = f"{kind}:{_digest(path, kind)}"
    if found != checksum:
        raise ChecksumError(f"wrong checksum, {found} instead of {checksum}; get the file again or correct it: {name}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_size(found_bytes: int | None, size_bytes: int, name: str) -> str:
    """Return the message for a file of the wrong size, found before or after it came."""
    return (
        f"wrong size, {found_bytes} bytes instead of {size_bytes}; get the file again or correct the number; "
        "size_bytes and checksum belong to the source that params.yaml names, set both to null for a file of your own: "
        f"{name}"
    )


def _checked_form(checksum: str) -> str:
    if not _FORMS.fullmatch(checksum):
        raise ValueError("must be sha256:<64 hex digits>, md5:<32> or md5-of-first-mib:<32>, in small letters, or null")
    return checksum


Checksum = Annotated[str, AfterValidator(_checked_form)]


def _digest(path: Path, kind: str) -> str:
    if kind == "sha256":
        return sha256_of(path)
    with path.open("rb") as file:
        if kind == "md5-of-first-mib":
            return hashlib.md5(file.read(_MIB), usedforsecurity=False).hexdigest()
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
