"""The tombstone: what is left of a version that was withdrawn, in its manifest's place, so that its number stays taken.

It names what was there by its hash, and no file of it. It needs no signature: all that it can bring about is a refusal.
"""

from dataclasses import dataclass
from typing import Any

from petmodels.documents import Statement, dump, load_object
from petmodels.errors import BrokenTombstoneError, FormatError, WithdrawnError
from petmodels.forms import is_id, is_time
from petmodels.manifest import Parent, parent_in
from petmodels.names import is_sha256

# A reader of format 1 alone refuses it as a newer format, in one line.
TOMBSTONE_FORMAT = 2
_KEYS = {"format", "model", "version", "id", "withdrawn", "reason", "manifest", "parent"}
_MOST_BYTES = 2**16
_LONGEST_TOLD = 200


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """A version that was withdrawn: when (UTC, by the clock of who did), and why.

    `manifest` is the hash of the payload that was there, by which aliases and the next version still know it; `parent`
    is what that manifest named as its own.
    """

    model: str
    version: int
    id: str
    withdrawn: str
    reason: str
    manifest: str
    parent: Parent | None

    @property
    def name(self) -> str:
        """What people called it: `pets@7`."""
        return f"{self.model}@{self.version}"

    @property
    def told(self) -> str:
        """What there is to say of it, in one line: `withdrawn on 2026-11-20: a photograph's owner asked for it`."""
        reason = " ".join(self.reason.split())
        short = reason if len(reason) <= _LONGEST_TOLD else f"{reason[:_LONGEST_TOLD]}…"
        return f"withdrawn on {self.withdrawn[:10]}: {short}"

    def error(self) -> WithdrawnError:
        """Return the error that whoever asks for the version gets."""
        return WithdrawnError(f"{self.name} was {self.told}; petmodels list {self.model} says what is left")

    def to_statement(self) -> Statement:
        """Return the statement that is stored."""
        head = {"format": TOMBSTONE_FORMAT, "model": self.model, "version": self.version, "id": self.id}
        parent = {"version": self.parent.version, "sha256": self.parent.sha256} if self.parent else None
        facts = {"withdrawn": self.withdrawn, "reason": self.reason, "manifest": self.manifest, "parent": parent}
        return Statement(dump({**head, **facts}))


def tombstone_in(statement: Statement, model: str, version: int) -> Tombstone | None:
    """Return the tombstone of `model` number `version` in a statement, None when the statement holds something else.

    Raises BrokenTombstoneError for one that another reader could understand differently, FormatError for what is no
    JSON object at all.
    """
    if len(statement.payload.encode()) > _MOST_BYTES:  # so that no large manifest is parsed twice
        return None
    where = f"the manifest of {model}@{version}"
    content = load_object(statement.payload, where)
    if type(content.get("format")) is not int or content["format"] != TOMBSTONE_FORMAT:
        return None
    if "withdrawn" not in content:
        return None  # a manifest with another format's number, which a repair puts back
    try:
        _check(content, model, version, where)
        parent = parent_in(content["parent"], where)
    except FormatError as error:
        raise BrokenTombstoneError(str(error)) from error
    kept = {key: content[key] for key in ("id", "withdrawn", "reason", "manifest")}
    return Tombstone(model=model, version=version, parent=parent, **kept)


def _check(content: dict[str, Any], model: str, version: int, where: str) -> None:
    if set(content) != _KEYS:
        raise FormatError(f"{where}, which was withdrawn, lacks or adds keys: {', '.join(set(content) ^ _KEYS)[:200]}")
    if (content["model"], content["version"]) != (model, version) or type(content["version"]) is not int:
        raise FormatError(f"{where} is another version's: {str(content['model'])[:64]}@{str(content['version'])[:20]}")
    if not isinstance(content["reason"], str):
        raise FormatError(f"{where} was withdrawn for a reason that is no text")
    if not is_id(content["id"]) or not is_time(content["withdrawn"]) or not is_sha256(content["manifest"]):
        raise FormatError(f"{where} was withdrawn with an id, time or hash that can't be")
