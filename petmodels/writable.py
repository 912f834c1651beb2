"""The registry's own document, `petmodels.json`: made at the first write, and the proof that conditions hold.

It is made without its last newline, which a conditional replacement then adds: one that lacks it is in a store of which
nobody knows yet that it replaces. Nothing else ever changes, so that writing it again, which a store that ignores
conditions does, harms nothing.
"""

from petmodels.documents import FORMAT, check_format, dump, load_object
from petmodels.errors import FormatError, UnsupportedStoreError
from petmodels.names import ROOT_KEY
from petmodels.storage import NotStoredError, Storage

_KIND = "petmodels registry"
_CONTENT = (dump({"format": FORMAT, "kind": _KIND}) + "\n").encode()
_LONGEST_BYTES = 2**16


def check_writable(storage: Storage, *, is_replaced: bool = False) -> None:
    """Make a registry here if none is, else check that it is of our format; and that the store keeps to conditions.

    With `is_replaced` a document that was replaced once is so again, by its own bytes; not at each process's first
    write, for a bucket that keeps old versions would keep one of each. Raises UnsupportedStoreError when the store
    writes although If-None-Match or If-Match says that it must not, or doesn't although If-Match says that it may, and
    FormatError when a newer petmodels made the registry, or another program something else. Three requests, six where
    no registry was.
    """
    found = _read(storage)
    if found is None:
        storage.create(ROOT_KEY, _CONTENT.removesuffix(b"\n"))
        found = _read(storage) or (_CONTENT, "")
    data, etag = found
    check_root(data, f"{storage.address}/{ROOT_KEY}")
    if not storage.keeps_conditions(ROOT_KEY, data):
        text = "this store ignores conditional writes, so two publishers could overwrite each other; use another one"
        raise UnsupportedStoreError(f"{text}: {storage.address}")
    if is_replaced or not data.endswith(b"\n"):
        storage.replace(ROOT_KEY, data.removesuffix(b"\n") + b"\n", etag)  # False: another was quicker, as good a proof


def check_root(data: bytes, where: str) -> None:
    """Raise FormatError unless a root document is that of a registry which this program may write."""
    content = load_object(data, where)
    check_format(content, where)
    if content.get("kind") != _KIND:
        raise FormatError(
            f"{where} says that this is no {_KIND}; choose another place: {str(content.get('kind'))[:40]}"
        )


def root_document(storage: Storage) -> bytes | None:
    """Return petmodels.json as it is stored, None when nothing was ever published here."""
    found = _read(storage)
    return found[0] if found else None


def _read(storage: Storage) -> tuple[bytes, str] | None:
    try:
        return storage.read(ROOT_KEY, _LONGEST_BYTES)
    except NotStoredError:
        return None
