"""Carry a training's checkpoints to a place that every machine reaches, so that another one goes on from them.

Reads `build/checkpoints` of a workspace and the place beside the DVC remote; leaves there one object a training, which
goes when the training is done. DVC can't do this: a checkpoint is no output of a stage that hasn't ended.
"""

import contextvars
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows.children import Tell
from flows.errors import RequestError
from flows.workspace import Workspace
from petmodels.errors import ChecksumError, PetmodelsError
from petmodels.hashing import digest_of, no_progress, sha256_of
from petmodels.storage import NotStoredError, Storage, Stored, open_storage

FOLDER = Path("build/checkpoints")
POLL_SECONDS = 1.0
LEFT_SECONDS = 30 * 86_400.0  # so old a checkpoint of a training that was killed has been overtaken by other images


def training_id(settings: object, *inputs: str) -> str:
    """Return a name for one training: equal on every machine that is asked for the same.

    `settings` is params.yaml's section as it was read; other sections, comments and spelling train nothing else.
    Raises RequestError for a key that is no text.
    """
    try:
        texts = (json.dumps(settings, sort_keys=True, default=str), *inputs)
    except TypeError as error:
        raise RequestError("params.yaml: train: a key is no text; put it in quotes") from error
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


@contextmanager
def carried(address: str, name: str, w: Workspace) -> Iterator[None]:
    """Fetch the last checkpoint of the training `name`, send each new one while the block runs, and clear up after it.

    A place that fails for a while costs a warning and no training: the next checkpoint is sent instead.
    """
    courier = _Courier(open_storage(address), f"{name}/", w.folder / FOLDER, w.tell)
    courier.look()
    courier.may_fail(courier.fetch)
    context = contextvars.copy_context()  # which run's log `tell` writes to
    sender = threading.Thread(target=context.run, args=(courier.send_until_done,), name="checkpoints", daemon=True)
    sender.start()
    try:
        yield
    except BaseException:
        courier.done.set()
        sender.join()
        courier.send_new()
        raise
    courier.done.set()
    sender.join()
    courier.clear_here()
    courier.may_fail(courier.clear)


@dataclass
class _Courier:
    """Moves the files of one training; what lies at the place is `<training>/<file>.<sha256>`."""

    storage: Storage
    prefix: str
    folder: Path
    tell: Tell
    done: threading.Event = field(default_factory=threading.Event)
    sent: dict[str, tuple[int, int]] = field(default_factory=dict)
    fetched: set[Path] = field(default_factory=set)

    def may_fail(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PetmodelsError as error:
            self.tell(f"checkpoints can't be kept for other machines now; training goes on without: {error}")

    def look(self) -> None:
        """Know what other trainings have left here, which isn't sent, and remove what nobody goes on with any more."""
        for path in self.folder.glob("[!.]*"):
            with suppress(OSError):  # somebody else's, or gone meanwhile
                self.sent[path.name] = _mark(path)
                if path.is_file() and path.stat().st_mtime < time.time() - LEFT_SECONDS:
                    path.unlink()

    def fetch(self) -> None:
        """Fetch the newest of each file; one of another training, left in some machine's folder, hides none."""
        newest = {}
        for stored in sorted(self.storage.list(self.prefix), key=lambda stored: stored.modified):
            newest[stored.key.rpartition(".")[0]] = stored
        for stored in newest.values():
            self._fetch(stored)

    def _fetch(self, newest: Stored) -> None:
        file, _, sha256 = newest.key.removeprefix(self.prefix).rpartition(".")
        target = self.folder / Path(file).name
        if target.exists() and (sha256_of(target) == sha256 or target.stat().st_mtime > newest.modified.timestamp()):
            self.sent.pop(target.name, None)  # it was made here, after the last one that could be sent perhaps
            return
        self._download(newest, target, sha256)
        self.fetched.add(target)
        self.tell(f"a checkpoint of this training was found and fetched: {newest.size_bytes / 1e6:.1f} MB")

    def send_until_done(self) -> None:
        while not self.done.wait(POLL_SECONDS):
            self.send_new()

    def send_new(self) -> None:
        for path in sorted(self.folder.glob("[!.]*")):
            try:
                self._send(path)
            except FileNotFoundError:
                continue  # the training ended meanwhile and removed it
            except PetmodelsError as error:
                self.tell(f"a checkpoint could not be sent, the next one may be: {error}")

    def clear_here(self) -> None:
        """Remove what was fetched, which a stage that another machine has run meanwhile leaves where it is."""
        for path in self.fetched:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        for stored in list(self.storage.list(self.prefix)):
            self.storage.delete(stored.key)

    def _send(self, path: Path) -> None:
        mark = _mark(path)
        if self.sent.get(path.name) == mark:
            return
        digest = digest_of(path)
        key = f"{self.prefix}{path.name}.{digest.sha256}"
        if self.storage.find(key) is None:
            self.storage.upload(key, path, digest, no_progress)
        self.sent[path.name] = mark
        for older in list(self.storage.list(self.prefix)):
            if older.key.startswith(f"{self.prefix}{path.name}.") and older.key != key:
                self.storage.delete(older.key)

    def _download(self, stored: Stored, target: Path, sha256: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("wb") as file:
                for piece in self.storage.download(stored.key, 0, stored.size_bytes):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())  # after a power cut an empty one would be the newest, and be sent
            if sha256_of(partial) != sha256:
                raise ChecksumError(f"a checkpoint's bytes are not those that were sent: {stored.key}")
            partial.replace(target)
        except (NotStoredError, ChecksumError) as error:
            self.tell(f"no checkpoint to go on from ({error}); training begins anew")
        finally:
            partial.unlink(missing_ok=True)


def _mark(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written anew."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size
