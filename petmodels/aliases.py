"""Aliases: names such as `production` that move from version to version and remember every step.

An alias is one document of lines, oldest first; each line is a statement that carries the hash of the line before it.
Here is what these lines say, and how a document is read and checked; `petmodels.promotion` adds steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from petmodels.documents import FORMAT, Statement, dump, load_payload, load_statement
from petmodels.errors import FormatError, NotFoundError
from petmodels.forms import is_id, is_time, new_id, now
from petmodels.names import LAST_VERSION, alias_key, check_alias, check_model, is_alias, is_sha256
from petmodels.storage import NotStoredError, Storage
from petmodels.versions import newest_version, no_model

LONGEST_ALIAS_BYTES = 32 * 2**20
PROMOTE, ROLLBACK = "promote", "rollback"
_KEYS = {"format", "model", "alias", "serial", "action", "version", "manifest", "previous", "at", "note", "id"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of an alias: from `at` (UTC) on it named `version`, whose manifest's payload has the hash `manifest`.

    Steps are numbered from 1 by `serial`; `previous` is the hash of the step before, "" for the first; `sha256` is the
    step's own hash.
    """

    serial: int
    action: str
    version: int
    manifest: str
    previous: str
    at: str
    note: str
    id: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Alias:
    """An alias as it is now, with its whole history, oldest step first; never empty."""

    model: str
    name: str
    steps: tuple[Step, ...]

    @property
    def version(self) -> int:
        """The version that the alias names now."""
        return self.steps[-1].version

    def before(self) -> Step | None:
        """Return the step whose version a rollback goes back to: promotions pile up, a rollback takes the top away."""
        pile: list[Step] = []
        for step in self.steps:
            if step.action == ROLLBACK:
                pile.pop()
            else:
                pile.append(step)
        return pile[-2] if len(pile) > 1 else None


def read_alias(storage: Storage, model: str, name: str) -> tuple[Alias, bytes, str]:
    """Return an alias, the document's bytes and its change mark; raise NotFoundError when there is none."""
    with _told_if_absent(storage, model, name):
        data, etag = storage.read(alias_key(check_model(model), check_alias(name)), LONGEST_ALIAS_BYTES)
    return alias_in(data, model, name), data, etag


def moved_alias(storage: Storage, model: str, name: str, etag: str) -> tuple[Alias, bytes, str] | None:
    """Return what `read_alias` does, None when the store says that the document still carries this change mark."""
    with _told_if_absent(storage, model, name):
        found = storage.read_changed(alias_key(check_model(model), check_alias(name)), LONGEST_ALIAS_BYTES, etag)
    return found and (alias_in(found[0], model, name), *found)


def alias_in(data: bytes, model: str, name: str) -> Alias:
    """Return the alias in a document; raise FormatError unless it is an unbroken chain for this model and name."""
    where = f"the history of {model}@{name}"
    if len(data) > LONGEST_ALIAS_BYTES:
        raise FormatError(f"{where} is larger than {LONGEST_ALIAS_BYTES} bytes; refused unread")
    steps: list[Step] = []
    pile: list[Step] = []
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        step = _step(load_statement(line, where), model, name, where)
        expected = (len(steps) + 1, steps[-1].sha256 if steps else "")
        if (step.serial, step.previous) != expected:
            raise FormatError(f"{where} is broken: step {len(steps) + 1} does not follow the one before it")
        _pile_up(pile, step, where)
        steps.append(step)
    if not steps:
        raise FormatError(f"{where} is empty")
    return Alias(model=model, name=name, steps=tuple(steps))


def last_step_in(data: bytes, model: str, name: str) -> Step:
    """Return the last step of a document that `alias_in` has taken before; no other one is read."""
    line = data.removesuffix(b"\n").rpartition(b"\n")[2]
    where = f"the history of {model}@{name}"
    return _step(load_statement(line, where), model, name, where)


def next_step(model: str, name: str, alias: Alias | None, move: tuple[str, int, str], message: str) -> Statement:
    """Return the statement that adds a step, taken now, to an alias as it is (None when it has no step yet).

    `move` is what the step does (PROMOTE or ROLLBACK), the version, and the hash of its manifest's payload.
    """
    action, version, manifest = move
    last = alias.steps[-1] if alias else None
    place = {"serial": last.serial + 1 if last else 1, "action": action, "version": version, "manifest": manifest}
    rest = {"previous": last.sha256 if last else "", "at": now(), "note": message, "id": new_id()}
    return Statement(dump({"format": FORMAT, "model": model, "alias": name, **place, **rest}))


def alias_names(storage: Storage, model: str) -> list[str]:
    """Return the names of a model's aliases, in order; an object that nobody could ask for by a name is none."""
    prefix = f"{check_model(model)}/aliases/"
    names = [
        stored.key.removeprefix(prefix).removesuffix(".jsonl")
        for stored in storage.list(prefix)
        if stored.key.endswith(".jsonl")
    ]
    return [name for name in names if is_alias(name)]


def _step(statement: Statement, model: str, name: str, where: str) -> Step:
    content: dict[str, Any] = load_payload(statement, where)
    if set(content) != _KEYS:
        raise FormatError(f"{where} holds a step that lacks or adds keys")
    if (content["model"], content["alias"]) != (model, name):
        raise FormatError(f"{where} is another alias's: {str(content['model'])[:64]}@{str(content['alias'])[:64]}")
    texts = [content[key] for key in ("at", "note", "id", "previous")]
    numbers = [content[key] for key in ("serial", "version")]
    if not all(isinstance(one, str) for one in texts) or not all(type(one) is int and one > 0 for one in numbers):
        raise FormatError(f"{where} holds a step with something else than texts and numbers")
    if content["version"] > LAST_VERSION:
        raise FormatError(f"{where} names a version that can't be: {str(content['version'])[:40]}")
    if not is_id(content["id"]):
        raise FormatError(f"{where} has an id that is not 32 hexadecimal digits: {content['id'][:40]!r}")
    if not is_time(content["at"]):
        raise FormatError(f"{where} holds a time that can't be: {content['at'][:40]!r}")
    if content["action"] not in (PROMOTE, ROLLBACK) or not is_sha256(content["manifest"]):
        raise FormatError(f"{where} holds a step that does something unknown")
    kept = {key: content[key] for key in _KEYS - {"format", "model", "alias"}}
    return Step(**kept, sha256=statement.sha256)


def _pile_up(pile: list[Step], step: Step, where: str) -> None:
    """Put a promotion on the pile of those that still count, or take away the one that a rollback undoes."""
    if step.action == PROMOTE:
        pile.append(step)
        return
    del pile[-1:]
    if not pile:
        raise FormatError(f"{where} is broken: step {step.serial} rolls back to nothing")
    if (step.version, step.manifest) != (pile[-1].version, pile[-1].manifest):
        raise FormatError(
            f"{where} is broken: step {step.serial} rolls back to another version than was promoted before"
        )


@contextmanager
def _told_if_absent(storage: Storage, model: str, name: str) -> Iterator[None]:
    try:
        yield
    except NotStoredError as error:
        raise NotFoundError(_absent(storage, model, name)) from error


def _absent(storage: Storage, model: str, name: str) -> str:
    names = alias_names(storage, model)
    if not names and newest_version(storage, model) is None:
        return str(no_model(storage, model))
    if names and len(names) < 10:
        return f"{model} has no alias {name}; it has: {', '.join(names)}"
    return f"{model} has no alias {name}; petmodels promote {model}@VERSION {name} makes it"
