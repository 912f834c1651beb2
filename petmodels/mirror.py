"""Bring all of a registry to another one, its backup: versions, tombstones, and the aliases with their whole history.

Reads both registries; leaves in the other one what it lacked, in an order in which it is whole at each instant: of a
version the blobs and then the manifest, oldest first, then each alias once the version that it names is there, and only
then, over manifests that no alias names any more, the tombstones. Killed anywhere it is run again, and goes on.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from petmodels.cache import Cache
from petmodels.disk import writing
from petmodels.divergence import divergence
from petmodels.documents import Statement
from petmodels.errors import (
    ArchivedError,
    ConflictError,
    FormatError,
    NotFoundError,
    RequestError,
    TrustError,
    WithdrawnError,
)
from petmodels.hashing import Progress, no_progress
from petmodels.holdings import Held, HeldAlias, Holdings, holdings
from petmodels.locks import lock
from petmodels.memory import Memory
from petmodels.names import LAST_VERSION, alias_key, version_key
from petmodels.notes import INTENTS, note, prunes_at_work
from petmodels.prune import prune
from petmodels.repair import repair
from petmodels.storage import Storage
from petmodels.tombstone import Tombstone
from petmodels.transfer import bring
from petmodels.versions import read_statement, read_version
from petmodels.withdraw import put_tombstone
from petmodels.writable import check_writable

_TRIES = 5


@dataclass(kw_only=True)
class Mirrored:
    """What was brought to the other registry: versions, aliases that were moved there, versions that were withdrawn.

    `mended` says what the other registry had lost, `findings` what could not be brought, a line each.
    """

    versions: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def mirror(
    source: Storage, target: Storage, cache: Cache, models: Sequence[str], progress: Progress = no_progress,
    *, known: Memory,
) -> Mirrored:  # fmt: skip
    """Bring some models to another registry; what is there already costs two small requests a version.

    What the other one has and this one has pruned stays. What is broken or archived here, or isn't what is `known` of
    it on this machine, is a finding, and no reason to leave the rest. Raises ConflictError, and changes nothing, when
    the other registry has gone its own way: a number with another manifest, or later versions or steps.
    """
    with _spool(cache, target) as spool:
        pairs = [_pair(source, target, model, known) for model in models]
        check_writable(target)
        work = _Work(source, target, spool, known, progress, Mirrored())
        for pair in pairs:
            _bring_model(work, *pair)
    return work.done


@dataclass(frozen=True)
class _Work:
    source: Storage
    target: Storage
    spool: Cache
    known: Memory
    progress: Progress
    done: Mirrored


def _pair(source: Storage, target: Storage, model: str, known: Memory) -> tuple[Holdings, Holdings]:
    """Return what the two registries hold of a model; ConflictError when one isn't an earlier state of the other."""
    for _ in range(_TRIES):
        there = holdings(target, model)  # first: what another mirror brings meanwhile is then in the source, too
        here = holdings(source, model, known=known)
        if not here.is_torn:
            break
    if told := divergence(here, there):
        raise ConflictError(f"{target.address} is no earlier state of {source.address} and stays as it is: {told}")
    return here, there


def _bring_model(work: _Work, here: Holdings, there: Holdings) -> None:
    model = here.model
    for _ in range(_TRIES):
        findings = [_brought(work, here, there, number) for number in here.versions]
        if None not in findings:
            break
        # Some were pruned or withdrawn here since they were read: aliases have moved on, or could not have named them.
        here, there = _pair(work.source, work.target, model, work.known)
    findings += [_moved(work, model, name, alias, there.aliases.get(name)) for name, alias in here.aliases.items()]
    findings += _withdrawn(work, here, there)
    work.done.findings += filter(None, findings)


def _brought(work: _Work, here: Holdings, there: Holdings, number: int) -> str | None:
    """Bring a version; return what keeps it from being brought, "" when nothing does, None when it is gone here."""
    held, other, name = here.versions[number], there.versions.get(number), f"{here.model}@{number}"
    if other and (other.tombstone or held.tombstone):
        return ""  # what is withdrawn there stays so; over what is withdrawn here, the tombstone comes last
    try:
        if held.error:
            raise held.error
        if held.tombstone:
            _put_new_tombstone(work, here.model, number, held.data)
        elif other is None:
            if bring(work.source, work.target, work.spool, held.resolved(), work.progress):
                work.done.versions.append(name)
        elif not held.is_in(other) or not there.is_whole(other):
            work.done.mended += repair(work.target, work.source, work.spool, held.resolved(), work.progress)
    except WithdrawnError:
        return ""  # there, meanwhile
    except (TrustError, ArchivedError) as error:
        return None if _is_gone(work.source, here.model, number) else f"{name}: {error}"
    finally:
        shutil.rmtree(work.spool.folder / "blobs", ignore_errors=True)
    return ""


