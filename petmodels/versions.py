"""Find and read versions: which there are, which is the newest, and what a manifest says."""

from collections.abc import Iterable, Iterator
from itertools import islice

from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement, load_statement
from petmodels.errors import NotFoundError, RequestError
from petmodels.manifest import Manifest, manifest_in
from petmodels.names import check_model, is_model, version_key, version_of
from petmodels.storage import NotStoredError, Storage, Stored
from petmodels.tombstone import Tombstone, tombstone_in


def models_in(storage: Storage) -> list[str]:
    """Return the names of the models there, in order; a folder that nobody could ask for by a name is none.

    A model whose first publisher was killed is among them, though it has no version yet.
    """
    return [name for name in storage.folders("") if is_model(name)]


def stored_versions(storage: Storage, model: str, limit: int | None = None) -> Iterator[tuple[int, Stored]]:
    """Yield the numbers of a model's versions, newest first; one request for up to a thousand of them.

    Other objects there, such as the marker of an empty folder, hide none: with a `limit`, they cost a second request.
    Raises RequestError for a limit below 1.
    """
    prefix = f"{check_model(model)}/versions/"
    if limit is not None and limit < 1:
        raise RequestError(f"at least 1 version is asked for; leave the limit out to have all: {limit}")
    if limit:
        listed = list(storage.list(prefix, limit))
        found = list(_numbered(listed))
        is_all = len(found) == limit or len(listed) < limit
        yield from found if is_all else islice(stored_versions(storage, model), limit)
    else:
        yield from _numbered(storage.list(prefix))


def _numbered(listed: Iterable[Stored]) -> Iterator[tuple[int, Stored]]:
    for stored in listed:
        version = version_of(stored.key)
        if version is not None:
            yield version, stored


def newest_version(storage: Storage, model: str) -> int | None:
    """Return the highest number that was ever published, None when there is none; one request, however many exist."""
    return next((version for version, _ in stored_versions(storage, model, limit=1)), None)


def newest_read(storage: Storage, model: str) -> tuple[int, Statement | Tombstone | None]:
    """Return the highest number that was ever published and what is stored there, 0 and None when there is none."""
    while newest := newest_version(storage, model):
        try:
            return newest, read_version(storage, model, newest)
        except NotFoundError:
            if newest_version(storage, model) == newest:
                raise  # else a newer one was published and this one pruned meanwhile
    return 0, None


def read_statement(storage: Storage, model: str, version: int) -> Statement:
    """Return a version's manifest as it is stored.

    Raises WithdrawnError when it was withdrawn, NotFoundError, listing what there is, when it is absent.
    """
    found = read_version(storage, model, version)
    if isinstance(found, Tombstone):
        raise found.error()
    return found


def refuse_withdrawn(storage: Storage, model: str, version: int) -> None:
    """Raise WithdrawnError when the version was withdrawn; whether it is there at all is nobody's question here."""
    try:
        found = read_version(storage, model, version)
    except NotFoundError:
        return
    if isinstance(found, Tombstone):
        raise found.error()


def read_version(storage: Storage, model: str, version: int) -> Statement | Tombstone:
    """Return a version's manifest as it is stored, or its tombstone; raise NotFoundError as `read_statement` does."""
    try:
        data, _ = storage.read(version_key(model, version), LONGEST_DOCUMENT_BYTES)
    except NotStoredError as error:
        raise NotFoundError(_absent(storage, model, version)) from error
    statement = load_statement(data, f"the manifest of {model}@{version}")
    return tombstone_in(statement, model, version) or statement


def read_manifest(storage: Storage, model: str, version: int) -> Manifest:
    """Return a version's manifest, checked for everything but its signature."""
    return manifest_in(read_statement(storage, model, version), model, version)


def no_model(storage: Storage, model: str) -> NotFoundError:
    """Return the error that says which models there are instead of `model`."""
    names = models_in(storage)
    known = f"models there: {', '.join(names)}" if 0 < len(names) < 10 else f"the registry holds {len(names)} models"
    return NotFoundError(f"no model {model} in {storage.address}; {known}")


def _absent(storage: Storage, model: str, version: int) -> str:
    numbers = [number for number, _ in stored_versions(storage, model, limit=10)]
    if not numbers:
        return str(no_model(storage, model))
    listed = ", ".join(str(number) for number in sorted(numbers))
    known = f"published versions: {listed}" if len(numbers) < 10 else f"the newest are {listed}"
    return f"no version {version} of {model}; {known}"
