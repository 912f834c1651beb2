"""Give a bundle to the world as the next version: blobs first, the manifest last and only where none is.

Reads a bundle folder; leaves blobs, one manifest, and nothing else. Killed anywhere it leaves no version or a whole
one; running it again uploads only what is missing.
"""

import secrets
from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from petmodels.bundle import Bundle, BundleFile
from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement
from petmodels.errors import BundleError
from petmodels.hashing import Progress, no_progress
from petmodels.manifest import File, Manifest, Parent, manifest_in
from petmodels.names import blob_key, version_key
from petmodels.notes import INTENTS, OpenNote, condemned_blobs, note
from petmodels.parallel import at_once
from petmodels.signing import signed
from petmodels.storage import Storage
from petmodels.versions import newest_statement, newest_version

# A file so small costs less to send than to ask for first.
_TRIED_BYTES = 2**20


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
    storage: Storage, model: str, bundle: Bundle, origin: Origin, progress: Progress = no_progress
) -> Published:
    """Publish a bundle; when the newest version already is exactly this, return that one instead.

    Raises BundleError when the manifest would be too large, ChecksumError when a file changes meanwhile, and what the
    store raises.
    """
    draft = _draft(model, bundle, origin)
    blobs, known = {file.sha256 for file in bundle.files}, newest_version(storage, model) or 0
    with note(storage, model, INTENTS, blobs=blobs, newest=known) as intent:
        newest, parent = newest_statement(storage, model)
        before = manifest_in(parent, model, newest) if parent else None
        if before and before.content() == draft.content():
            return Published(manifest=before, is_new=False, sent_bytes=0, present_bytes=before.size_bytes)
        likely = {file.sha256 for file in before.files} if before else set()
        sent = _send(storage, model, bundle.files, likely, progress)
        files = tuple(replace(file, blob=sent.blobs[file.sha256]) for file in draft.files)
        manifest = _put_manifest(storage, replace(draft, files=files), parent, newest, origin.key_file, intent)
    kept = sum(file.size_bytes for file in bundle.files) - sent.bytes
    return Published(manifest=manifest, is_new=True, sent_bytes=sent.bytes, present_bytes=kept)


def _draft(model: str, bundle: Bundle, origin: Origin) -> Manifest:
    files = tuple(
        File(path=one.path, size_bytes=one.size_bytes, sha256=one.sha256, media_type=one.media_type, blob=one.sha256)
        for one in bundle.files
    )
    draft = Manifest(
        model=model, version=0, id=secrets.token_hex(16), created="", parent=None, message=origin.message,
        git_commit=origin.git_commit, dvc_lock=origin.dvc_lock, params=origin.params or bundle.params,
        card=bundle.card, metrics=bundle.metrics, files=files,
    )  # fmt: skip
    if 2 * len(draft.to_payload()) > LONGEST_DOCUMENT_BYTES:
        raise BundleError(f"card, metrics, params and the list of files are too large together: {bundle.folder}")
    return draft


def _send(storage: Storage, model: str, files: Iterable[BundleFile], likely: Set[str], progress: Progress) -> _Sent:
    """Upload what isn't there. What is `likely` there, or large, is asked for first; the rest is just tried."""
    condemned, sent = condemned_blobs(storage, model), _Sent()

    def put(file: BundleFile, blob: str) -> bool:
        if not storage.upload(blob_key(model, blob), file.source, file.sha256, progress):
            return False
        sent.blobs[file.sha256] = blob
        sent.bytes += file.size_bytes
        return True

    def is_stored(file: BundleFile) -> bool:
        key = blob_key(model, file.sha256)
        is_tried = file.sha256 not in likely and file.size_bytes <= _TRIED_BYTES
        whole = None if is_tried else _is_whole(storage, key, file)
        if whole is None:
            if put(file, file.sha256):
                return True
            whole = _is_whole(storage, key, file)
        if whole:
            sent.blobs[file.sha256] = file.sha256
            progress(file.size_bytes)
        return bool(whole)

    def send(file: BundleFile) -> None:
        # A name that is condemned, or that holds other bytes, is never used again.
        if file.sha256 in condemned or not is_stored(file):
            put(file, _other_name(file.sha256))

    at_once(send, {file.sha256: file for file in files}.values())
    return sent


def _is_whole(storage: Storage, key: str, file: BundleFile) -> bool | None:
    found = storage.find(key)
    return found.may_be(file.sha256, file.size_bytes) if found else None


def _other_name(sha256: str) -> str:
    return f"{sha256}.{secrets.token_hex(8)}"


def _put_manifest(
    storage: Storage, draft: Manifest, parent: Statement | None, newest: int, key_file: Path | None, intent: OpenNote
) -> Manifest:
    while True:
        named = Parent(newest, parent.sha256) if parent else None
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        manifest = replace(draft, version=newest + 1, parent=named, created=created)
        statement = Statement(manifest.to_payload())
        statement = signed(statement, key_file) if key_file else statement
        intent.check_valid()
        if storage.create(version_key(draft.model, newest + 1), statement.to_bytes()):
            return manifest
        newest, parent = newest_statement(storage, draft.model)
