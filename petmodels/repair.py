"""Put back what a version has lost in one registry, from another that still has it.

Reads every byte of the version again; leaves what was whole as it is, and in the place of what was broken the bytes
that the manifest names, checked in the cache on the way. Killed anywhere, it is run again.
"""

from dataclasses import replace

from petmodels.cache import Cache
from petmodels.documents import LONGEST_DOCUMENT_BYTES, load_statement
from petmodels.errors import BrokenTombstoneError, ConflictError, FormatError
from petmodels.fetch import fetch
from petmodels.hashing import Progress, digest_of, no_progress
from petmodels.lineage import check_number, promised
from petmodels.manifest import File, Manifest, manifest_in
from petmodels.names import blob_key, version_key
from petmodels.notes import INTENTS, OpenNote, note, prunes_at_work
from petmodels.parallel import at_once
from petmodels.resolve import Resolved
from petmodels.storage import NotStoredError, Storage
from petmodels.tombstone import tombstone_in
from petmodels.verify import broken
from petmodels.versions import refuse_withdrawn
from petmodels.writable import check_writable


def repair(
    storage: Storage, source: Storage, cache: Cache, found: Resolved, progress: Progress = no_progress
) -> tuple[str, ...]:
    """Repair in `storage` the version that was `found` in `source`; return what was wrong, a line each.

    Raises ConflictError when `storage` has a whole manifest of another version under that number, or had one, or a
    prune is deleting one of the blobs; WithdrawnError when it was withdrawn; ChecksumError when `source` has lost the
    bytes too.
    """
    manifest, model = found.manifest, found.manifest.model
    check_writable(storage)
    key = version_key(model, manifest.version)
    state, etag, data = _state(storage, found)
    if state == "another":
        raise ConflictError(f"{storage.address} has another version under this number; it stays: {manifest.name}")
    blobs = {file.sha256 for file in manifest.files}
    with note(storage, model, INTENTS, versions=[manifest.version], blobs=blobs) as intent:
        _check_not_condemned(storage, intent, manifest)
        if state in {"whole", "unsigned"}:  # until our intent could be seen, somebody may have withdrawn it
            refuse_withdrawn(storage, model, manifest.version)
        if state in {"gone", "broken"}:
            # What else is broken is no reason to leave this broken; who spoils evidence could as well delete it.
            check_number(storage, found, must_know=False)

        def mend(file: File) -> str:
            key = blob_key(model, file.blob)
            finding = broken(storage, key, file.sha256, file.size_bytes, progress)
            if not finding:
                return ""
            paths = fetch(source, cache, model, [file])
            if not broken(storage, key, file.sha256, file.size_bytes):
                return ""  # another repair was quicker
            digest = digest_of(paths[file.path], file.sha256)
            storage.delete(key)  # its bytes are nobody's: every reader refuses them
            is_ours = storage.upload(key, paths[file.path], digest, no_progress)
            if not is_ours and broken(storage, key, file.sha256, file.size_bytes):
                raise ConflictError(f"somebody else is writing this file; run it again: {manifest.name}/{file.path}")
            return f"{manifest.name}/{file.path}: {finding}"

        mended = at_once(mend, {file.blob: file for file in manifest.files}.values())
        intent.check_valid()
        if data and not (storage.replace(key, data, etag) if etag else storage.create(key, data)):
            raise ConflictError(f"somebody else wrote the manifest meanwhile; run it again: {manifest.name}")
    words = {
        "broken": "its manifest was changed",
        "gone": "its manifest is gone",
        "unsigned": "its manifest lost a signature",
    }
    return tuple(filter(None, [*mended, f"{manifest.name}: {words[state]}" if state in words else ""]))


def _check_not_condemned(storage: Storage, intent: OpenNote, manifest: Manifest) -> None:
    """Raise ConflictError when a prune is deleting the version or one of its blobs; our intent is written before."""
    notes_there = prunes_at_work(storage, intent)
    if any(manifest.version in one.versions for one in notes_there):
        raise ConflictError(f"a prune is deleting this version; wait for it and run again: {manifest.name}")
    condemned = {blob for one in notes_there for blob in one.blobs}
    if lost := sorted(condemned & {file.blob for file in manifest.files}):
        raise ConflictError(
            f"a prune is deleting this blob; wait for it and run again: {blob_key(manifest.model, lost[0])}"
        )


def _state(storage: Storage, found: Resolved) -> tuple[str, str, bytes]:
    """Return whether the stored manifest is `whole`, `gone`, `broken`, `unsigned` or `another`, its change mark, and
    the bytes to be put in its place, if any.
    """
    model, version, wanted = found.manifest.model, found.manifest.version, found.statement.to_bytes()
    key = version_key(model, version)
    try:
        data, etag = storage.read(key, LONGEST_DOCUMENT_BYTES)
    except NotStoredError:
        return "gone", "", wanted
    try:
        statement = load_statement(data, key)
        if tombstone := tombstone_in(statement, model, version):
            raise tombstone.error()
        manifest_in(statement, model, version)
    except BrokenTombstoneError:
        raise  # whatever became of it, the version was withdrawn
    except FormatError:
        return "broken", etag, wanted
    if statement.sha256 == found.statement.sha256:
        missing = tuple(one for one in found.statement.signatures if one not in statement.signatures)
        signed = replace(statement, signatures=(*statement.signatures, *missing)).to_bytes()
        return ("unsigned", etag, signed) if missing else ("whole", etag, b"")
    promises, _ = promised(storage, model, version)
    return ("broken", etag, wanted) if found.statement.sha256 in promises else ("another", etag, b"")
