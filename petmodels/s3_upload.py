"""Files to S3: in one request, or in parts, several at a time; what is sent is hashed before, here.

The store is given each part's SHA-256 too, for what changes on the way; not every one that speaks S3 looks at it.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petmodels import hashing
from petmodels.errors import ChecksumError, ConflictError, StoreError
from petmodels.hashing import Digest, Progress, part_bytes
from petmodels.s3_answers import bounded
from petmodels.s3_errors import ChangedError, UploadGoneError, check_answer
from petmodels.storage import NotStoredError, Unfinished
from petmodels.verify import is_whole

if TYPE_CHECKING:
    from petmodels.s3 import S3Storage

_THREADS = 4


def upload(storage: "S3Storage", key: str, path: Path, digest: Digest, progress: Progress) -> bool:
    """Put a file under `key`, False when there is one; raise ChecksumError when its bytes have another digest."""
    with _readable(path):
        size = path.stat().st_size
    if not digest.parts:
        is_new = _put(storage, key, path, digest.sha256)
        progress(size if is_new else 0)
        return is_new
    names: Any = {"Bucket": storage.bucket, "Key": storage.prefix + key}
    with storage.asking(f"write {key}") as client:
        begun = client.create_multipart_upload(**names, ChecksumAlgorithm="SHA256")
        check_answer(begun, "UploadId", storage.address, f"write {key}")
    names["UploadId"] = begun["UploadId"]
    try:
        with _readable(path):
            parts = _upload_parts(storage, names, path, digest.parts, progress)
        return _complete(storage, key, names, parts, digest, size)
    except BaseException:
        _give_up(storage, key, names["UploadId"])
        raise


def unfinished(storage: "S3Storage", prefix: str) -> Iterator[Unfinished]:
    """Yield the multipart uploads below `prefix` that were neither completed nor aborted."""
    with storage.asking("list unfinished uploads") as client:
        pages = client.get_paginator("list_multipart_uploads")
        for page in bounded(pages.paginate(Bucket=storage.bucket, Prefix=storage.prefix + prefix)):
            for one in page.get("Uploads", []):
                yield Unfinished(one["Key"].removeprefix(storage.prefix), one["UploadId"], one["Initiated"])


def discard(storage: "S3Storage", upload: Unfinished) -> None:
    """Abort a multipart upload; one that is gone already is no error."""
    _abort(storage, upload.key, upload.id)


def _put(storage: "S3Storage", key: str, path: Path, sha256: str) -> bool:
    with _readable(path), path.open("rb") as file:
        body = file.read(hashing.SINGLE_BYTES + 1)
    checksum = _checksum(path, body, bytes.fromhex(sha256))
    try:
        with storage.asking(f"write {key}") as client:
            answer = client.put_object(
                Bucket=storage.bucket, Key=storage.prefix + key, Body=body, ChecksumSHA256=checksum, IfNoneMatch="*"
            )
            check_answer(answer, "ETag", storage.address, f"write {key}")
    except ChangedError:
        return False
    return True


def _upload_parts(
    storage: "S3Storage", names: Any, path: Path, wanted: Sequence[bytes], progress: Progress
) -> list[Any]:
    parts, running, step = list[Future[Any]](), set[Future[Any]](), part_bytes(path.stat().st_size)

    def send(number: int, body: bytes) -> Any:
        return _upload_part(storage, names, number, body, _checksum(path, body, wanted[number - 1]), progress)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="upload") as pool, path.open("rb") as file:
        for number in range(1, len(wanted) + 1):
            part = pool.submit(send, number, file.read(step))
            parts.append(part)
            running.add(part)
            if len(running) > _THREADS:  # holds a few parts in memory, never the whole file
                next(iter(running)).result()
                running = {one for one in running if not one.done()}
        if file.read(1):
            raise _changed(path)
        return [part.result() for part in parts]


def _upload_part(storage: "S3Storage", names: Any, number: int, body: bytes, checksum: str, progress: Progress) -> Any:
    with storage.asking(f"write {names['Key']}") as client:
        answer = client.upload_part(**names, PartNumber=number, Body=body, ChecksumSHA256=checksum)
        check_answer(answer, "ETag", storage.address, f"write {names['Key']}")
    progress(len(body))
    return {"ETag": answer["ETag"], "PartNumber": number, "ChecksumSHA256": checksum}


def _checksum(path: Path, body: bytes, wanted: bytes) -> str:
    """Return the SHA-256 of what was read, as S3 wants it; raise ChecksumError when it isn't the one that is wanted."""
    found = hashlib.sha256(body).digest()
    if found != wanted:
        raise _changed(path)
    return base64.b64encode(found).decode()


def _changed(path: Path) -> ChecksumError:
    return ChecksumError(f"the file changed while it was published; publish again: {path}")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # the store's own are translated where it is asked
        raise ChecksumError(f"the file can't be read any more; publish again: {path}") from error


def _complete(storage: "S3Storage", key: str, names: Any, parts: list[Any], digest: Digest, size: int) -> bool:
    try:
        with storage.asking(f"write {key}") as client:
            client.complete_multipart_upload(**names, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except ChangedError:
        _give_up(storage, key, names["UploadId"])
        return False
    except StoreError:
        # A repeated completion whose first answer got lost finds the upload gone and the object there.
        if not is_whole(storage, key, digest, size):
            raise
    return True


def _give_up(storage: "S3Storage", key: str, upload_id: str) -> None:
    try:
        _abort(storage, key, upload_id)
    except StoreError:
        return  # what can't be given up now is found and freed by prune


def _abort(storage: "S3Storage", key: str, upload_id: str) -> None:
    try:
        with storage.asking(f"abort the upload of {key}") as client:
            name = storage.prefix + key
            client.abort_multipart_upload(Bucket=storage.bucket, Key=name, UploadId=upload_id)
    except (NotStoredError, ConflictError, UploadGoneError):
        return
