"""Files from S3: over one connection, or over several where a slow network would keep one waiting."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from functools import partial
from threading import BoundedSemaphore, Event
from time import monotonic
from typing import TYPE_CHECKING

from petmodels.hashing import PIECE_BYTES
from petmodels.parallel import begun
from petmodels.patience import tries
from petmodels.s3_errors import BrokenOffError, reading
from petmodels.storage import NotStoredError

if TYPE_CHECKING:
    from petmodels.s3 import S3Storage

RANGE_BYTES = 8 * 2**20
PATIENCE_SECONDS = 1.0
_THREADS = 4
_AHEAD = BoundedSemaphore(8)
# A connection that brings less than this before it breaks is not getting anywhere.
_HEADWAY_BYTES = 64 * 2**10
_TOLD_SECONDS = 0.2


def download(storage: "S3Storage", key: str, start: int, length: int) -> Iterator[bytes]:
    """Yield bytes `start` to `start + length` of an object, in order; goes on where a connection broke.

    An empty piece says that bytes have come which are not next in order. Gives up after as many breaks without headway
    as there are tries. One connection costs both ends the least, and is enough for a store nearby; what it would still
    need a second or more for is shared among several.
    """
    if length == 0 and storage.find(key) is None:
        raise NotStoredError(key)
    begin, end, began = start, start + length, monotonic()
    with closing(_stream(storage, key, start, end)) as pieces:
        for piece in pieces:
            start += len(piece)
            yield piece
            if _takes_long(end - start, start - begin, monotonic() - began):
                break
        else:
            return
    yield from _ranges(storage, key, start, end)


def _takes_long(left_bytes: int, num_bytes: int, seconds: float) -> bool:
    is_known = seconds >= PATIENCE_SECONDS / 2
    return left_bytes > RANGE_BYTES and is_known and left_bytes * seconds > num_bytes * PATIENCE_SECONDS


def _ranges(storage: "S3Storage", key: str, start: int, end: int) -> Iterator[bytes]:
    """Yield what several connections bring, in order; all downloads together hold a few ranges in memory."""
    coming: deque[Future[list[bytes]]] = deque()
    came, ended = Event(), Event()
    try:
        while start < end or coming:
            while start < end and len(coming) < _THREADS and _AHEAD.acquire(blocking=False):
                coming.append(begun(partial(_listed, storage, key, start, min(start + RANGE_BYTES, end), came, ended)))
                start += RANGE_BYTES
            if coming:
                yield from _told(coming[0], came)
                yield from coming[0].result()
                coming.popleft()
                _AHEAD.release()
            else:
                yield from _stream(storage, key, start, min(start + RANGE_BYTES, end))
                start += RANGE_BYTES
    finally:
        ended.set()
        for _ in coming:
            _AHEAD.release()


def _told(coming: "Future[list[bytes]]", came: Event) -> Iterator[bytes]:
    """Yield an empty piece now and then until a range is there, while any connection brings something."""
    while not wait([coming], timeout=_TOLD_SECONDS).done:
        if came.is_set():
            came.clear()
            yield b""


def _listed(storage: "S3Storage", key: str, start: int, end: int, came: Event, ended: Event) -> list[bytes]:
    found = []
    with closing(_stream(storage, key, start, end)) as pieces:
        for piece in pieces:
            if ended.is_set():
                break
            came.set()
            found.append(piece)
    return found


def _stream(storage: "S3Storage", key: str, start: int, end: int) -> Generator[bytes]:
    failures, broke_at, most = 0, start, tries()
    while start < end:
        try:
            for piece in _range(storage, key, start, end):
                start += len(piece)
                yield piece
            return
        except BrokenOffError:
            failures = 1 if start - broke_at >= _HEADWAY_BYTES else failures + 1
            broke_at = start
            if failures >= most:
                raise


def _range(storage: "S3Storage", key: str, start: int, end: int) -> Iterator[bytes]:
    with storage.asking(f"read {key}") as client:
        try:
            name = storage.prefix + key
            answer = client.get_object(Bucket=storage.bucket, Key=name, Range=f"bytes={start}-{end - 1}")
        except client.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                return
            raise
    num_bytes, began = _HEADWAY_BYTES, monotonic()
    with reading(storage.address), closing(answer["Body"]) as body:
        while start < end and (piece := body.read(min(num_bytes, end - start))):
            start += len(piece)
            if monotonic() - began < _TOLD_SECONDS:  # a piece comes whole: over a slow line a large one takes long
                num_bytes = min(2 * num_bytes, PIECE_BYTES)
            yield piece
            began = monotonic()
