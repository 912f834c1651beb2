"""Put back what a version has lost in one registry, from another that still has it.

Reads every byte of the version again; leaves what was whole as it is, and in the place of what was broken the bytes
that the manifest names, checked in the cache on the way. Killed anywhere, it is run again.
"""

from petmodels.aliases import alias_names, read_alias
from petmodels.cache import Cache
from petmodels.documents import LONGEST_DOCUMENT_BYTES, load_statement
from petmodels.errors import ConflictError, FormatError
from petmodels.hashing import Progress, no_progress
from petmodels.manifest import File, manifest_in
from petmodels.names import blob_key, version_key
from petmodels.notes import INTENTS, condemned_blobs, note
from petmodels.parallel import at_once
from petmodels.pull import fetch
from petmodels.resolve import Resolved
from petmodels.storage import NotStoredError, Storage
from petmodels.verify import broken
from petmodels.writable import check_writable


def repair(
    storage: Storage, source: Storage, cache: Cache, found: Resolved, progress: Progress = no_progress
) -> tuple[str, ...]:
    """Repair in `storage` the version that was `found` in `source`; return what was wrong, a line each.

    Raises ConflictError when `storage` has a whole manifest of another version under that number, or a prune is
    deleting one of the blobs; ChecksumError when `source` has lost the bytes too.
    """
    manifest, model = found.manifest, found.manifest.model
    check_writable(storage)
    key = version_key(model, manifest.version)
    state, etag = _state(storage, found)
    if state == "another":
        raise ConflictError(f"{storage.address} has another version under this number; it stays: {manifest.name}")
    blobs = {file.sha256 for file in manifest.files}
    with note(storage, model, INTENTS, versions=[manifest.version], blobs=blobs) as intent:
        condemned = condemned_blobs(storage, model)

        def mend(file: File) -> str:
            finding = broken(storage, model, file, progress)
            if not finding:
                return ""
            blob = blob_key(model, file.blob)
            if file.blob in condemned:
                raise ConflictError(f"a prune is deleting this blob; wait for it and run again: {blob}")
            paths = fetch(source, cache, model, [file])
            storage.delete(blob)  # its bytes are nobody's: every reader refuses them
            storage.upload(blob, paths[file.path], file.sha256, no_progress)
            return f"{manifest.name}/{file.path}: {finding}"

        mended = at_once(mend, {file.blob: file for file in manifest.files}.values())
        intent.check_valid()
        data = found.statement.to_bytes()
        if state == "broken":
            storage.replace(key, data, etag)
        elif state == "gone":
            storage.create(key, data)
    words = {"broken": "its manifest was changed", "gone": "its manifest is gone"}
    return tuple(filter(None, [*mended, f"{manifest.name}: {words[state]}" if state in words else ""]))


def _state(storage: Storage, found: Resolved) -> tuple[str, str]:
    """Return whether the stored manifest is `whole`, `gone`, `broken` or `another`, and its change mark."""
    model, version = found.manifest.model, found.manifest.version
    key = version_key(model, version)
    try:
        data, etag = storage.read(key, LONGEST_DOCUMENT_BYTES)
    except NotStoredError:
        return "gone", ""
    try:
        statement = load_statement(data, key)
        manifest_in(statement, model, version)
    except FormatError:
        return "broken", etag
    if statement.sha256 == found.statement.sha256:
        return "whole", etag
    return ("broken" if _is_promised(storage, found) else "another"), etag


def _is_promised(storage: Storage, found: Resolved) -> bool:
    """Say whether an alias of `storage` was given just this manifest."""
    model, promised = found.manifest.model, (found.manifest.version, found.statement.sha256)
    steps = [step for name in alias_names(storage, model) for step in read_alias(storage, model, name)[0].steps]
    return promised in {(step.version, step.manifest) for step in steps}
