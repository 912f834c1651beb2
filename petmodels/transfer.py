"""Copy a version from one registry to another, under the same number and with the same manifest and signature.

For USB sticks, sites without a network, and `petmodels.mirror`: every byte is checked on the way, in the cache; what
the other registry has already isn't brought to it.
"""

from petmodels.cache import Cache
from petmodels.errors import ChecksumError, ConflictError, NotFoundError, WithdrawnError
from petmodels.fetch import fetch
from petmodels.hashing import Digest, Progress, digest_of, no_progress
from petmodels.lineage import check_number
from petmodels.manifest import File
from petmodels.names import blob_key, version_key
from petmodels.notes import INTENTS, note, prunes_at_work
from petmodels.parallel import at_once
from petmodels.resolve import Resolved
from petmodels.storage import Storage
from petmodels.verify import is_whole
from petmodels.versions import read_statement
from petmodels.writable import check_writable


def copy(source: Storage, target: Storage, cache: Cache, found: Resolved, progress: Progress = no_progress) -> bool:
    """Copy a version; False when the other registry has exactly this one already.

    Raises WithdrawnError when the other one has withdrawn it, ConflictError when it has another version under that
    number, which stays as it is, or had one; FormatError when it can't read what would tell.
    """
    check_writable(target)
    return bring(source, target, cache, found, progress)


def bring(source: Storage, target: Storage, cache: Cache, found: Resolved, progress: Progress = no_progress) -> bool:
    """Copy a version as `copy` does, to a registry that is known to keep to conditions."""
    manifest, model = found.manifest, found.manifest.model
    blobs = {file.sha256 for file in manifest.files}
    with note(target, model, INTENTS, versions=[manifest.version], blobs=blobs) as intent:
        prunes = prunes_at_work(target, intent)
        if any(manifest.version in one.versions for one in prunes):
            raise ConflictError(f"a prune is deleting this version over there; wait and run again: {manifest.name}")
        condemned = {blob for one in prunes for blob in one.blobs}
        if not _is_there(target, found):
            check_number(target, found, must_know=True)

        def send(file: File) -> None:
            key = blob_key(model, file.blob)
            if file.blob in condemned:
                raise ConflictError(f"a prune is deleting this blob over there; wait for it and run again: {key}")
            whole = is_whole(target, key, Digest(file.sha256), file.size_bytes)
            if whole is False:
                raise ChecksumError(f"the other registry holds other bytes under this name: {target.address}/{key}")
            if whole:
                progress(file.size_bytes)
                return
            path = fetch(source, cache, model, [file])[file.path]
            digest = digest_of(path, file.sha256)
            if not target.upload(key, path, digest, progress) and not is_whole(target, key, digest, file.size_bytes):
                raise ConflictError(f"somebody else is writing this file over there; run it again: {key}")

        at_once(send, {file.blob: file for file in manifest.files}.values())
        intent.check_valid()
        if target.create(version_key(model, manifest.version), found.statement.to_bytes()):
            return True
        if not _is_there(target, found):
            raise ConflictError(f"somebody else took the manifest away meanwhile; run it again: {manifest.name}")
        return False


def _is_there(target: Storage, found: Resolved) -> bool:
    """Say whether the other registry has just this version; raise ConflictError when the number is another one's."""
    manifest = found.manifest
    try:
        there = read_statement(target, manifest.model, manifest.version)
    except WithdrawnError as error:
        raise WithdrawnError(f"{error} (in {target.address})") from error
    except NotFoundError:
        return False
    if there.sha256 != found.statement.sha256:
        raise ConflictError(f"{target.address} has another version under this number; it stays: {manifest.name}")
    return True
