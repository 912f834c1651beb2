"""What this machine has seen of a registry, so that nobody can show it an older or another state later.

Kept in the cache: `seen/<registry>/<model>/versions/<n>.json`, the manifest as it was when first read, and
`…/aliases/<name>.jsonl`, the longest history that was ever read, whose time is when it was last confirmed. Beside a
history, `<name>.etag` has the store's change mark of it; beside a manifest, `<n>.withdrawn` says that the version was
withdrawn as it was last asked for. A cache that may only be read, such as one in a container's image, is compared with
and stays as it is.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from petmodels.aliases import Alias, alias_in
from petmodels.disk import reading, writing
from petmodels.documents import Statement, load_statement
from petmodels.endpoint import configured_endpoint
from petmodels.errors import FormatError, ReadOnlyError, ReplayError
from petmodels.locks import lock
from petmodels.marks import etag_in, mark_of


class Memory:
    """The manifests and alias histories of one registry that were read on this machine."""

    def __init__(self, cache_folder: Path, address: str, notice: Callable[[str], None] = lambda _text: None) -> None:
        """Open it; `notice` is told in one line, once, where nothing can be remembered."""
        self.address, self._notice, self._is_told = address, notice, False
        self.folder = cache_folder / "seen" / hashlib.sha256(os.fsencode(_place(address))).hexdigest()[:16]

    def statement(self, model: str, version: int) -> Statement | None:
        """Return the manifest that was first seen of a version, None when none was."""
        data = _read(self._version(model, version))
        try:
            return load_statement(data, f"the remembered manifest of {model}@{version}") if data else None
        except FormatError:
            return None  # a half-written one of an older crash; it is read again

    def check_statement(self, model: str, version: int, statement: Statement) -> Statement | None:
        """Return the manifest that was seen; raise ReplayError when it is another one than this."""
        seen = self.statement(model, version)
        if seen and seen.sha256 != statement.sha256:
            raise ReplayError(
                f"the registry shows another {model}@{version} than this machine has seen; ask who changed it and, "
                f"{self._meant(model)}: {self.address}"
            )
        return seen

    def remember_statement(self, model: str, version: int, statement: Statement) -> None:
        """Keep a manifest; raise ReplayError when another one was seen under this number."""
        seen = self.check_statement(model, version, statement)
        if not seen or seen.signatures != statement.signatures:
            with self._kept_if_it_may_be():
                self._write(self._version(model, version), statement.to_bytes())

    def is_withdrawn(self, model: str, version: int) -> bool:
        """Say whether the registry called the version withdrawn when it was asked: then it is asked each time."""
        return _is_there(self._withdrawn(model, version))

    def remember_withdrawn(self, model: str, version: int) -> None:
        """Keep that a version was withdrawn; its manifest is kept too, so that no other one can take its place."""
        with self._kept_if_it_may_be():
            self._write(self._withdrawn(model, version), b"")

    def models(self) -> list[str]:
        """Return the names of the models of which versions were seen here, in order."""
        return sorted(model for model in _names(self.folder) if self._versions(model))

    def versions(self, model: str) -> list[int]:
        """Return the numbers of a model's versions that were seen here, in order."""
        return sorted(int(name) for name in self._versions(model) if name.isdecimal())

    def newest(self, model: str) -> int:
        """Return the highest number that was seen here, 0 when none was. No prune takes a registry's newest version."""
        return max(self.versions(model), default=0)

    def set_back(self, model: str, newest: int) -> ReplayError:
        """Return what to say of a registry whose newest version (0: none) is older than the newest that was seen."""
        seen, shown = f"{model}@{self.newest(model)}", f"{model}@{newest}" if newest else "none"
        return ReplayError(
            f"this machine has seen {seen}, and the registry's newest version is {shown}; somebody set it back: bring "
            f"the newer state back, or publish --above the highest number that was ever given, or, "
            f"{self._meant(model)}: {self.address}"
        )

    def alias_names(self, model: str) -> list[str]:
        """Return the names of a model's aliases that were seen here, in order."""
        return sorted(_names(self.folder / model / "aliases", ".jsonl"))

    def gone(self, model: str) -> ReplayError:
        """Return what to say of an alias of this model that was seen and isn't there any more."""
        told = f"this machine has seen it, and it is gone; bring it back or, {self._meant(model)}: {self.address}"
        return ReplayError(told)

    def forget_withdrawn(self, model: str, version: int) -> None:
        """Forget it: the registry has the manifest again, or has refused to withdraw it."""
        path = self._withdrawn(model, version)
        if _is_there(path):
            with self._kept_if_it_may_be(), writing(path):
                path.unlink(missing_ok=True)

    def alias(self, model: str, name: str) -> tuple[Alias, float] | None:
        """Return an alias as it was last confirmed, and how many days ago that was; None when it was never seen."""
        path = self._alias(model, name)
        data = _read(path)
        try:
            alias = alias_in(data, model, name)
            with reading(path):
                confirmed = path.stat().st_mtime
        except (FormatError, FileNotFoundError):
            return None  # as with a manifest; who can spoil it could as well delete it
        return alias, max(0.0, time.time() - confirmed) / 86_400

    def marked_alias(self, model: str, name: str) -> tuple[bytes, str]:
        """Return an alias's history and its change mark, as they were last read; the mark is "" when it isn't known."""
        path = self._alias(model, name)
        data = _read(path)
        return data, etag_in(_read(path.with_suffix(".etag")), data)

    def confirm_alias(self, model: str, name: str, seen: tuple[bytes, str]) -> bool:
        """Keep that an alias is now as it was `seen`; False when another process here has seen more meanwhile."""
        if self.marked_alias(model, name) != seen:
            return False
        path = self._alias(model, name)
        with self._kept_if_it_may_be(), writing(path):
            os.utime(path)
        return True

    def remember_alias(self, alias: Alias, data: bytes, etag: str) -> None:
        """Keep an alias's history; raise ReplayError when it is older than, or forks off, what was seen before."""
        self.check_alias(alias, data)
        path = self._alias(alias.model, alias.name)
        with self._kept_if_it_may_be():
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with lock(path.with_suffix(".lock")):
                self.check_alias(alias, data)
                self._write(path, data)
                self._write(path.with_suffix(".etag"), mark_of(data, etag))

    def check_alias(self, alias: Alias, data: bytes) -> None:
        """Raise ReplayError when an alias's history is older than, or forks off, what was seen before."""
        if data.startswith(_read(self._alias(alias.model, alias.name))):
            return  # it goes on from just these bytes, or nothing was seen; to parse them would tell no more
        if seen := self.alias(alias.model, alias.name):
            self._check_goes_on(seen[0], alias)

    def _check_goes_on(self, seen: Alias, shown: Alias) -> None:
        name, last = f"{seen.model}@{seen.name}", seen.steps[-1]
        if len(shown.steps) < len(seen.steps):
            raise ReplayError(
                f"the registry shows an older {name} (step {len(shown.steps)}, {seen.model}@{shown.version}) than this "
                f"machine has seen (step {last.serial}, {seen.model}@{last.version}); somebody rolled the store back: "
                f"bring the newer state back or, {self._meant(seen.model)}: {self.address}"
            )
        if shown.steps[last.serial - 1].sha256 != last.sha256:
            raise ReplayError(
                f"the history of {name} was rewritten at or before step {last.serial}; ask who changed it and, "
                f"{self._meant(seen.model)}: {self.address}"
            )

    def _meant(self, model: str) -> str:
        return f"if it was meant, delete {self.folder / model} on each machine that says this"

    @contextmanager
    def _kept_if_it_may_be(self) -> Iterator[None]:
        try:
            yield
        except ReadOnlyError:
            if not self._is_told:
                self._notice(f"this cache may only be read, so what is seen now isn't remembered: {self.folder}")
            self._is_told = True

    def _versions(self, model: str) -> list[str]:
        return _names(self.folder / model / "versions", ".json")

    def _version(self, model: str, version: int) -> Path:
        return self.folder / model / "versions" / f"{version}.json"

    def _withdrawn(self, model: str, version: int) -> Path:
        return self.folder / model / "versions" / f"{version}.withdrawn"

    def _alias(self, model: str, name: str) -> Path:
        return self.folder / model / "aliases" / f"{name}.jsonl"

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


def _place(address: str) -> str:
    """Return what tells a registry from all others: of S3, the endpoint too, for each has buckets of its own."""
    if not address.startswith("s3://"):
        return address
    endpoint = configured_endpoint()
    return f"{address} {endpoint}" if endpoint else address


def _read(path: Path) -> bytes:
    with reading(path), suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _names(folder: Path, ending: str = "") -> list[str]:
    """Return the names in a folder that end so, without the ending; none where there is no such folder."""
    with reading(folder), suppress(FileNotFoundError, NotADirectoryError):
        return [path.name.removesuffix(ending) for path in folder.iterdir() if path.name.endswith(ending)]
    return []


def _is_there(path: Path) -> bool:
    with reading(path), suppress(FileNotFoundError):
        path.stat()
        return True
    return False
