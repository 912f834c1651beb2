"""Files to and from S3: in parts, several at a time, each part with its SHA-256 for the store to check."""

import base64
import hashlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import BoundedSemaphore
from time import monotonic
from typing import TYPE_CHECKING, Any

from petmodels.errors import ChecksumError, StoreError
from petmodels.hashing import PIECE_BYTES, Progress
from petmodels.s3_errors import BrokenOffError, ChangedError, reading, translated
from petmodels.storage import NotStoredError, Unfinished

if TYPE_CHECKING:
    from petmodels.s3 import S3Storage

SINGLE_BYTES = 16 * 2**20
_PART_BYTES = 8 * 2**20
_MOST_PARTS = 9_000
_THREADS = 4
_AHEAD = BoundedSemaphore(8)
RANGE_BYTES = 8 * 2**20
PATIENCE_SECONDS = 1.0
_TRIES = 5
# A connection that brings less than this before it breaks is not getting anywhere.
_HEADWAY_BYTES = 64 * 2**10


def upload(storage: "S3Storage", key: str, path: Path, sha256: str, progress: Progress) -> bool:
    """Put a file under `key`, False when there is one; raise ChecksumError when its bytes have another SHA-256."""
    size = path.stat().st_size
    if size <= SINGLE_BYTES:
        is_new = _put(storage, key, path, sha256)
        progress(size if is_new else 0)
        return is_new
    names: Any = {"Bucket": storage.bucket, "Key": storage.prefix + key}
    with translated(storage.address, f"write {key}"):
        begun = storage.client.create_multipart_upload(**names, ChecksumAlgorithm="SHA256")
    names["UploadId"] = begun["UploadId"]
    try:
        parts = _upload_parts(storage, names, path, sha256, progress)
        return _complete(storage, key, names, parts, size)
    except BaseException:
        _give_up(storage, key, begun["UploadId"])
        raise


def download(storage: "S3Storage", key: str, start: int, length: int) -> Iterator[bytes]:
    """Yield bytes `start` to `start + length` of an object, in order; goes on where a connection broke.

    Gives up after five breaks without headway between them. One connection costs both ends the least, and is enough for
    a store nearby; what it would still need a second or more for is shared among several.
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
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="download")
    try:
        while start < end or coming:
            while start < end and len(coming) < _THREADS and _AHEAD.acquire(blocking=False):
                coming.append(pool.submit(_listed, storage, key, start, min(start + RANGE_BYTES, end)))
                start += RANGE_BYTES
            if coming:
                yield from coming[0].result()
                coming.popleft()
                _AHEAD.release()
            else:
                yield from _stream(storage, key, start, min(start + RANGE_BYTES, end))
                start += RANGE_BYTES
    finally:
        pool.shutdown(cancel_futures=True)
        for _ in coming:
            _AHEAD.release()


def _listed(storage: "S3Storage", key: str, start: int, end: int) -> list[bytes]:
    return list(_stream(storage, key, start, end))


def _stream(storage: "S3Storage", key: str, start: int, end: int) -> Generator[bytes]:
    failures, broke_at = 0, start
    while start < end:
        try:
            for piece in _range(storage, key, start, end):
                start += len(piece)
                yield piece
            return
        except BrokenOffError:
            failures = 1 if start - broke_at >= _HEADWAY_BYTES else failures + 1
            broke_at = start
            if failures == _TRIES:
                raise


def _range(storage: "S3Storage", key: str, start: int, end: int) -> Iterator[bytes]:
    with translated(storage.address, f"read {key}"):
        try:
            name = storage.prefix + key
            answer = storage.client.get_object(Bucket=storage.bucket, Key=name, Range=f"bytes={start}-{end - 1}")
        except storage.client.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                return
            raise
    with reading(storage.address), closing(answer["Body"]) as body:
        while start < end and (piece := body.read(min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece


def _put(storage: "S3Storage", key: str, path: Path, sha256: str) -> bool:
    checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
    try:
        with translated(storage.address, f"write {key}"), path.open("rb") as file:
            storage.client.put_object(
                Bucket=storage.bucket, Key=storage.prefix + key, Body=file, ChecksumSHA256=checksum, IfNoneMatch="*"
            )
    except ChangedError:
        return False
    except ChecksumError as error:
        raise ChecksumError(f"the file changed while it was published; publish again: {path}") from error
    return True


def _upload_parts(storage: "S3Storage", names: Any, path: Path, sha256: str, progress: Progress) -> list[Any]:
    whole, parts, running = hashlib.sha256(), list[Future[Any]](), set[Future[Any]]()
    part_bytes = max(_PART_BYTES, -(-path.stat().st_size // _MOST_PARTS))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="upload") as pool, path.open("rb") as file:
        while body := file.read(part_bytes):
            whole.update(body)
            part = pool.submit(_upload_part, storage, names, len(parts) + 1, body, progress)
            parts.append(part)
            running.add(part)
            if len(running) > _THREADS:  # holds a few parts in memory, never the whole file
                next(iter(running)).result()
                running = {one for one in running if not one.done()}
        sent = [part.result() for part in parts]
    if whole.hexdigest() != sha256:
        raise ChecksumError(f"the file changed while it was published; publish again: {path}")
    return sent


def _upload_part(storage: "S3Storage", names: Any, number: int, body: bytes, progress: Progress) -> Any:
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    with translated(storage.address, f"write {names['Key']}"):
        answer = storage.client.upload_part(**names, PartNumber=number, Body=body, ChecksumSHA256=checksum)
    progress(len(body))
    return {"ETag": answer["ETag"], "PartNumber": number, "ChecksumSHA256": checksum}


def _complete(storage: "S3Storage", key: str, names: Any, parts: list[Any], size: int) -> bool:
    try:
        with translated(storage.address, f"write {key}"):
            storage.client.complete_multipart_upload(**names, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except ChangedError:
        _give_up(storage, key, names["UploadId"])
        return False
    except StoreError:
        # A repeated completion whose first answer got lost finds the upload gone and the object there.
        found = storage.find(key)
        if found is None or found.size_bytes != size:
            raise
    return True


def _give_up(storage: "S3Storage", key: str, upload_id: str) -> None:
    from datetime import UTC, datetime

    try:
        storage.discard(Unfinished(key, upload_id, datetime.now(UTC)))
    except StoreError:
        return  # what can't be given up now is found and freed by prune
