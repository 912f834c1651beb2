"""What a registry needs of the place that keeps it, and which place an address means.

Two places are known: S3 (`s3://bucket/prefix`) and a folder (`file:///path`, or a path). Both show a written object at
once and whole to everybody, create one only where none is, and replace one only if it is still the one that was read.
"""

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from petmodels.errors import AddressError, ArchivedError, RequestError
from petmodels.hashing import Digest, Progress, composite

REGISTRY = "PETMODELS_REGISTRY"
_FORMS = "s3://bucket/prefix, file:///folder or a folder's path"
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{1,255}")


class NotStoredError(Exception):
    """Nothing is stored under this key; callers say what that means to a person."""


@dataclass(frozen=True)
class Stored:
    """An object that is stored: its key, size, when it was written (by the store's clock), and its change mark.

    `sha256` is in base64 as S3 gives it: "" where the store keeps none, with a `-` where it is that of the parts.
    `archived_as` is the storage class of what can't be read before somebody has it restored, else "".
    """

    key: str
    size_bytes: int
    modified: datetime
    etag: str
    sha256: str = ""
    archived_as: str = ""

    def may_be(self, sha256: str, size_bytes: int) -> bool:
        """Say whether everything the store knows about the object fits this hash and size."""
        known = base64.b64decode(self.sha256).hex() if self.sha256 and "-" not in self.sha256 else sha256
        return self.size_bytes == size_bytes and known == sha256

    def must_be(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether the store knows, without reading the object again, that it has just these bytes."""
        known = {base64.b64encode(bytes.fromhex(digest.sha256)).decode(), composite(digest.parts)}
        return self.size_bytes == size_bytes and self.sha256 in known


@dataclass(frozen=True)
class Unfinished:
    """An upload that was begun and neither completed nor given up."""

    key: str
    id: str
    begun: datetime


class Storage(Protocol):
    """A place for objects named by keys such as `pets/versions/99999992-7.json`."""

    address: str

    def read(self, key: str, limit: int) -> tuple[bytes, str]:
        """Return an object's bytes, at most `limit` + 1 of them, and its change mark; NotStoredError when absent."""
        ...

    def read_changed(self, key: str, limit: int, etag: str) -> tuple[bytes, str] | None:
        """Return what `read` does, None when the object still carries this change mark; a store may not know that."""
        ...

    def find(self, key: str) -> Stored | None:
        """Return what is known about an object without reading it, None when absent."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write an object where none is; False when there is one, which stays as it is."""
        ...

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write over an object that still carries this change mark; False when it doesn't, and it stays as it is.

        Raises UnsupportedStoreError when the store refuses although it does.
        """
        ...

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Say whether the store refuses to create `key`, which exists with these bytes, and to replace it unseen."""
        ...

    def upload(self, key: str, path: Path, digest: Digest, progress: Progress) -> bool:
        """Store a file where none is; whatever its size, it appears whole or not at all, and only with these bytes.

        False when there is an object already, which stays as it is, and may be what an earlier try has left.
        """
        ...

    def download(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes of an object from `start` on, fewer if it is shorter; NotStoredError when absent.

        A piece may be empty: bytes have come, but none that are next.
        """
        ...

    def list(self, prefix: str, limit: int | None = None) -> Iterator[Stored]:
        """Yield the objects whose keys begin with `prefix`, in the order of their keys, at most `limit` of them."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders right below `prefix`, in order."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is absent."""
        ...

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads below `prefix` that were begun and not completed."""
        ...

    def discard(self, upload: Unfinished) -> None:
        """Give up an unfinished upload and free what it holds."""
        ...


def open_storage(address: str | Path | None = None) -> Storage:
    """Return the storage at `address`, or at PETMODELS_REGISTRY when None; nothing is read or written yet."""
    text = os.environ.get(REGISTRY, "") if address is None else str(address)
    if not text and address is None:
        raise AddressError(f"no registry given; set {REGISTRY} or use --registry, for example: s3://my-bucket/models")
    if not text:
        raise AddressError(f"this address of a registry is empty; give one, for example: {_FORMS}")
    if "\0" in text:
        raise AddressError(f"no address holds a NUL: {text!r}")
    scheme, colon, _ = text.partition("://")
    if not colon:
        return _folder(_plain_path(text))
    if scheme == "file":
        return _folder(_file_path(text))
    if scheme == "s3":
        return _s3(text)
    raise AddressError(f"a registry is {_FORMS}: {_without_secret(text)}")


def archived(storage_class: str, address: str, doing: str) -> ArchivedError:
    """Return the error for an object that a rule of the bucket has moved to where nobody can read it at once."""
    kind = f" (storage class {storage_class[:30]})" if storage_class else ""
    way = "restore it (aws s3api restore-object), and take away the rule that moves it"
    return ArchivedError(f"archived{kind}; {way} ({doing}): {address}")


def number_in(name: str, default: float, *, least: float = 0) -> float:
    """Return the number that an environment variable holds; raise RequestError when it holds another or no number."""
    text = os.environ.get(name, "")
    try:
        number = float(text or default)
    except ValueError as error:
        raise RequestError(f"{name} is no number: {text}") from error
    if not least <= number < inf:
        raise RequestError(f"{name} must be a number from {least:g} up: {text}")
    return number


def _folder(path: Path) -> Storage:
    from petmodels.folder import FolderStorage

    return FolderStorage(path)


def _s3(text: str) -> Storage:
    from petmodels.s3 import S3Storage

    parts = _parts(text)
    if not text.isprintable():
        raise AddressError(f"an S3 registry's address is plain text: {_without_secret(text)!a}")
    if not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise AddressError(f"an S3 registry is s3://bucket or s3://bucket/prefix: {_without_secret(text)}")
    if parts.netloc.endswith(("--x-s3", "--xa-s3")):
        raise AddressError(
            f"a directory bucket lists in no order, which finds no newest version: {_without_secret(text)}"
        )
    return S3Storage(parts.netloc, parts.path.strip("/"))


def _plain_path(text: str) -> Path:
    """Return the path; what looks like an address with too few slashes is no folder that anybody meant."""
    if found := re.match(r"(s3|file|https?):", text, re.IGNORECASE):
        raise AddressError(f"after {found[0]} come two slashes, as in {_FORMS}; a folder of this name is ./{text}")
    return Path(text)


def _file_path(text: str) -> Path:
    parts = _parts(text)
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise AddressError(f"a folder on this machine is file:///path, with three slashes: {text}")
    return Path(unquote(parts.path))


def _parts(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise AddressError(f"not an address ({error}): {_without_secret(text)}") from error


def _without_secret(text: str) -> str:
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
