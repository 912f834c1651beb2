"""Take a version back for good: a tombstone in the place of its manifest, and the bytes that no other version has gone.

Reads aliases, notes and all manifests of the model; leaves the tombstone, so that the number stays taken for publish,
copy and repair. Killed anywhere it leaves the version or the tombstone; running it again frees what is left of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from petmodels.aliases import alias_names, read_alias
from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement, load_statement
from petmodels.errors import BrokenTombstoneError, ConflictError, FormatError, NotFoundError, RequestError
from petmodels.forms import new_id, now
from petmodels.manifest import manifest_in
from petmodels.names import LAST_VERSION, version_key
from petmodels.notes import GRACE_HOURS, INTENTS, PRUNES, OpenNote, note, others_since, time_of
from petmodels.promotion import check_message
from petmodels.prune import Pruned, check_grace, freed_without, prune
from petmodels.storage import NotStoredError, Storage
from petmodels.tombstone import Tombstone, tombstone_in
from petmodels.versions import read_version


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """What a withdrawal would do, if it `is_dry`, or did: the version, whether it was there, and the blobs that went.

    `num_left` blobs that no version needs are still there, because somebody's note counts on them; a prune frees them.
    """

    is_dry: bool
    model: str
    version: int
    is_new: bool
    num_blobs: int
    size_bytes: int
    num_left: int = 0


def withdraw(
    storage: Storage, model: str, version: int, reason: str, *, is_dry: bool = True, grace_hours: float = GRACE_HOURS
) -> Withdrawn:
    """Only say what would be deleted, or, unless `is_dry`, withdraw a version; of a withdrawn one delete what is left.

    Raises NotFoundError for a version that is absent, RequestError while an alias names it, ConflictError when
    somebody is promoting, copying, repairing or pruning it; TrustError, the tombstone being there already, when a
    manifest that stays can't be read, so that nobody knows which blobs are its own.
    """
    check_message(reason)
    check_grace(grace_hours)
    if not reason.strip():
        raise RequestError(f"say why, those who miss the version are told it: --reason TEXT: {model}@{version}")
    is_new = _is_left(storage, model, version)
    if is_new:
        _refuse_named(storage, model, version)
    if is_dry:
        blobs = freed_without(storage, model, version)
        size = sum(stored.size_bytes for stored in blobs)
        return Withdrawn(
            is_dry=True, model=model, version=version, is_new=is_new, num_blobs=len(blobs), size_bytes=size
        )
    if is_new:

        def made(there: Statement) -> Statement:
            return _tombstone(model, version, there, reason).to_statement()

        is_new = put_tombstone(storage, model, version, made, grace_hours=grace_hours)
    freed = _freed(storage, model, version, grace_hours)
    return Withdrawn(
        is_dry=False, model=model, version=version, is_new=is_new, num_blobs=freed.num_blobs,
        size_bytes=freed.size_bytes, num_left=len(freed_without(storage, model, version)),
    )  # fmt: skip


def _is_left(storage: Storage, model: str, version: int) -> bool:
    """Say whether the version is there and not withdrawn; raise FormatError for one that its tombstone can't name."""
    try:
        found = read_version(storage, model, version)
        if isinstance(found, Tombstone):
            return False
        manifest_in(found, model, version)
    except BrokenTombstoneError:
        raise
    except FormatError as error:
        way = f"first petmodels repair {model}@{version} OTHER, then withdraw it"
        raise FormatError(f"its manifest is broken; {way}: {error}") from error
    return True


def put_tombstone(
    storage: Storage, model: str, version: int, made: Callable[[Statement], Statement],
    *, grace_hours: float = GRACE_HOURS,
) -> bool:  # fmt: skip
    """Put the tombstone that is `made` of a version's manifest in its place; False when another one is there already.

    Raises ConflictError while somebody uses the version, RequestError while an alias names it or when it is gone.
    """
    with note(storage, model, PRUNES, versions=[version], withdraws=True) as opened:
        _refuse_users(storage, opened, version, timedelta(hours=grace_hours))
        return _put_tombstone(storage, opened, version, made)


def _freed(storage: Storage, model: str, version: int, grace_hours: float) -> Pruned:
    try:
        return prune(storage, model, keep=LAST_VERSION, is_dry=False, grace_hours=grace_hours)
    except FormatError as error:
        text = f"{model}@{version} is withdrawn, but nobody can tell which bytes are its own"
        raise FormatError(f"{text}; mend this and run it again: {error}") from error


def _refuse_named(storage: Storage, model: str, version: int) -> None:
    for name in alias_names(storage, model):
        if read_alias(storage, model, name)[0].version == version:
            raise RequestError(
                f"{model}@{name} names it; move the alias first: petmodels promote {model}@VERSION {name}, or "
                f"petmodels rollback {model} {name}: {model}@{version}"
            )


def _refuse_users(storage: Storage, opened: OpenNote, version: int, grace: timedelta) -> None:
    """Raise when somebody uses or deletes the version; asked once our note, by which they know of us, can be seen."""
    limit, name = time_of(storage, opened) - grace, f"{opened.model}@{version}"
    later = "run it again, with --grace-hours 0 if nobody is at work and it was killed"
    if any(version in one.versions for one in others_since(storage, opened, INTENTS, limit)):
        raise ConflictError(f"somebody is promoting, copying or repairing this version; {later}: {name}")
    prunes = [one for one in others_since(storage, opened, PRUNES, limit) if not one.withdraws]
    if any(version in one.versions for one in prunes):
        raise ConflictError(f"a prune is deleting this version; {later}: {name}")
    _refuse_named(storage, opened.model, version)


def _tombstone(model: str, version: int, there: Statement, reason: str) -> Tombstone:
    parent = manifest_in(there, model, version).parent
    return Tombstone(
        model=model, version=version, id=new_id(), withdrawn=now(), reason=reason, manifest=there.sha256, parent=parent
    )


def _put_tombstone(storage: Storage, opened: OpenNote, version: int, made: Callable[[Statement], Statement]) -> bool:
    model = opened.model
    key, where = version_key(model, version), f"the manifest of {model}@{version}"
    try:
        data, etag = storage.read(key, LONGEST_DOCUMENT_BYTES)
    except NotStoredError as error:
        raise NotFoundError(f"somebody deleted it meanwhile: {model}@{version}") from error
    statement = load_statement(data, where)
    if tombstone_in(statement, model, version):
        return False
    tombstone = made(statement)
    new = tombstone.to_bytes()
    if len(new) == len(data):  # by its size, a listing shows to those who have seen the manifest that it is another
        new = new.removesuffix(b"\n") + b" \n"
    opened.check_valid()
    if storage.replace(key, new, etag):
        return True
    found = read_version(storage, model, version)  # a repeated request whose first answer got lost meets its own
    if isinstance(found, Tombstone):
        return found == tombstone_in(tombstone, model, version)
    raise ConflictError(f"somebody else wrote its manifest meanwhile; run it again: {model}@{version}")
