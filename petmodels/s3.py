"""A registry in an S3 bucket, or in anything that speaks S3 and keeps to its conditions.

The requests themselves; who makes them is in `petmodels.s3_client`, large files in `petmodels.s3_upload` and
`petmodels.s3_download`, what depends on an ETag in `petmodels.s3_conditions`.
"""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petmodels.errors import AccessError
from petmodels.hashing import Digest, Progress
from petmodels.parallel import process_lock
from petmodels.patience import tries
from petmodels.s3_answers import bounded
from petmodels.s3_errors import (
    BrokenOffError,
    ChangedError,
    UnchangedError,
    check_answer,
    no_s3,
    reading,
    translated,
)
from petmodels.s3_refusals import archived_as
from petmodels.storage import NotStoredError, Stored, Unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PAGE = 1000


class S3Storage:
    """The objects of a registry below a prefix of a bucket; see `petmodels.storage.Storage`."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self.compares_bare = False  # whether If-Match wants an ETag without its quotes, as far as is known
        self._made: tuple[int, S3Client] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": None}

    @property
    def client(self) -> "S3Client":
        """The client; made at the first request, because importing and building it takes a good part of a second.

        It is made anew in a process that was forked since, which would read its parent's answers.
        """
        from petmodels.s3_client import s3_client

        process = os.getpid()
        with process_lock():
            if self._made is None or self._made[0] != process:
                self._made = process, s3_client(self.address)
            return self._made[1]

    @contextmanager
    def asking(self, doing: str) -> Iterator["S3Client"]:
        """Give the client, and turn what it raises into petmodels' errors; `doing` completes "not allowed to …".

        After a refusal the next one is made anew, because somebody may renew the credentials.
        """
        client = self.client
        try:
            with translated(self.address, doing):
                yield client
        except AccessError:
            made = self._made
            if made and made[1] is client:
                self._made = None
            raise

    def read(self, key: str, limit: int) -> tuple[bytes, str]:
        """Return an object's bytes and its ETag; reads `limit` + 1 bytes at the most."""
        return self._read(key, limit)

    def read_changed(self, key: str, limit: int, etag: str) -> tuple[bytes, str] | None:
        """Get an object with If-None-Match; a store that doesn't know that answers with all of it."""
        try:
            return self._read(key, limit, IfNoneMatch=etag)
        except UnchangedError:
            return None

    def find(self, key: str) -> Stored | None:
        """Return an object's size, time, ETag and, when the store kept it, its SHA-256 in base64."""
        try:
            with self.asking(f"read {key}") as client:
                answer = client.head_object(Bucket=self.bucket, Key=self.prefix + key, ChecksumMode="ENABLED")
                check_answer(answer, "ETag", self.address, f"read {key}")
                size, sha256 = answer["ContentLength"], answer.get("ChecksumSHA256", "")
                return Stored(key, size, answer["LastModified"], answer["ETag"], sha256, archived_as(answer))
        except NotStoredError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        """Put an object with If-None-Match: *."""
        try:
            self.put_if(key, data, {"IfNoneMatch": "*"})
        except NotStoredError:
            return False
        except ChangedError:
            # A repeated request whose first answer got lost meets its own object: that is a success, not a conflict.
            return self._holds(key, data)
        return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Put an object with If-Match, in the form that the store compares."""
        from petmodels.s3_conditions import replace

        return replace(self, key, data, etag)

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Put the object's own bytes again under both conditions, which must both fail."""
        from petmodels.s3_conditions import keeps_conditions

        return keeps_conditions(self, key, data)

    def put_if(self, key: str, data: bytes, condition: dict[str, str]) -> None:
        """Put an object under a condition; ChangedError when it doesn't hold, also of a request's own repetition."""
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        extra: Any = {"ContentType": "application/json", "ChecksumSHA256": checksum, **condition}
        with self.asking(f"write {key}") as client:
            answer = client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, **extra)
            check_answer(answer, "ETag", self.address, f"write {key}")

    def upload(self, key: str, path: Path, digest: Digest, progress: Progress) -> bool:
        """Put a file, in parts when it is large; the store checks the SHA-256 of what arrives."""
        from petmodels.s3_upload import upload

        return upload(self, key, path, digest, progress)

    def download(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yield a range of an object's bytes; a broken connection is taken up again where it broke."""
        from petmodels.s3_download import download

        return download(self, key, start, length)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[Stored]:
        """Yield the objects below `prefix`; a request for every thousand."""
        for page in self._pages(prefix, "", limit):
            for found in page.get("Contents", []):
                key = found["Key"].removeprefix(self.prefix)
                yield Stored(key, found["Size"], found["LastModified"], found["ETag"])

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the common prefixes right below `prefix`."""
        for page in self._pages(prefix, "/", None):
            for found in page.get("CommonPrefixes", []):
                yield found["Prefix"].removeprefix(self.prefix + prefix).rstrip("/")

    def delete(self, key: str) -> None:
        """Delete an object."""
        with self.asking(f"delete {key}") as client:
            client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the multipart uploads that were neither completed nor aborted."""
        from petmodels.s3_upload import unfinished

        return unfinished(self, prefix)

    def discard(self, upload: Unfinished) -> None:
        """Abort a multipart upload."""
        from petmodels.s3_upload import discard

        discard(self, upload)

    def _read(self, key: str, limit: int, **condition: Any) -> tuple[bytes, str]:
        for _ in range(tries() - 1):
            try:
                return self._read_once(key, limit, condition)
            except BrokenOffError:
                continue
        return self._read_once(key, limit, condition)

    def _read_once(self, key: str, limit: int, condition: dict[str, Any]) -> tuple[bytes, str]:
        with self.asking(f"read {key}") as client:
            answer = client.get_object(Bucket=self.bucket, Key=self.prefix + key, **condition)
            with reading(self.address), closing(answer["Body"]) as body:
                check_answer(answer, "ETag", self.address, f"read {key}")
                promised, etag = min(limit + 1, answer["ContentLength"]), answer["ETag"]
                data = body.read(promised)
        # botocore says nothing of a connection that ends early but in order, so the length must be looked at here.
        if len(data) < promised:
            raise BrokenOffError(f"{self.address} broke off in the middle (too few bytes); try again later")
        return data, etag

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.read(key, len(data))[0] == data
        except NotStoredError:
            return False

    def _pages(self, prefix: str, delimiter: str, limit: int | None) -> Iterator[Any]:
        with self.asking("list the registry") as client:
            listing: Any = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, "Delimiter": delimiter}
            pages = client.get_paginator("list_objects_v2")
            paging: Any = {"PageSize": min(limit or _PAGE, _PAGE), "MaxItems": limit}
            for page in bounded(pages.paginate(**listing, PaginationConfig=paging)):
                if "Name" not in page or page.get("Prefix", listing["Prefix"]) != listing["Prefix"]:
                    raise no_s3("a listing of something else", self.address, "list the registry")
                yield page
