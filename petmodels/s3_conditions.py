"""Writes to S3 that a store must refuse unless the object is the one that was read, and must take when it is.

RFC 9110 has an ETag in quotes in If-Match, and S3 compares it so. Ceph's gateway (radosgw 16.2) compares a PUT's with
the bare characters, and refuses each quoted one. Which form a store takes is remembered by the storage's object.
"""

import time
from typing import TYPE_CHECKING

from petmodels.errors import UnsupportedStoreError
from petmodels.s3_errors import BUSY_WITH_ANOTHER, ChangedError
from petmodels.storage import NotStoredError

if TYPE_CHECKING:
    from petmodels.s3 import S3Storage

# A copy of the object that lags behind may show an ETag that it doesn't have any more.
_PAUSES_SECONDS = (0.0, 0.1, 0.5)
_NO_ETAG = '"00000000000000000000000000000000"'
_GONE = (b"", "")
_MOST_OTHERS = 100


def replace(storage: "S3Storage", key: str, data: bytes, etag: str) -> bool:
    """Put an object with If-Match; False when it carries another ETag by now, or others are at it.

    Raises UnsupportedStoreError when the store goes on refusing although the object still carries this ETag.
    """
    found = _put_over(storage, key, data, etag)
    # A repeated request whose first answer got lost meets its own object: that is a success, not a conflict.
    return found is None or found[0] == data


def keeps_conditions(storage: "S3Storage", key: str, data: bytes, etag: str) -> bool:
    """Put an object's own bytes again: under conditions that must fail, and under one that must hold.

    False when the store takes one of the former, UnsupportedStoreError when it refuses the latter.
    """
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": _NO_ETAG}):
        if _takes(storage, key, data, condition):
            return False
    for _ in range(_MOST_OTHERS):
        found = _put_over(storage, key, data, etag)
        if found is None or not found[1]:
            break
        etag = found[1]  # where an ETag isn't made of the bytes alone, another writer's check has changed it
    return True  # or that many others' own bytes were taken meanwhile


def _put_over(storage: "S3Storage", key: str, data: bytes, etag: str) -> tuple[bytes, str] | None:
    """Put an object over the one with this ETag; return None when it was taken, else the bytes and ETag that are there.

    Whatever the form, the store compares and writes in one step: it is given the ETag that the writer has read, and no
    other, so that a second try can win no race that the first would have lost.
    """
    for pause_seconds in _PAUSES_SECONDS:
        time.sleep(pause_seconds)
        for is_bare in (False, True) if storage.compares_bare is None else (storage.compares_bare,):
            if is_bare and storage.compares_bare is None:
                _refuse_ignoring(storage, key, data)
            try:
                storage.put_if(key, data, {"IfMatch": _bare(etag) if is_bare else etag})
            except NotStoredError:
                return _GONE
            except ChangedError as error:
                found = _there(storage, key, len(data))
                if found[1] != etag or error.args[0] == BUSY_WITH_ANOTHER:
                    return found
            else:
                storage.compares_bare = is_bare
                return None
    text = "this store refuses to replace what nobody has changed (If-Match), so no alias could move; use another one"
    raise UnsupportedStoreError(f"{text}: {storage.address}")


def _refuse_ignoring(storage: "S3Storage", key: str, data: bytes) -> None:
    """Raise unless the store refuses a wrong bare ETag: one that ignores what it can't read would take each."""
    if _takes(storage, key, data, {"IfMatch": _bare(_NO_ETAG)}):
        text = "this store ignores an If-Match without quotes and refuses the right one in quotes; use another one"
        raise UnsupportedStoreError(f"{text}: {storage.address}")


def _takes(storage: "S3Storage", key: str, data: bytes, condition: dict[str, str]) -> bool:
    try:
        storage.put_if(key, data, condition)
    except (ChangedError, NotStoredError):
        return False
    return True


def _there(storage: "S3Storage", key: str, limit: int) -> tuple[bytes, str]:
    try:
        return storage.read(key, limit)
    except NotStoredError:
        return _GONE


def _bare(etag: str) -> str:
    return etag.strip('"')
