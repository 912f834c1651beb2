"""Delete old versions and whatever no version needs: blobs of versions that are gone, and what killed writers left.

Kept are the newest versions, every version that an alias names, and the one that a rollback of that alias goes back
to; and each tombstone, which counts as none of the newest. Manifests go first, blobs last, so that a version is there
whole or not at all; `petmodels.notes` says by which rule nothing is taken that somebody else is about to use. What is
more than a note can name goes in several passes, each under a note of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from petmodels.aliases import alias_names, read_alias
from petmodels.errors import BrokenTombstoneError, FormatError, NotFoundError, RequestError
from petmodels.manifest import Manifest
from petmodels.names import LAST_VERSION, blob_key, is_blob, version_key
from petmodels.notes import (
    GRACE_HOURS,
    INTENTS,
    MOST_NAMED,
    PRUNES,
    Note,
    OpenNote,
    note,
    others_since,
    stored_notes,
    take_away,
    time_of,
)
from petmodels.parallel import at_once
from petmodels.storage import Storage, Stored, Unfinished
from petmodels.tombstone import Tombstone
from petmodels.versions import models_in, no_model, read_manifest, read_version, stored_versions

_LONGEST_GRACE_HOURS = 24 * 365


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a prune would delete, if it `is_dry`, or did: version numbers, blobs, bytes, unfinished uploads, dead notes.

    `kept` are the versions that stay.
    """

    is_dry: bool
    versions: tuple[int, ...]
    kept: tuple[int, ...]
    num_blobs: int
    size_bytes: int
    num_uploads: int
    num_notes: int


@dataclass(frozen=True)
class _Plan:
    versions: frozenset[int]
    kept: frozenset[int]
    blobs: dict[str, Stored]
    uploads: tuple[Unfinished, ...]


def prune(storage: Storage, model: str, *, keep: int, is_dry: bool = True, grace_hours: float = GRACE_HOURS) -> Pruned:
    """Only say what would be deleted, or, unless `is_dry`, delete it: all but the `keep` newest and aliased versions.

    A note of another writer younger than `grace_hours` is respected; with 0 none is, which is right only when nobody
    else is at work. Raises TrustError, and deletes nothing, when a manifest that is to be kept can't be read.
    """
    if keep < 1:
        raise RequestError(f"at least the newest version is kept, its number must never be given twice: --keep {keep}")
    check_grace(grace_hours)
    plan = _plan(storage, model, keep)
    grace = timedelta(hours=grace_hours)
    if is_dry:
        limit = datetime.now(UTC) - grace
        return _pruned(_without_young(plan, limit), _dead(storage, model, "", limit), is_dry=True)
    return _sum([_pass(storage, model, one, grace) for one in _passes(plan)])


def check_grace(grace_hours: float) -> None:
    """Raise RequestError unless notes can be respected for so long."""
    if not 0 <= grace_hours <= _LONGEST_GRACE_HOURS:
        raise RequestError(f"notes are respected for 0 to {_LONGEST_GRACE_HOURS} hours: --grace-hours {grace_hours:g}")


def freed_without(storage: Storage, model: str, version: int) -> list[Stored]:
    """Return the blobs that no version needs, once this one is gone."""
    blobs = _blobs(storage, model)
    others = [number for number, _ in stored_versions(storage, model) if number != version]
    return list(_unused(storage, model, blobs, others).values())


def _pass(storage: Storage, model: str, plan: _Plan, grace: timedelta) -> Pruned:
    """Condemn in a note what one can name, and delete of it what nobody has come to need since the plan was made."""
    condemned = [key.rpartition("/")[2] for key in plan.blobs]
    with note(storage, model, PRUNES, versions=plan.versions, blobs=condemned) as opened:
        limit = time_of(storage, opened) - grace
        dead = _dead(storage, model, opened.key, limit)
        plan = _without_withdrawn(storage, model, plan, opened, limit)
        plan = _without_young(_spared(storage, model, plan, others_since(storage, opened, INTENTS, limit)), limit)
        _delete(storage, model, plan, opened)
        for found in dead:
            take_away(storage, found.key)
    return _pruned(plan, dead, is_dry=False)


def _passes(plan: _Plan) -> Iterator[_Plan]:
    """Yield the plan in parts, at least one; versions come first, because their blobs are spared while they are there.

    That a later part is older when its note is written matters nothing: whoever uses a blob by then has an intent or a
    manifest that is read after the note, as for the first.
    """
    versions, blobs = sorted(plan.versions), list(plan.blobs)
    for start in range(0, len(versions) + len(blobs) or 1, MOST_NAMED):
        end = start + MOST_NAMED
        named = blobs[max(start - len(versions), 0) : max(end - len(versions), 0)]
        yield replace(
            plan, versions=frozenset(versions[start:end]), blobs={key: plan.blobs[key] for key in named},
            uploads=() if start else plan.uploads,
        )  # fmt: skip


def _plan(storage: Storage, model: str, keep: int) -> _Plan:
    # Blobs and uploads are listed before the manifests: what is published meanwhile is then in no list of ours.
    blobs = _blobs(storage, model)
    uploads = tuple(storage.unfinished(f"{model}/"))
    versions = [version for version, _ in stored_versions(storage, model)]
    if not versions and not blobs and not uploads and model not in models_in(storage):
        raise no_model(storage, model)
    tombstones = _withdrawn(storage, model, versions) if len(versions) > keep else frozenset()
    newest = [version for version in versions if version not in tombstones][:keep]
    kept = tombstones | frozenset(newest) | (frozenset(versions) & _aliased(storage, model))
    return _Plan(frozenset(versions) - kept, kept, _unused(storage, model, blobs, kept), uploads)


