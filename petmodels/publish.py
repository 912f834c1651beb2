"""Give a bundle to the world as the next version: blobs first, the manifest last and only where none is.

Reads a bundle folder and what this machine has seen; leaves blobs, one manifest, and that remembered. Killed anywhere
it leaves no version or a whole one; running it again uploads only what is missing.
"""

import secrets
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from petmodels.bundle import Bundle, BundleFile
from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement, load_statement
from petmodels.errors import BundleError, ConflictError, FormatError, RequestError
from petmodels.forms import new_id, now
from petmodels.hashing import Progress, no_progress
from petmodels.manifest import File, Manifest, Parent, manifest_in
from petmodels.memory import Memory
from petmodels.names import LAST_VERSION, blob_key, version_key
from petmodels.notes import INTENTS, OpenNote, condemned_blobs, note
from petmodels.parallel import at_once
from petmodels.signing import public_key, signed
from petmodels.storage import Storage
from petmodels.tombstone import Tombstone
from petmodels.verify import is_whole
from petmodels.versions import newest_read, newest_version

# A file so small costs less to send than to ask for first.
_TRIED_BYTES = 2**20
# What a draft doesn't have yet: number, parent and signature; and the second name that a blob may need.
_ADDED_BYTES, _ADDED_BYTES_A_FILE = 1_000, 20
_TRIES = 100


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the publisher says about where a bundle comes from; every text may be empty.

    `params` takes the place of the bundle's params.yaml. `key_file` is the secret key to sign with.
    """

    message: str = ""
    git_commit: str = ""
    dvc_lock: str = ""
    params: str = ""
    key_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publish did: the version, whether it is new, and how many bytes were sent or already there."""

    manifest: Manifest
    is_new: bool
    sent_bytes: int
    present_bytes: int


@dataclass
class _Sent:
    bytes: int = 0
    blobs: dict[str, str] = field(default_factory=dict)


def publish(
    storage: Storage, model: str, bundle: Bundle, origin: Origin, progress: Progress = no_progress,
    *, memory: Memory, above: int = 0,
) -> Published:  # fmt: skip
    """Publish a bundle; when the newest version already is exactly this, whole and signed, return that one instead.

    Its number is the next one after the newest and after `above`. Raises RequestError when that is more than the last
    one, BundleError when the manifest would be too large, ChecksumError when a file changes meanwhile, ReplayError when
    the registry is older than what this machine has seen, so that a number would be given a second time, and what the
    store raises.
    """
    draft = _draft(model, bundle, origin)
    seen = memory.newest(model)  # before the registry is asked: others on this machine may publish meanwhile
    blobs, known = {file.sha256 for file in bundle.files}, newest_version(storage, model) or 0
    if max(known, above) < seen:
        raise memory.set_back(model, known)
    with note(storage, model, INTENTS, blobs=blobs, newest=known) as intent:
        newest, there = newest_read(storage, model)
        before = manifest_in(there, model, newest) if isinstance(there, Statement) else None
        if isinstance(there, Statement) and before:
            memory.check_statement(model, newest, there)
            if above < newest and _is_same(storage, before, draft, bundle, there, origin.key_file):
                memory.remember_statement(model, newest, there)
                return Published(manifest=before, is_new=False, sent_bytes=0, present_bytes=before.size_bytes)
        _number_after(model, newest, above)  # before anything is sent
        likely = {file.sha256 for file in before.files} if before else set()
        sent = _send(storage, intent, bundle.files, likely, progress)
        files = tuple(replace(file, blob=sent.blobs[file.sha256]) for file in draft.files)
        numbered = replace(draft, version=above, files=files)
        manifest, statement = _put_manifest(storage, numbered, _parent(newest, there), origin.key_file, intent)
    memory.remember_statement(model, manifest.version, statement)
    kept = sum(file.size_bytes for file in bundle.files) - sent.bytes
    return Published(manifest=manifest, is_new=True, sent_bytes=sent.bytes, present_bytes=kept)


def _draft(model: str, bundle: Bundle, origin: Origin) -> Manifest:
    files = tuple(
        File(path=one.path, size_bytes=one.size_bytes, sha256=one.sha256, media_type=one.media_type, blob=one.sha256)
        for one in bundle.files
    )
    draft = Manifest(
        model=model, version=0, id=new_id(), created=now(), parent=None, message=origin.message,
        git_commit=origin.git_commit, dvc_lock=origin.dvc_lock, params=origin.params or bundle.params,
        card=bundle.card, metrics=bundle.metrics, files=files,
    )  # fmt: skip
    try:
        size = len(_checked(Statement(draft.to_payload()), draft).to_bytes())
    except UnicodeEncodeError as error:
        raise BundleError(f"the message or another text holds bytes that are no text: {bundle.folder}") from error
    except FormatError as error:
        raise BundleError(f"no reader would take this version: {error}") from error
    if size + _ADDED_BYTES + _ADDED_BYTES_A_FILE * len(files) > LONGEST_DOCUMENT_BYTES:
        raise BundleError(f"card, metrics, params and the list of files are too large together: {bundle.folder}")
    return draft


