"""From what a person asked for (`pets@production`) to a manifest that can be trusted.

Asks the store as little as can be: nothing for a version that was seen before, one request for an alias that still
names a known version. When the store can't be reached, what was seen before is used, and said so; but which version is
the newest is then not guessed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from petmodels.aliases import Alias, Step, last_step_in, moved_alias, read_alias
from petmodels.documents import Statement
from petmodels.errors import (
    ChecksumError,
    NotFoundError,
    ReplayError,
    SignatureError,
    UnreachableError,
    WithdrawnError,
)
from petmodels.forms import days_ago
from petmodels.manifest import Manifest, manifest_in
from petmodels.memory import Memory
from petmodels.names import LATEST, Spec
from petmodels.signing import check_signed, trusted_keys
from petmodels.storage import Storage, Stored, number_in
from petmodels.versions import newest_version, no_model, read_statement, stored_versions

STALE_DAYS = "PETMODELS_STALE_DAYS"
_STALE_DAYS = 7.0
_TRIES = 5

Notice = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A version that was asked for and found: its manifest, and the statement that carries it.

    `confirmed_at` is when the store last said (UTC, ISO 8601) what an alias names that could not be asked for now; None
    where it was asked, and of a version by its number, which nothing changes.
    """

    manifest: Manifest
    statement: Statement
    confirmed_at: str | None = None


def resolve(storage: Storage, memory: Memory, spec: Spec, notice: Notice) -> Resolved:
    """Return the version that `spec` names, its manifest checked, signed as this machine demands, and remembered.

    `notice` is told in one line when an answer comes from memory because the store can't be reached, and when the
    newest version was withdrawn, so that an older one is the answer. Raises NotFoundError, WithdrawnError,
    UnreachableError when nothing was seen before, or the newest version is wanted, and TrustError's kinds.
    """
    if spec.version is not None:
        return _version(storage, memory, spec.model, spec.version, "")
    if spec.alias == LATEST:
        with _not_guessed(memory, spec.model):
            return _newest(storage, memory, spec.model, notice)
    return _named(storage, memory, spec, notice)


def _named(storage: Storage, memory: Memory, spec: Spec, notice: Notice) -> Resolved:
    step, confirmed_at = _step(storage, memory, spec, notice)
    try:
        found = _version(storage, memory, spec.model, step.version, step.manifest)
        return replace(found, confirmed_at=confirmed_at)
    except WithdrawnError:
        if _step(storage, memory, spec, notice)[0] == step:
            raise
        return _named(storage, memory, spec, notice)  # it was moved meanwhile, and what it had named withdrawn


@contextmanager
def _not_guessed(memory: Memory, model: str) -> Iterator[None]:
    """Name what can be had in place of the newest version: others may have published since, which nobody here knows."""
    try:
        yield
    except UnreachableError as error:
        if seen := next((one for one in memory.versions(model)[::-1] if not memory.is_withdrawn(model, one)), None):
            way = f"name one that this machine has seen; offline the newest version isn't guessed: {model}@{seen}"
            raise UnreachableError(f"{error}; {way}") from error
        raise


def _newest(storage: Storage, memory: Memory, model: str, notice: Notice) -> Resolved:
    while listed := next(stored_versions(storage, model, limit=1), None):
        try:
            return _listed(storage, memory, model, listed)
        except WithdrawnError as error:
            return _newest_left(storage, memory, model, error, notice)
        except NotFoundError:
            if newest_version(storage, model) == listed[0]:
                raise  # else a newer one was published and this one pruned meanwhile
    raise no_model(storage, model)


def _newest_left(storage: Storage, memory: Memory, model: str, told: WithdrawnError, notice: Notice) -> Resolved:
    """Return the newest version that wasn't withdrawn, and say that it isn't the newest number."""
    for listed in stored_versions(storage, model):
        try:
            found = _listed(storage, memory, model, listed)
        except NotFoundError:
            continue  # withdrawn too, or pruned meanwhile
        notice(f"{found.manifest.name} is the newest version that is left: {told}")
        return found
    raise told


def _listed(storage: Storage, memory: Memory, model: str, listed: tuple[int, Stored]) -> Resolved:
    """Return a version that a listing has; it is asked for again when another document than this machine has is there.

    The size tells: a tombstone never has that of the manifest in whose place it is.
    """
    version, stored = listed
    seen = memory.statement(model, version)
    if seen and len(seen.to_bytes()) != stored.size_bytes:
        _asked(storage, memory, model, version)
    return _version(storage, memory, model, version, "")