def _blobs(storage: Storage, model: str) -> dict[str, Stored]:
    return {stored.key: stored for stored in storage.list(f"{model}/blobs/") if _is_blobs(stored.key)}


def _withdrawn(storage: Storage, model: str, versions: Iterable[int]) -> frozenset[int]:
    """Return which versions were withdrawn; their numbers stay taken for ever, so no prune may delete what says so."""

    def is_withdrawn(version: int) -> bool:
        try:
            return isinstance(read_version(storage, model, version), Tombstone)
        except BrokenTombstoneError:
            return True
        except (FormatError, NotFoundError):
            return False  # whether what can't be read is an obstacle depends on whether it is to be kept

    listed = sorted(versions)
    return frozenset(one for one, is_one in zip(listed, at_once(is_withdrawn, listed), strict=True) if is_one)


def _aliased(storage: Storage, model: str) -> frozenset[int]:
    named: set[int] = set()
    for name in alias_names(storage, model):
        try:
            alias, _, _ = read_alias(storage, model, name)
        except NotFoundError:
            continue
        before = alias.before()
        named |= {alias.version} | ({before.version} if before else set())
    return frozenset(named)


def _unused(storage: Storage, model: str, blobs: dict[str, Stored], kept: Iterable[int]) -> dict[str, Stored]:
    manifests = at_once(lambda version: _manifest_or_none(storage, model, version), sorted(kept))
    used = {blob_key(model, file.blob) for manifest in manifests if manifest for file in manifest.files}
    return {key: stored for key, stored in blobs.items() if key not in used}


def _manifest_or_none(storage: Storage, model: str, version: int) -> Manifest | None:
    try:
        return read_manifest(storage, model, version)
    except NotFoundError:
        return None  # another prune was quicker
    except BrokenTombstoneError:
        return None  # it names no files, as a whole one


def _without_withdrawn(storage: Storage, model: str, plan: _Plan, opened: OpenNote, limit: datetime) -> _Plan:
    """Return the plan without versions that are being withdrawn or were since it was made; our note can be seen."""
    if not plan.versions:
        return plan
    at_work = [one for one in others_since(storage, opened, PRUNES, limit) if one.withdraws]
    named = frozenset(version for one in at_work for version in one.versions)
    return replace(plan, versions=plan.versions - named - _withdrawn(storage, model, plan.versions))


def _spared(storage: Storage, model: str, plan: _Plan, intents: list[Note]) -> _Plan:
    """Return the plan without what has come into use since it was made; called after our note can be seen by all."""
    counted_on = {blob[:64] for found in intents for blob in found.blobs}
    wanted = {version for found in intents for version in found.versions} | _aliased(storage, model)
    # A number that a publisher still tries for must stay taken.
    tried_from = min((found.newest for found in intents if found.newest is not None), default=LAST_VERSION)
    now_there = {version for version, _ in stored_versions(storage, model)}
    kept = now_there - {version for version in plan.versions - wanted if version <= tried_from}
    # A version that an intent or an alias names and that we condemned stays, with its blobs.
    blobs = _unused(storage, model, plan.blobs, kept)
    blobs = {key: one for key, one in blobs.items() if _sha256(key) not in counted_on}
    uploads = tuple(one for one in plan.uploads if _sha256(one.key) not in counted_on)
    return _Plan(plan.versions & now_there - kept, frozenset(kept), blobs, uploads)


def _delete(storage: Storage, model: str, plan: _Plan, opened: OpenNote) -> None:
    def delete(key: str) -> None:
        opened.check_valid()
        storage.delete(key)

    at_once(delete, [version_key(model, version) for version in sorted(plan.versions)])
    at_once(delete, sorted(plan.blobs))
    at_once(storage.discard, plan.uploads)


def _without_young(plan: _Plan, limit: datetime) -> _Plan:
    return replace(plan, uploads=tuple(one for one in plan.uploads if one.begun <= limit))


def _dead(storage: Storage, model: str, own_key: str, limit: datetime) -> list[Stored]:
    found = [*stored_notes(storage, model, INTENTS), *stored_notes(storage, model, PRUNES)]
    return [one for one in found if one.modified <= limit and one.key != own_key]


def _is_blobs(key: str) -> bool:
    return is_blob(key.rpartition("/")[2], _sha256(key))


def _sha256(key: str) -> str:
    return key.rpartition("/")[2][:64]


def _pruned(plan: _Plan, dead: list[Stored], *, is_dry: bool) -> Pruned:
    return Pruned(
        is_dry=is_dry, versions=tuple(sorted(plan.versions)), kept=tuple(sorted(plan.kept)), num_blobs=len(plan.blobs),
        size_bytes=sum(stored.size_bytes for stored in plan.blobs.values()), num_uploads=len(plan.uploads),
        num_notes=len(dead),
    )  # fmt: skip


def _sum(passes: Sequence[Pruned]) -> Pruned:
    return Pruned(
        is_dry=False, versions=tuple(sorted(version for one in passes for version in one.versions)),
        kept=passes[-1].kept,
        num_blobs=sum(one.num_blobs for one in passes), size_bytes=sum(one.size_bytes for one in passes),
        num_uploads=sum(one.num_uploads for one in passes), num_notes=sum(one.num_notes for one in passes),
    )  # fmt: skip
