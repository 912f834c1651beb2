"""The change mark that the store gave an alias's history, so that it can be asked whether that has moved since.

Reads and leaves nothing itself: a mark is kept beside the history. It names the bytes that it was given for by their
hash, because a crash, another process or an older petmodels may leave the two files of two states.
"""

import hashlib

from petmodels.documents import dump, load_object
from petmodels.errors import FormatError


def mark_of(data: bytes, etag: str) -> bytes:
    """Return what to keep beside a history, once it was read and checked as a whole."""
    return dump({"etag": etag, "sha256": hashlib.sha256(data).hexdigest()}).encode()


def etag_in(mark: bytes, data: bytes) -> str:
    """Return the store's change mark of just these bytes, "" when this is none."""
    try:
        content = load_object(mark, "a change mark")
    except FormatError:
        return ""
    etag = content.get("etag")
    is_of_these = content.get("sha256") == hashlib.sha256(data).hexdigest()
    return etag if is_of_these and isinstance(etag, str) else ""