def stale_days() -> float:
    """Return after how many days an alias that could not be confirmed counts as stale."""
    return number_in(STALE_DAYS, _STALE_DAYS)


def _step(storage: Storage, memory: Memory, spec: Spec, notice: Notice) -> tuple[Step, str | None]:
    """Return the step that an alias is at now, and None; or the last one that was seen, and when it was confirmed."""
    try:
        return _last_step(storage, memory, spec.model, spec.alias), None
    except UnreachableError as error:
        seen = memory.alias(spec.model, spec.alias)
        if seen is None:
            raise
        confirmed_at = days_ago(seen[1])  # before the notice, which may take its time
        notice(_offline_text(spec, seen[0], seen[1], error))
        return seen[0].steps[-1], confirmed_at
    except NotFoundError as error:
        seen = memory.alias(spec.model, spec.alias)
        if seen is None:
            raise
        text = f"{error}; this machine has seen it name {spec.model}@{seen[0].version}"
        raise NotFoundError(text) from error


def _last_step(storage: Storage, memory: Memory, model: str, name: str) -> Step:
    """Return the step that the store has last of an alias; one that hasn't moved costs no body, no parse, no write."""
    seen = memory.marked_alias(model, name)
    if seen[1]:
        moved = moved_alias(storage, model, name, seen[1])
        if moved is None and memory.confirm_alias(model, name, seen):
            return last_step_in(seen[0], model, name)
        with suppress(ReplayError):
            if moved:
                memory.remember_alias(*moved)
                return moved[0].steps[-1]
    return remembered_alias(storage, memory, model, name)[0].steps[-1]


def remembered_alias(
    storage: Storage, memory: Memory, model: str, name: str, *, is_kept: bool = True
) -> tuple[Alias, bytes, str]:
    """Return what `read_alias` does of an alias that goes on from what this machine has seen, and remember it.

    What isn't to be kept is only compared, and nothing is written. One that seems older is read again before
    ReplayError is raised: another process here may have seen a step that was taken in between.
    """
    for _ in range(_TRIES - 1):
        try:
            return _compared(storage, memory, model, name, is_kept=is_kept)
        except ReplayError:
            continue
    return _compared(storage, memory, model, name, is_kept=is_kept)


def _compared(storage: Storage, memory: Memory, model: str, name: str, *, is_kept: bool) -> tuple[Alias, bytes, str]:
    alias, data, etag = read_alias(storage, model, name)
    if is_kept:
        memory.remember_alias(alias, data, etag)
    else:
        memory.check_alias(alias, data)
    return alias, data, etag


def _offline_text(spec: Spec, alias: Alias, age_days: float, error: UnreachableError) -> str:
    age = f"{age_days:.0f} days" if age_days >= 2 else f"{age_days * 24:.0f} hours"
    text = f"offline: {spec} is {spec.model}@{alias.version} as confirmed {age} ago ({error})"
    limit = stale_days()
    if age_days > limit:
        return f"stale {text}; that is more than {limit:g} days, it may have moved since"
    return text


def _version(storage: Storage, memory: Memory, model: str, version: int, expected: str) -> Resolved:
    where, keys = f"the manifest of {model}@{version}", trusted_keys()
    statement = memory.statement(model, version)
    if statement and ((expected and statement.sha256 != expected) or memory.is_withdrawn(model, version)):
        statement = None
    if statement is None or not _is_signed(statement, keys, where):
        statement = _asked(storage, memory, model, version)
    if expected and statement.sha256 != expected:
        raise ChecksumError(f"{where} is not the one that the alias was given; it was swapped: {storage.address}")
    check_signed(statement, keys, where)
    manifest = manifest_in(statement, model, version)
    memory.remember_statement(model, version, statement)
    return Resolved(manifest=manifest, statement=statement)


def _asked(storage: Storage, memory: Memory, model: str, version: int) -> Statement:
    try:
        statement = read_statement(storage, model, version)
    except WithdrawnError:
        memory.remember_withdrawn(model, version)
        raise
    memory.forget_withdrawn(model, version)
    return statement


def _is_signed(statement: Statement, keys: frozenset[str], where: str) -> bool:
    try:
        check_signed(statement, keys, where)
    except SignatureError:
        return False  # it may have been signed since it was seen
    return True
