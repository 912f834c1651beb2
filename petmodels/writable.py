"""The registry's own document, `petmodels.json`: made at the first write, and the proof that conditions hold.

Its bytes never change, so that writing it again, which a store that ignores conditions does, harms nothing.
"""

from petmodels.documents import FORMAT, check_format, dump, load_object
from petmodels.errors import UnsupportedStoreError
from petmodels.names import ROOT_KEY
from petmodels.storage import NotStoredError, Storage

_CONTENT = (dump({"format": FORMAT, "kind": "petmodels registry"}) + "\n").encode()
_LONGEST_BYTES = 2**16


def check_writable(storage: Storage) -> None:
    """Make a registry here if none is, else check that it is of our format; and that the store keeps to conditions.

    Raises UnsupportedStoreError when the store writes although If-None-Match or If-Match says that it must not, and
    FormatError when a newer petmodels made the registry. Three requests, four where no registry was.
    """
    data = root_document(storage)
    if data is None:
        storage.create(ROOT_KEY, _CONTENT)
        data = root_document(storage) or _CONTENT
    where = f"{storage.address}/{ROOT_KEY}"
    check_format(load_object(data, where), where)
    if not storage.keeps_conditions(ROOT_KEY, data):
        text = "this store ignores conditional writes, so two publishers could overwrite each other; use another one"
        raise UnsupportedStoreError(f"{text}: {storage.address}")


def root_document(storage: Storage) -> bytes | None:
    """Return petmodels.json as it is stored, None when nothing was ever published here."""
    try:
        return storage.read(ROOT_KEY, _LONGEST_BYTES)[0]
    except NotStoredError:
        return None
