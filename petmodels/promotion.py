"""Move an alias to another version: promote it, or roll it back to what it named before.

Reads the alias and the version's manifest; leaves one more step in the alias's document, which is replaced only if it
is still the one that was read, so that no step is ever lost. A note keeps prune off the version meanwhile.
"""

import random
import time
from collections.abc import Callable

from petmodels.aliases import LONGEST_ALIAS_BYTES, PROMOTE, ROLLBACK, Alias, alias_in, next_step, read_alias
from petmodels.errors import ConflictError, NotFoundError
from petmodels.names import alias_key, check_alias
from petmodels.notes import INTENTS, PRUNES, note, notes
from petmodels.storage import NotStoredError, Storage
from petmodels.versions import read_statement

_TRIES = 100


def promote(
    storage: Storage, model: str, version: int, name: str, message: str = "", *, over: int | None = None
) -> Alias:
    """Make an alias name a version; when it already does, nothing is written.

    With `over`, it does so only in the place of that version, or of none for 0. Raises NotFoundError when there is no
    such version, ConflictError when the alias names another than `over`, or a prune is about to delete the version.
    """
    check_alias(name)

    def forward(alias: Alias | None) -> tuple[str, int, str]:
        now = alias.version if alias else 0
        if over is not None and now not in {over, version}:
            names = f"names {model}@{now}" if now else "names nothing yet"
            wanted = f"{model}@{over}" if over else "nothing"
            raise ConflictError(f"{model}@{name} {names}, and not {wanted}; look at petmodels history {model}")
        return PROMOTE, version, manifest

    with note(storage, model, INTENTS, versions=[version]):
        _check_not_condemned(storage, model, version)
        manifest = read_statement(storage, model, version).sha256
        return _moved(storage, model, name, forward, message)


def rollback(storage: Storage, model: str, name: str, message: str = "") -> Alias:
    """Make an alias name what it named before the last promotion that still counts.

    Raises NotFoundError when there is nothing to go back to or it was pruned, ConflictError when the alias is moved by
    somebody else at the same time: what would be undone is then no longer what was looked at.
    """
    seen, _, _ = read_alias(storage, model, name)
    target = seen.before()
    if target is None:
        raise NotFoundError(f"{model}@{name} never named another version to go back to; it names: {seen.version}")

    def back(alias: Alias | None) -> tuple[str, int, str]:
        if alias is None or alias.steps[-1] != seen.steps[-1]:
            raise ConflictError(f"somebody moved it meanwhile; look at petmodels history {model}, run again: {name}")
        return ROLLBACK, target.version, target.manifest

    with note(storage, model, INTENTS, versions=[target.version]):
        _check_not_condemned(storage, model, target.version)
        read_statement(storage, model, target.version)
        return _moved(storage, model, name, back, message)


def _check_not_condemned(storage: Storage, model: str, version: int) -> None:
    if any(version in found.versions for found in notes(storage, model, PRUNES)):
        raise ConflictError(f"a prune is deleting this version; promote a newer one: {model}@{version}")


def _moved(
    storage: Storage, model: str, name: str, decide: Callable[[Alias | None], tuple[str, int, str]], message: str
) -> Alias:
    for attempt in range(_TRIES):
        alias, data, etag = _read_or_none(storage, model, name)
        move = decide(alias)
        if alias and move[:2] == (PROMOTE, alias.version):
            return alias
        new = data + next_step(model, name, alias, move, message).to_bytes()
        key = alias_key(model, name)
        if storage.replace(key, new, etag) if etag else storage.create(key, new):
            return alias_in(new, model, name)
        time.sleep(random.uniform(0, min(0.01 * 2**attempt, 1)))
    raise ConflictError(f"others moved it {_TRIES} times while we tried; run again: {model}@{name}")


def _read_or_none(storage: Storage, model: str, name: str) -> tuple[Alias | None, bytes, str]:
    try:
        data, etag = storage.read(alias_key(model, name), LONGEST_ALIAS_BYTES)
    except NotStoredError:
        return None, b"", ""
    return alias_in(data, model, name), data, etag
