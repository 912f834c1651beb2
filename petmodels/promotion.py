"""Move an alias to another version: promote it, or roll it back to what it named before.

Reads the alias and the version's manifest; leaves one more step in the alias's document, which is replaced only if it
is still the one that was read, so that no step is ever lost. A note keeps prune off the version meanwhile.
"""

import random
import time
from collections.abc import Callable

from petmodels.aliases import LONGEST_ALIAS_BYTES, PROMOTE, ROLLBACK, Alias, alias_in, next_step
from petmodels.errors import ChecksumError, ConflictError, NotFoundError, RequestError, WithdrawnError
from petmodels.memory import Memory
from petmodels.names import alias_key, check_alias
from petmodels.notes import INTENTS, OpenNote, note, prunes_at_work
from petmodels.resolve import Resolved, remembered_alias
from petmodels.signing import check_signed, trusted_keys
from petmodels.storage import Storage
from petmodels.versions import read_statement

LONGEST_MESSAGE_BYTES = 10_000
_TRIES = 100


def promote(
    storage: Storage, memory: Memory, found: Resolved, name: str, message: str = "", *, over: int | None = None
) -> Alias:
    """Make an alias name a version; when it already does, nothing is written.

    With `over`, it does so only in the place of that version, or of none for 0. Raises NotFoundError when there is no
    such version, ConflictError when the alias names another than `over`, or a prune is about to delete the version, and
    TrustError's kinds when the store holds another manifest than was `found`, or an older alias than was seen.
    """
    check_alias(name)
    model, version, manifest = found.manifest.model, found.manifest.version, found.statement.sha256

    def forward(alias: Alias | None) -> tuple[str, int, str]:
        intent.check_valid()
        now = alias.version if alias else 0
        if over is not None and now not in {over, version}:
            names = f"names {model}@{now}" if now else "names nothing yet"
            wanted = f"{model}@{over}" if over else "nothing"
            raise ConflictError(f"{model}@{name} {names}, and not {wanted}; look at petmodels history {model}")
        return PROMOTE, version, manifest

    with note(storage, model, INTENTS, versions=[version]) as intent:
        _check_not_condemned(storage, intent, version)
        _check_same(storage, model, version, manifest)
        return _moved(storage, memory, (model, name), forward, message)


def rollback(storage: Storage, memory: Memory, model: str, name: str, message: str = "") -> Alias:
    """Make an alias name what it named before the last promotion that still counts.

    Raises NotFoundError when there is nothing to go back to or it was pruned, WithdrawnError when it was withdrawn,
    ConflictError when the alias is moved by somebody else at the same time: what would be undone is then no longer what
    was looked at. TrustError's kinds as for `promote`.
    """
    seen, _, _ = remembered_alias(storage, memory, model, name)
    target = seen.before()
    if target is None:
        raise NotFoundError(f"{model}@{name} never named another version to go back to; it names: {seen.version}")

    def back(alias: Alias | None) -> tuple[str, int, str]:
        intent.check_valid()
        if alias is None or alias.steps[-1] != seen.steps[-1]:
            raise ConflictError(f"somebody moved it meanwhile; look at petmodels history {model}, run again: {name}")
        return ROLLBACK, target.version, target.manifest

    with note(storage, model, INTENTS, versions=[target.version]) as intent:
        _check_not_condemned(storage, intent, target.version)
        try:
            _check_same(storage, model, target.version, target.manifest)
        except WithdrawnError as error:
            raise WithdrawnError(f"{error}, then petmodels promote {model}@VERSION {name}") from error
        return _moved(storage, memory, (model, name), back, message)


def _check_not_condemned(storage: Storage, intent: OpenNote, version: int) -> None:
    if any(version in found.versions for found in prunes_at_work(storage, intent)):
        raise ConflictError(f"a prune is deleting this version; promote a newer one: {intent.model}@{version}")


def _check_same(storage: Storage, model: str, version: int, manifest: str) -> None:
    """Raise unless the stored manifest is the expected one, signed as this machine demands: an alias vouches for it."""
    statement, where = read_statement(storage, model, version), f"the manifest of {model}@{version}"
    if statement.sha256 != manifest:
        raise ChecksumError(f"{where} is not the one that was seen before; it was swapped: {storage.address}")
    check_signed(statement, trusted_keys(), where)


def _moved(
    storage: Storage, memory: Memory, place: tuple[str, str], decide: Callable[[Alias | None], tuple[str, int, str]],
    message: str,
) -> Alias:  # fmt: skip
    model, name = place
    check_message(message)
    for attempt in range(_TRIES):
        alias, data, etag = _read_or_none(storage, memory, model, name)
        move = decide(alias)
        if alias and move[:2] == (PROMOTE, alias.version):
            return alias
        before = data if data.endswith(b"\n") or not data else data + b"\n"
        new = before + next_step(model, name, alias, move, message).to_bytes()
        if len(new) > LONGEST_ALIAS_BYTES:
            full = f"this history is full at {LONGEST_ALIAS_BYTES} bytes; promote to an alias of another name"
            raise RequestError(f"{full}: {model}@{name}")
        moved = alias_in(new, model, name)  # what no reader would take is not written
        key = alias_key(model, name)
        if storage.replace(key, new, etag) if etag else storage.create(key, new):
            return moved
        time.sleep(random.uniform(0, min(0.01 * 2**attempt, 1)))
    raise ConflictError(f"others moved it {_TRIES} times while we tried; run again: {model}@{name}")


def check_message(message: str) -> None:
    """Raise RequestError for what an alias's or a tombstone's reader need not take."""
    try:
        size = len(message.encode())
    except UnicodeEncodeError as error:
        raise RequestError(f"the message holds bytes that are no text: {message[:60]!r}") from error
    if size > LONGEST_MESSAGE_BYTES:
        raise RequestError(f"a message is at most {LONGEST_MESSAGE_BYTES} bytes long; this one has: {size}")


def _read_or_none(storage: Storage, memory: Memory, model: str, name: str) -> tuple[Alias | None, bytes, str]:
    try:
        return remembered_alias(storage, memory, model, name)
    except NotFoundError:
        return None, b"", ""
