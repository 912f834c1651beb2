"""Files to S3: in one request, or in parts, several at a time; the store checks the SHA-256 of each part."""

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petmodels.errors import ChecksumError, ConflictError, StoreError
from petmodels.hashing import Progress
from petmodels.s3_errors import ChangedError, translated
from petmodels.storage import NotStoredError, Unfinished

if TYPE_CHECKING:
    from petmodels.s3 import S3Storage

SINGLE_BYTES = 16 * 2**20
PART_BYTES = 8 * 2**20
_MOST_PARTS = 9_000
_THREADS = 4


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


def unfinished(storage: "S3Storage", prefix: str) -> Iterator[Unfinished]:
    """Yield the multipart uploads below `prefix` that were neither completed nor aborted."""
    with translated(storage.address, "list unfinished uploads"):
        pages = storage.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=storage.bucket, Prefix=storage.prefix + prefix):
            for one in page.get("Uploads", []):
                yield Unfinished(one["Key"].removeprefix(storage.prefix), one["UploadId"], one["Initiated"])


def discard(storage: "S3Storage", upload: Unfinished) -> None:
    """Abort a multipart upload; one that is gone already is no error."""
    _abort(storage, upload.key, upload.id)


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
    part_bytes = max(PART_BYTES, -(-path.stat().st_size // _MOST_PARTS))
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
    try:
        _abort(storage, key, upload_id)
    except StoreError:
        return  # what can't be given up now is found and freed by prune


def _abort(storage: "S3Storage", key: str, upload_id: str) -> None:
    try:
        with translated(storage.address, f"abort the upload of {key}"):
            name = storage.prefix + key
            storage.client.abort_multipart_upload(Bucket=storage.bucket, Key=name, UploadId=upload_id)
    except (NotStoredError, ConflictError):
        return
