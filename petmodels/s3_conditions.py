"""Writes to S3 that a store must refuse unless the object is the one that was read, and must take when it is.

RFC 9110 has an ETag in quotes in If-Match, and S3 compares it so. Ceph's gateway (radosgw 16.2) compares a PUT's with
the bare characters, and refuses each quoted one. Which form a store takes is remembered by the storage's object, and
asked again whenever it refuses to replace what nobody has changed: gateways that are upgraded one by one differ.
"""

import time
from typing import TYPE_CHECKING

from petmodels.documents import LONGEST_DOCUMENT_BYTES
from petmodels.errors import UnsupportedStoreError
from petmodels.names import ROOT_KEY
from petmodels.s3_errors import BUSY_WITH_ANOTHER, ChangedError
from petmodels.storage import NotStoredError

if TYPE_CHECKING:
    from petmodels.s3 import S3Storage

# A copy of the object that lags behind may show an ETag that it doesn't have any more.
_PAUSES_SECONDS = (0.0, 0.1, 0.5)
_NO_ETAG = "00000000000000000000000000000000"
_GONE = (b"", "")


def replace(storage: "S3Storage", key: str, data: bytes, etag: str) -> bool:
    """Put an object with If-Match; False when it carries another ETag by now, or others are at it.

    The store compares and writes in one step, whatever the form: it is given the ETag that the writer has read, and no
    other, so that a second try can win no race that the first would have lost. Raises UnsupportedStoreError when the
    store goes on refusing although the object still carries this ETag.
    """
    for pause_seconds in _PAUSES_SECONDS:
        time.sleep(pause_seconds)
        try:
            storage.put_if(key, data, {"IfMatch": etag.strip('"') if storage.compares_bare else etag})
        except NotStoredError:
            return False
        except ChangedError as error:
            found = _there(storage, key, len(data))
            if found[1] != etag or error.args[0] == BUSY_WITH_ANOTHER:
                # A repeated request whose first answer got lost meets its own object: a success, not a conflict.
                return found[0] == data
            _ask_form(storage)
        else:
            return True
    text = "this store refuses to replace what nobody has changed (If-Match), so no alias could move; use another one"
    raise UnsupportedStoreError(f"{text}: {storage.address}")


def keeps_conditions(storage: "S3Storage", key: str, data: bytes) -> bool:
    """Put an object's own bytes again under both conditions, which must both fail."""
    conditions = ({"IfNoneMatch": "*"}, {"IfMatch": f'"{_NO_ETAG}"'})
    return not any(_takes(storage, key, data, condition) for condition in conditions)


def _ask_form(storage: "S3Storage") -> None:
    """Try both forms on the registry's own document: its bytes stay the same, so that no answer can harm anybody.

    Raises UnsupportedStoreError when the store ignores a wrong ETag that has no quotes: it would take each.
    """
    data, etag = _there(storage, ROOT_KEY, LONGEST_DOCUMENT_BYTES)
    if not etag:
        return
    if _takes(storage, ROOT_KEY, data, {"IfMatch": etag}):
        storage.compares_bare = False
        return
    if _takes(storage, ROOT_KEY, data, {"IfMatch": _NO_ETAG}):
        text = "this store ignores an If-Match without quotes and refuses the right one in quotes; use another one"
        raise UnsupportedStoreError(f"{text}: {storage.address}")
    if _takes(storage, ROOT_KEY, data, {"IfMatch": etag.strip('"')}):
        storage.compares_bare = True


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
