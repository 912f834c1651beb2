"""A registry in an S3 bucket, or in anything that speaks S3 and keeps to its conditions.

The requests themselves; who makes them is in `petmodels.s3_client`, large files in `petmodels.s3_upload` and
`petmodels.s3_download`.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petmodels.hashing import Digest, Progress
from petmodels.s3_errors import BrokenOffError, ChangedError, reading, translated
from petmodels.storage import NotStoredError, Stored, Unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_TRIES = 5
_PAGE = 1000
_NO_ETAG = '"00000000000000000000000000000000"'


class S3Storage:
    """The objects of a registry below a prefix of a bucket; see `petmodels.storage.Storage`."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")

    @cached_property
    def client(self) -> "S3Client":
        """The client; made at the first request, because importing and building it takes a good part of a second."""
        from petmodels.s3_client import s3_client

        return s3_client(self.address)

    def read(self, key: str, limit: int) -> tuple[bytes, str]:
        """Return an object's bytes and its ETag; reads `limit` + 1 bytes at the most."""
        for _ in range(_TRIES - 1):
            try:
                return self._read_once(key, limit)
            except BrokenOffError:
                continue
        return self._read_once(key, limit)

    def find(self, key: str) -> Stored | None:
        """Return an object's size, time, ETag and, when the store kept it, its SHA-256 in base64."""
        try:
            with translated(self.address, f"read {key}"):
                answer = self.client.head_object(Bucket=self.bucket, Key=self.prefix + key, ChecksumMode="ENABLED")
        except NotStoredError:
            return None
        size, sha256 = answer["ContentLength"], answer.get("ChecksumSHA256", "")
        return Stored(key, size, answer["LastModified"], answer["ETag"], sha256)

    def create(self, key: str, data: bytes) -> bool:
        """Put an object with If-None-Match: *."""
        return self._put(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Put an object with If-Match."""
        return self._put(key, data, IfMatch=etag)

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Put the object's own bytes again under both conditions, which must both fail."""
        for condition in ({"IfNoneMatch": "*"}, {"IfMatch": _NO_ETAG}):
            try:
                self._put_if(key, data, condition)
            except ChangedError:
                continue
            return False
        return True

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
        with translated(self.address, f"delete {key}"):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the multipart uploads that were neither completed nor aborted."""
        from petmodels.s3_upload import unfinished

        return unfinished(self, prefix)

    def discard(self, upload: Unfinished) -> None:
        """Abort a multipart upload."""
        from petmodels.s3_upload import discard

        discard(self, upload)

    def _read_once(self, key: str, limit: int) -> tuple[bytes, str]:
        with translated(self.address, f"read {key}"):
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)
        promised = min(limit + 1, answer["ContentLength"])
        with reading(self.address):
            data = answer["Body"].read(promised)
        # botocore says nothing of a connection that ends early but in order, so the length must be looked at here.
        if len(data) < promised:
            raise BrokenOffError(f"{self.address} broke off in the middle (too few bytes); try again later")
        return data, answer["ETag"]

    def _put(self, key: str, data: bytes, **condition: str) -> bool:
        try:
            self._put_if(key, data, condition)
        except NotStoredError:
            return False
        except ChangedError:
            # A repeated request whose first answer got lost meets its own object: that is a success, not a conflict.
            return self._holds(key, data)
        return True

    def _put_if(self, key: str, data: bytes, condition: dict[str, str]) -> None:
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        extra: Any = {"ContentType": "application/json", "ChecksumSHA256": checksum, **condition}
        with translated(self.address, f"write {key}"):
            self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, **extra)

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.read(key, len(data))[0] == data
        except NotStoredError:
            return False

    def _pages(self, prefix: str, delimiter: str, limit: int | None) -> Iterator[Any]:
        with translated(self.address, "list the registry"):
            listing: Any = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, "Delimiter": delimiter}
            pages = self.client.get_paginator("list_objects_v2")
            paging: Any = {"PageSize": min(limit or _PAGE, _PAGE), "MaxItems": limit}
            yield from pages.paginate(**listing, PaginationConfig=paging)