def _checked(statement: Statement, manifest: Manifest) -> Statement:
    """Return the statement, which any reader would take for this manifest, or raise FormatError."""
    where = f"the manifest of {manifest.model}"
    manifest_in(load_statement(statement.to_bytes(), where), manifest.model, manifest.version)
    return statement


def _is_same(
    storage: Storage, before: Manifest, draft: Manifest, bundle: Bundle, statement: Statement, key_file: Path | None
) -> bool:
    """Say whether a version is what is to be published: nothing of it is lost, and the key, if one is given, signed."""
    if before.content() != draft.content():
        return False
    if key_file and public_key(key_file) not in {one.key for one in statement.signatures}:
        return False
    ours = {file.sha256: file for file in bundle.files}
    return all(at_once(lambda file: _is_there(storage, before.model, ours[file.sha256], file.blob), before.files))


def _send(
    storage: Storage, intent: OpenNote, files: Iterable[BundleFile], likely: Set[str], progress: Progress
) -> _Sent:
    """Upload what isn't there. What is `likely` there, or large, is asked for first; the rest is just tried."""
    model, condemned, sent = intent.model, condemned_blobs(storage, intent), _Sent()

    def put(file: BundleFile, blob: str) -> bool:
        if not storage.upload(blob_key(model, blob), file.source, file.digest, progress):
            return False
        sent.blobs[file.sha256] = blob
        sent.bytes += file.size_bytes
        return True

    def is_stored(file: BundleFile) -> bool:
        is_tried = file.sha256 not in likely and file.size_bytes <= _TRIED_BYTES
        whole = None if is_tried else _is_there(storage, model, file, file.sha256)
        if whole is None:
            if put(file, file.sha256):
                return True
            whole = _is_there(storage, model, file, file.sha256)
        if whole:
            sent.blobs[file.sha256] = file.sha256
            progress(file.size_bytes)
        return bool(whole)

    def send(file: BundleFile) -> None:
        # A name that is condemned, or that holds other bytes, is never used again.
        if file.sha256 in condemned or not is_stored(file):
            other = f"{file.sha256}.{secrets.token_hex(8)}"
            # A repeated request whose first answer got lost meets its own object.
            if not put(file, other) and not _is_there(storage, model, file, other):
                raise ConflictError(f"the store neither took nor has this file; run it again: {file.path}")
            sent.blobs[file.sha256] = other

    at_once(send, {file.sha256: file for file in files}.values())
    return sent


def _is_there(storage: Storage, model: str, file: BundleFile, blob: str) -> bool | None:
    return is_whole(storage, blob_key(model, blob), file.digest, file.size_bytes)


def _put_manifest(
    storage: Storage, draft: Manifest, parent: Parent | None, key_file: Path | None, intent: OpenNote
) -> tuple[Manifest, Statement]:
    """Put the draft under the next number after the parent's, and after the draft's own."""
    for attempt in range(_TRIES):
        number = _number_after(draft.model, parent.version if parent else 0, draft.version)
        manifest = replace(draft, version=number, parent=parent, created=now())
        statement = Statement(manifest.to_payload())
        statement = signed(statement, key_file) if key_file else statement
        data = _checked(statement, manifest).to_bytes()
        intent.check_valid()
        key = version_key(draft.model, manifest.version)
        if storage.create(key, data):
            return manifest, statement
        parent = _parent(*newest_read(storage, draft.model))
        if parent is None or parent.version < manifest.version:  # the store may only ask to try again
            time.sleep(min(0.05 * attempt, 0.5))
    raise ConflictError(
        f"{_TRIES} numbers in a row were taken by others; look here and run again: {storage.address}/{key}"
    )


def _number_after(model: str, *taken: int) -> int:
    number = max(taken) + 1
    if number > LAST_VERSION:  # no key, specification or alias could name it
        way = "publish with a lower --above, or a model of another name"
        raise RequestError(f"the last number is {LAST_VERSION}; {way}: {model}@{number}")
    return number


def _parent(newest: int, there: Statement | Tombstone | None) -> Parent | None:
    """Return by what the next version knows the newest one: the manifest to which its number was given."""
    if there is None:
        return None
    return Parent(version=newest, sha256=there.manifest if isinstance(there, Tombstone) else there.sha256)