def _is_gone(source: Storage, model: str, number: int) -> bool:
    """Say whether a version was pruned or withdrawn since it was read."""
    try:
        read_statement(source, model, number)
    except NotFoundError:
        return True
    except TrustError:
        return False
    return False


def _put_new_tombstone(work: _Work, model: str, number: int, data: bytes) -> None:
    key = version_key(model, number)
    if work.target.create(key, data):
        work.done.withdrawn.append(f"{model}@{number}")
    elif not isinstance(read_version(work.target, model, number), Tombstone):
        raise ConflictError(f"somebody else took this number over there meanwhile; run it again: {model}@{number}")


def _moved(work: _Work, model: str, name: str, here: HeldAlias, there: HeldAlias | None) -> str:
    """Bring an alias's history, byte for byte, once the version that it names is there; return what is in the way."""
    if here.error or not here.alias:
        return f"{model}@{name}: {here.error}"
    if there and there.data == here.data:
        return ""
    last, target = here.alias.steps[-1], work.target
    with note(target, model, INTENTS, versions=[last.version]) as intent:
        if any(last.version in one.versions for one in prunes_at_work(target, intent)):
            raise ConflictError(f"a prune is deleting this version over there; run it again: {model}@{last.version}")
        try:
            is_there = read_statement(target, model, last.version).sha256 == last.manifest
        except (NotFoundError, TrustError):
            is_there = False
        if not is_there:
            return f"{model}@{name}: it stays as it was over there, where its {model}@{last.version} is not"
        intent.check_valid()
        key = alias_key(model, name)
        if not (target.replace(key, here.data, there.etag) if there else target.create(key, here.data)):
            raise ConflictError(f"somebody else moved this alias over there meanwhile; run it again: {model}@{name}")
    work.done.aliases.append(f"{model}@{name}")
    return ""


def _withdrawn(work: _Work, here: Holdings, there: Holdings) -> Iterator[str]:
    """Withdraw there what was withdrawn here, and free its bytes; yield what is in the way."""
    model, target = here.model, work.target
    is_new = False
    for number, held in here.versions.items():
        other, name = there.versions.get(number), f"{here.model}@{number}"
        if held.tombstone and other and not other.tombstone:
            try:
                put_tombstone(target, model, number, partial(_tombstone_over, held))
                is_new = True
                work.done.withdrawn.append(name)
            except (ConflictError, RequestError, TrustError) as error:
                # No repair brings back a manifest whose version was withdrawn, and no tombstone goes over what is none.
                is_broken = other.error and isinstance(error, FormatError)
                way = f"delete {version_key(model, number)} there and run it again: " if is_broken else ""
                yield f"{name}: it was withdrawn, and is still there in {target.address}: {way}{error}"
    is_any = any(held.tombstone for held in (*here.versions.values(), *there.versions.values()))
    if is_new or (is_any and there.unused()):  # a mirror that was killed may have left bytes of theirs
        try:
            prune(target, model, keep=LAST_VERSION, is_dry=False)
        except TrustError as error:
            yield f"{model}: nobody can tell which bytes in {target.address} are those of withdrawn versions: {error}"


def _tombstone_over(held: Held, there: Statement) -> Statement:
    if there.sha256 != held.sha256:
        raise ConflictError("somebody else wrote its manifest meanwhile; run it again")
    return held.statement


@contextmanager
def _spool(cache: Cache, target: Storage) -> Iterator[Cache]:
    """Give a cache for a version's files on their way; who else mirrors to this registry from here waits meanwhile."""
    folder = cache.folder / "mirrors" / hashlib.sha256(os.fsencode(target.address)).hexdigest()[:16]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock(folder.with_suffix(".lock")):
        try:
            yield Cache(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
