"""Notes that writers leave for each other in the registry, so that prune never takes what somebody is about to use.

The rule, which needs no clock and no waiting (docs/registry-format.md has the proof):

1. who publishes or promotes first writes an *intent* that names the blobs and the version it counts on, and only then
   reads the *prune notes*: what one of these condemns counts as absent, it is uploaded again under another name;
2. who prunes first writes a *prune note* that condemns versions and blobs, and only then reads the intents, the
   aliases and the manifests: what one of these names is spared;
3. who withdraws a version condemns it like a pruner, in a note that says so, and then reads the other notes and the
   aliases: where one names the version, it stays; who prunes leaves a version alone that such a note names;
4. who publishes says in the intent which version was the newest, and then looks again: who prunes spares all that are
   newer than an intent's, so that a number which a publisher still tries for can't be taken, freed, and given twice.

Whichever of the two wrote its note later sees the other's. A note whose writer was killed stays until a prune finds it
older than a day by the store's clock; a writer stops by itself after half a day, before its note can be taken for one.
Nobody reads a note of that age, so that one which can't be read stops the others for a day and not for good.
"""

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from petmodels.documents import FORMAT, check_format, dump, load_object
from petmodels.errors import ConflictError, FormatError, PetmodelsError
from petmodels.names import is_sha256
from petmodels.storage import NotStoredError, Storage, Stored

INTENTS, PRUNES = "intents", "prunes"
LONGEST_NOTE_BYTES = 4 * 2**20
MOST_NAMED = 49_000  # in a note, of blobs and versions: with its quotes and comma a blob's longest name has 84 bytes
GRACE_HOURS = 24.0
_VALID_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Note:
    """What a writer said it counts on, or condemns; `withdraws` is said of a version that gets a tombstone."""

    key: str
    written: datetime
    versions: frozenset[int]
    blobs: frozenset[str]
    newest: int | None
    withdraws: bool = False


class OpenNote:
    """A note that is written and not yet taken away."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.model = key.partition("/")[0]
        self._begun = _clocks()

    def check_valid(self) -> None:
        """Raise ConflictError when so much time has passed that a prune may have taken the note for a dead one."""
        if max(now - begun for now, begun in zip(_clocks(), self._begun, strict=True)) > _VALID_SECONDS:
            raise ConflictError(f"this took more than {_VALID_SECONDS // 3600} hours; run it again: {self.key}")


@contextmanager
def note(
    storage: Storage,
    model: str,
    kind: str,
    *,
    versions: Iterable[int] = (),
    blobs: Iterable[str] = (),
    newest: int | None = None,
    withdraws: bool = False,
) -> Iterator[OpenNote]:
    """Keep a note of `kind` (INTENTS or PRUNES) in the registry while the block runs."""
    key = f"{model}/{kind}/{secrets.token_hex(8)}.json"
    opened = OpenNote(key)
    content = {"format": FORMAT, "versions": sorted(versions), "blobs": sorted(blobs), "newest": newest}
    content |= {"withdraws": True} if withdraws else {}
    storage.create(key, (dump(content) + "\n").encode())
    try:
        yield opened
    finally:
        take_away(storage, key)


def _clocks() -> tuple[float, float]:
    """Return two clocks in seconds: one that nobody sets, and one that goes on while the machine sleeps."""
    return time.monotonic(), time.time()


def take_away(storage: Storage, key: str) -> None:
    """Remove a note; one that can't be removed now does no harm, and prune frees it."""
    try:
        storage.delete(key)
    except PetmodelsError:
        return


def stored_notes(storage: Storage, model: str, kind: str) -> list[Stored]:
    """Return which notes of `kind` there are, and since when by the store's clock, in the order of their keys."""
    return list(storage.list(f"{model}/{kind}/"))


def read_notes(storage: Storage, listed: Iterable[Stored]) -> list[Note]:
    """Return what some notes say, but for those that are gone meanwhile; FormatError for one that can't be read."""
    found = []
    for stored in listed:
        try:
            data, _ = storage.read(stored.key, LONGEST_NOTE_BYTES)
        except NotStoredError:
            continue  # its writer is done
        found.append(_note(stored.key, stored.modified, data))
    return found


def time_of(storage: Storage, opened: OpenNote) -> datetime:
    """Return what the store's clock says: when it wrote a pruner's own note. This machine's may be off."""
    for found in stored_notes(storage, opened.model, PRUNES):  # a store tells a listed object's time to the millisecond
        if found.key == opened.key:
            return found.modified
    raise ConflictError(f"another prune took this one's note away; wait for it and run again: {opened.key}")


def others_since(storage: Storage, opened: OpenNote, kind: str, limit: datetime) -> list[Note]:
    """Return the notes of a kind that others have left after `limit`; asked only after one's own is written."""
    listed = stored_notes(storage, opened.model, kind)
    return read_notes(storage, [one for one in listed if one.modified > limit and one.key != opened.key])


def prunes_at_work(storage: Storage, intent: OpenNote) -> list[Note]:
    """Return what prunes are about to delete that may be at work; asked only after one's own intent is written.

    The time at which the store wrote the intent is what its clock says now; this machine's may be off.
    """
    listed = stored_notes(storage, intent.model, PRUNES)
    own = storage.find(intent.key) if listed else None
    living = [one for one in listed if own is None or one.modified > own.modified - timedelta(hours=GRACE_HOURS)]
    return read_notes(storage, living)


def condemned_blobs(storage: Storage, intent: OpenNote) -> frozenset[str]:
    """Return the blobs that a prune is about to delete; asked only after one's own intent is written."""
    return frozenset(blob for found in prunes_at_work(storage, intent) for blob in found.blobs)


def _note(key: str, written: datetime, data: bytes) -> Note:
    content = load_object(data, key)
    check_format(content, key)
    versions, blobs = content.get("versions"), content.get("blobs")
    if not isinstance(versions, list) or not all(type(one) is int for one in versions):
        raise FormatError(f"the note lists no versions: {key}")
    if not isinstance(blobs, list) or not all(isinstance(one, str) and is_sha256(one[:64]) for one in blobs):
        raise FormatError(f"the note lists no blobs: {key}")
    newest = content.get("newest")
    if newest is not None and type(newest) is not int:
        raise FormatError(f"the note gives a newest version that is no number: {key}")
    return Note(key, written, frozenset(versions), frozenset(blobs), newest, content.get("withdraws") is True)
