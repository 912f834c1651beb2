"""The drop: where people leave photographs, as `<label>/<file>` or `<file>`, in a bucket or a folder.

Below `accepted/` and `quarantine/` of the same place ingest keeps what it took from there, under names that follow from
the bytes. A dropped file is deleted only when its bytes are known to be in one of the two; so nothing is ever lost.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from flows.dropped import Dropped, in_folder, name_of
from flows.errors import RemoteError, SettingsError
from petmodels.errors import AddressError
from petmodels.hashing import digest_of, no_progress
from petmodels.storage import NotStoredError, open_storage

ACCEPTED, QUARANTINE = "accepted", "quarantine"
_REASON = "reason.json"
_LONGEST_REASON_BYTES = 2**20
_LONGEST_NAME_BYTES = 100  # below quarantine; a folder's store takes 230 or so, S3 what is left of a key's 1024
_LONGEST_SUFFIX_BYTES = 10
_KEPT = re.compile(rf"{ACCEPTED}/[0-9a-f]{{64}}\.[\w.]+")


@dataclass(frozen=True)
class Listing:
    """What lay in the drop: what waits there, and the names of the images below accepted/.

    `young` are those of them that were kept so lately that their rows may still be on their way. Where that folder is a
    link, or closed to this worker, it is among what waits, and nobody knows what is in it: not `is_known`.
    """

    waiting: list[Dropped]
    accepted: Set[str]
    young: Set[str]
    is_known: bool = True


class Drop:
    """The drop at an address; PetmodelsError's kinds and RemoteError are all that its methods raise, but where said."""

    def __init__(self, address: str) -> None:
        if not address:
            raise SettingsError("where photographs are dropped isn't said; set PETMODELS_DROP, e.g. s3://bucket/drop")
        try:
            self._storage = open_storage(address)
        except AddressError as error:
            raise SettingsError(f"PETMODELS_DROP: {error}") from error
        self.address = self._storage.address
        if "://" not in self.address and not Path(self.address).is_dir():
            raise RemoteError(f"PETMODELS_DROP: no such folder; make it, or mount what it is on: {self.address}")

    def listing(self, min_age_seconds: float) -> Listing:
        """Return what was dropped, in the order of the keys, but for what is younger than that, and what is kept.

        A younger file may still be on its way: a copy into a folder shows before it is whole. In a bucket this is one
        request for every thousand objects, whatever they are; what is kept costs none besides.
        """
        youngest = datetime.now(UTC) - timedelta(seconds=min_age_seconds)
        found = {one.key: one for one in self._all()}
        waiting = [found[key] for key in sorted(found) if _is_ours(key) and found[key].stored.modified <= youngest]
        kept = [one for key, one in found.items() if _KEPT.fullmatch(key)]
        young = {one.name for one in kept if one.stored.modified > youngest}
        is_known = ACCEPTED not in found or not found[ACCEPTED].unfit
        return Listing(waiting, frozenset(one.name for one in kept), frozenset(young), is_known)

    def fetch(self, dropped: Dropped, path: Path) -> str | None:
        """Write the file's bytes to `path` and return their SHA-256, None when somebody has taken it meanwhile."""
        sha256 = hashlib.sha256()
        try:
            with path.open("wb") as file:
                for piece in self._storage.download(dropped.key, 0, dropped.stored.size_bytes):
                    sha256.update(piece)
                    file.write(piece)
        except NotStoredError:
            return None
        return sha256.hexdigest()

    def fetch_accepted(self, name: str, path: Path) -> bool:
        """Write an accepted image's bytes to `path`; False when it isn't there, or holds others than its name says."""
        stored = self._storage.find(f"{ACCEPTED}/{name}")
        return stored is not None and self.fetch(Dropped(stored), path) == name.partition(".")[0]

    def accept(self, path: Path, sha256: str, suffix: str) -> str:
        """Keep a file under its content address, and return the address."""
        self._keep(f"{ACCEPTED}/{sha256}.{suffix}", path, sha256)
        return self.content_address(sha256, suffix)

    def content_address(self, sha256: str, suffix: str) -> str:
        """Return where a file with these bytes is kept, if it is."""
        return f"{self.address}/{ACCEPTED}/{sha256}.{suffix}"

    def quarantine(self, dropped: Dropped, path: Path, sha256: str, reason: str) -> str:
        """Keep a file out of the way, with reason.json beside it, which has its whole name, and return its address."""
        name = f"_{_REASON}" if dropped.name == _REASON else _short(dropped.name)
        key = self._keep(f"{QUARANTINE}/{sha256}/{name}", path, sha256)
        self._note(f"{QUARANTINE}/{sha256}/{_REASON}", {"dropped": name_of(dropped.key), "reason": reason})
        return f"{self.address}/{key}"

    def take_away(self, dropped: Dropped, sha256: str, kept: str) -> bool:
        """Delete a dropped file whose bytes are kept at the address `kept`; False when that isn't so (any more).

        It is looked at right before: stores have no deletion under a condition that all of them keep, so a file that
        is replaced in that instant would go.
        """
        if not kept.startswith(f"{self.address}/") or not self._holds(kept.removeprefix(f"{self.address}/"), sha256):
            return False
        now = self._storage.find(dropped.key)
        # A store's ETag tells whether it is another file now; where there is none, the bytes do.
        if now and (now.etag != dropped.stored.etag or not (now.etag or self._holds(dropped.key, sha256))):
            return False
        self._storage.delete(dropped.key)
        return True

    def _all(self) -> Iterator[Dropped]:
        """Yield what lies here, of a folder without what was put aside."""
        if "://" in self.address:
            yield from map(Dropped, self._storage.list(""))
            return
        for folder in ["", *self._folders()]:
            if folder != QUARANTINE:
                yield from in_folder(Path(self.address), folder and f"{folder}/")

    def _folders(self) -> list[str]:
        """Return the names of the folders in a folder, also of those that this worker may not enter."""
        try:
            return [entry.name for entry in os.scandir(self.address) if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise RemoteError(f"PETMODELS_DROP: can't be listed ({error.strerror}): {self.address}") from error

    def _keep(self, key: str, path: Path, sha256: str) -> str:
        if self._storage.find(key) is None:
            self._storage.upload(key, path, digest_of(path, sha256), no_progress)
        elif not self._holds(key, sha256):
            raise RemoteError(f"holds other bytes than its name says; look at it and remove it: {self.address}/{key}")
        return key

    def _holds(self, key: str, sha256: str) -> bool:
        found = self._storage.find(key)
        if found is None or not found.may_be(sha256, found.size_bytes):
            return False
        if found.sha256 and "-" not in found.sha256:
            return True
        whole = hashlib.sha256()
        try:
            for piece in self._storage.download(key, 0, found.size_bytes):
                whole.update(piece)
        except NotStoredError:
            return False  # somebody has taken it away in this instant
        return whole.hexdigest() == sha256

    def _note(self, key: str, entry: dict[str, Any]) -> None:
        """Add an entry to a list in the store, once; another writer's entries stay."""
        while True:
            try:
                data, etag = self._storage.read(key, _LONGEST_REASON_BYTES)
            except NotStoredError:
                if self._storage.create(key, _json([entry])):
                    return
                continue
            if len(data) > _LONGEST_REASON_BYTES:
                return  # thousands of names for the same bytes: one more tells nobody anything
            entries = _entries(data, f"{self.address}/{key}")
            if entry in entries or self._storage.replace(key, _json([*entries, entry]), etag):
                return


def name_at(address: str) -> str:
    """Return the last part of an address: of a kept image `<sha256>.<suffix>`, wherever the drop has moved."""
    return address.rpartition("/")[2]


def _is_ours(key: str) -> bool:
    folder, _, name = key.rpartition("/")
    hidden = any(part.startswith(".") for part in (folder, name))
    return bool(name) and not hidden and "/" not in folder and folder not in {ACCEPTED, QUARANTINE}


def _short(name: str) -> str:
    """Return a file's name, cut before its suffix to what every store takes."""
    suffix = PurePosixPath(name).suffix
    suffix = suffix if _num_bytes(suffix) <= _LONGEST_SUFFIX_BYTES else ""
    stem = name.removesuffix(suffix)
    while _num_bytes(stem + suffix) > _LONGEST_NAME_BYTES:
        stem = stem[:-1]
    return stem + suffix


def _num_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _entries(data: bytes, name: str) -> list[Any]:
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):  # of bytes that are no text, too
        entries = None
    if not isinstance(entries, list):
        raise RemoteError(f"isn't the list of reasons that ingest writes; look at it and remove it: {name}")
    return entries


def _json(entries: list[dict[str, Any]]) -> bytes:
    return (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode()
