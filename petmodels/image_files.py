"""Read the bytes of an image from wherever a caller has them: a path, bytes in memory, or a file that is open.

Leaves nothing. A file that is too large is refused before it is read whole.
"""

import io
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from petmodels.errors import ImageError

LARGEST_FILE_BYTES = 512 * 2**20
_PIECE_BYTES = 1 << 20
_TEXT = 'a file that gives text and no bytes; open it with "rb"'


class Readable(Protocol):
    """A file that was opened for bytes, such as `open(path, "rb")`, io.BytesIO, or an upload."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` of the next bytes, none at the end."""
        ...


def is_readable(image: object) -> bool:
    """Say whether it is a file; such a one is one image, though Python iterates over its lines."""
    return hasattr(image, "read")


def content_of(image: Any, name: str) -> io.BytesIO | None:
    """Return an image's bytes, `name` being what messages call it; None for what has no bytes, such as an array.

    Raises ImageError for what can't be read, is empty, or larger than 512 MiB.
    """
    if isinstance(image, (str, PathLike)):
        return _file(Path(image), name)
    if is_readable(image):
        return _read(image, name)
    if not isinstance(image, (bytes, bytearray, memoryview)):
        return None
    if memoryview(image).nbytes > LARGEST_FILE_BYTES:
        raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused unread: {name}")
    return io.BytesIO(bytes(image))


def _file(path: Path, name: str) -> io.BytesIO:
    try:
        if path.is_dir():
            raise ImageError(f"a folder, not an image: {name}")
        if not path.is_file():
            way = "not a plain file; use - for stdin" if path.exists() else "no such file"
            raise ImageError(f"{way}: {name}")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused unread: {name}")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"can't be read ({error.strerror}): {name}") from error
    if not data:
        raise ImageError(f"the file is empty: {name}")
    return io.BytesIO(data)


def _read(file: Readable, name: str) -> io.BytesIO:
    """Read piece by piece, since a file may give fewer bytes than it is asked for."""
    content, size = io.BytesIO(), 0
    while size <= LARGEST_FILE_BYTES:
        piece = _piece(file, name)
        if isinstance(piece, str):
            raise ImageError(f"{_TEXT}: {name}")
        if not isinstance(piece, bytes):
            raise ImageError(f"a file that gives no bytes: {name}")
        if not piece:
            break
        size += content.write(piece)
    if size == 0:
        raise ImageError(f"the file is empty, or was read to its end before: {name}")
    if size > LARGEST_FILE_BYTES:
        raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused: {name}")
    content.seek(0)
    return content


def _piece(file: Readable, name: str) -> object:
    """Return the file's next bytes; what isn't the system's or Python's own word on a file is its owner's to handle."""
    try:
        return file.read(_PIECE_BYTES)
    except UnicodeDecodeError as error:
        raise ImageError(f"{_TEXT}: {name}") from error
    except (OSError, ValueError) as error:  # ValueError is what Python says of a closed one
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageError(f"can't be read ({reason or str(error) or type(error).__name__}): {name}") from error
