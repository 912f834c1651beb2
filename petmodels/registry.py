"""The registry: everything that publishers, promoters and consumers do with versions, in one object.

Each method is one step of the modules beside this one; nothing is kept here but where the registry and the cache are.
The module is long because all that can be done with a registry is one method each here, with what to know about it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import petmodels
from petmodels import aliases, promotion, versions
from petmodels.aliases import Alias
from petmodels.bundle import LABELS, is_needed, read_bundle
from petmodels.cache import Cache
from petmodels.diff import Diff, diff
from petmodels.documents import load_object
from petmodels.errors import (
    AddressError,
    ChecksumError,
    FormatError,
    NotFoundError,
    RequestError,
    StoreError,
    TrustError,
    WithdrawnError,
)
from petmodels.hashing import Progress, no_progress
from petmodels.listing import Listed, listing
from petmodels.manifest import Manifest
from petmodels.memory import Memory
from petmodels.names import check_model, spec_of
from petmodels.parallel import at_once
from petmodels.publish import Origin, Published, publish
from petmodels.resolve import Notice, Resolved, remembered_alias, resolve
from petmodels.signing import check_key_file
from petmodels.storage import Storage, open_storage
from petmodels.writable import check_writable, root_document


def tell_the_log(text: str) -> None:
    """Warn by the logger `petmodels`: on stderr, unless the program has set up logging in its own way."""
    import logging

    logging.getLogger("petmodels").warning("%s", text)


class Registry:
    """A registry at `s3://bucket/prefix` or in a folder; at PETMODELS_REGISTRY when no address is given.

    `cache` is a folder, by default PETMODELS_CACHE or the user's cache folder. `notice` is called with one line when
    something should be known but stops nothing, such as an answer from memory while the store can't be reached; by
    default the logger `petmodels` warns. Nothing is read or written before the first method is called. Every method
    raises PetmodelsError's kinds and nothing else. One object serves all threads, and forked processes too. What its
    methods are is public; `cache`, `storage` and `memory` are this package's own, and change without a word.
    """

    def __init__(
        self, address: str | Path | None = None, *, cache: Path | str | None = None, notice: Notice = tell_the_log
    ) -> None:
        self.cache = Cache(cache)  # first, for it says what systems have no registry at all
        self.storage: Storage = open_storage(address)
        self.memory = Memory(self.cache.folder, self.storage.address, notice)
        self._notice = notice
        self._is_writable = False

    def __repr__(self) -> str:
        return f"<petmodels.Registry {self.storage.address}>"

    def publish(
        self, folder: Path | str, model: str, origin: Origin | None = None, *, above: int = 0,
        progress: Progress = no_progress,
    ) -> Published:  # fmt: skip
        """Publish a folder as the next version of `model`; when the newest one is exactly this, return that one.

        With `above`, its number is higher than that too. Killed at any moment it leaves a whole version or none. Raises
        BundleError for a folder that can't be published, RequestError where 99999999, the last number, is taken,
        ReplayError for a registry that is older than what this machine has seen, UnsupportedStoreError for a store that
        can't be written safely.
        """
        origin = origin or Origin()
        check_model(model)
        if origin.key_file:
            check_key_file(origin.key_file)
        bundle = read_bundle(Path(folder))
        return publish(self._writable(), model, bundle, origin, progress, memory=self.memory, above=above)

    def models(self) -> list[str]:
        """Return the names of all models, in order; one whose first publisher was killed has no version yet.

        Raises NotFoundError when no registry is there: nobody has ever published to this address.
        """
        names = versions.models_in(self.storage)
        if not names and root_document(self.storage) is None:
            raise NotFoundError(f"no registry in {self.storage.address}: nothing was ever published there")
        return names

    def models_seen(self) -> list[str]:
        """Return the names of all models, and of those that are gone though this machine has seen versions of them.

        Raises NotFoundError when no registry is there and this machine has seen none.
        """
        seen = self.memory.models()  # before the registry is asked: others on this machine may publish meanwhile
        there = versions.models_in(self.storage) if seen else self.models()
        return sorted({*there, *seen})

    def versions(self, model: str, *, limit: int | None = None) -> list[int]:
        """Return the numbers of a model's versions, newest first, at most `limit` of them, which is 1 or more.

        Raises NotFoundError when there is no such model, RequestError for another limit.
        Those that were withdrawn are among them: their numbers stay taken.
        """
        found = [version for version, _ in versions.stored_versions(self.storage, model, limit)]
        if not found:
            raise versions.no_model(self.storage, model)
        return found

    def newest(self, model: str) -> int | None:
        """Return the highest number that was given, None when there is none; one request.

        If that version was withdrawn, `pets` means an older one: ask `manifest`.
        """
        return versions.newest_version(self.storage, model)

    def listing(self, model: str, *, limit: int = 10) -> list[Listed]:
        """Return the newest `limit` versions, at least 1, with their manifests and aliases.

        As many requests for a registry of any size. Raises as `versions` does.
        """
        return listing(self.storage, model, self.versions(model, limit=limit), self.aliases(model))

    def aliases(self, model: str) -> list[Alias]:
        """Return a model's aliases with their histories, in the order of their names.

        Raises ReplayError when one is older than, or forks off, what this machine has seen.
        """
        names = aliases.alias_names(self.storage, model)
        return at_once(lambda name: self.alias(model, name), names, is_left_when_ended=True)

    def alias(self, model: str, name: str) -> Alias:
        """Return one alias with its history; raises NotFoundError, and ReplayError as `aliases` does."""
        return remembered_alias(self.storage, self.memory, model, name, is_kept=False)[0]

    def resolve(self, spec: str) -> Resolved:
        """Return the version that `pets@7`, `pets@production` or `pets` (the newest) names, checked and remembered."""
        return resolve(self.storage, self.memory, spec_of(spec), self._notice)

    def manifest(self, spec: str) -> Manifest:
        """Return the manifest of the version that `spec` names."""
        return self.resolve(spec).manifest

    def promote(self, spec: str, alias: str, *, message: str = "", over: int | None = None) -> Alias:
        """Make an alias name a version; return the alias with its history.

        With `over`, only in the place of that version, or of none for 0; else ConflictError is raised, unless it names
        the new one already, as it does to a client that asks again because the answer was lost.
        """
        found = self.resolve(spec)
        return promotion.promote(self._writable(), self.memory, found, alias, message, over=over)

    def rollback(self, model: str, alias: str, *, message: str = "") -> Alias:
        """Make an alias name what it named before; return the alias with its history."""
        return promotion.rollback(self._writable(), self.memory, model, alias, message)

    def pull(self, spec: str, folder: Path | str | None = None, *, progress: Progress = no_progress) -> Path:
        """Make `folder` exactly what `spec` names, verified, in one step; by default a folder in the cache.

        Raises RequestError when something else is in the folder, ChecksumError and its like when the registry's bytes
        can't be trusted: nothing is written then.
        """
        from petmodels.pull import pull

        found = self.resolve(spec)
        if folder and "\0" in str(folder):
            raise RequestError(f"no folder's name holds a NUL: {str(folder)!r}")
        target = Path(folder) if folder else self.cache.folder / "models" / found.statement.sha256
        with self._told_if_withdrawn(found.manifest):
            return pull(self.storage, self.cache, found, target, progress)

    def load(self, spec: str, *, progress: Progress = no_progress) -> "petmodels.Model":
        """Return the model that `spec` names, ready to predict; only the files that it needs are fetched.

        Answers one self-test image first and raises SelfTestError when the answer is not the evaluated one.
        """
        from petmodels.fetch import fetch
        from petmodels.model import Model
        from petmodels.selftest import self_test

        manifest = self.resolve(spec).manifest
        needed = [file for file in manifest.files if is_needed(file.path)]
        with self._told_if_withdrawn(manifest):
            files = fetch(self.storage, self.cache, manifest.model, needed, progress)
        model = Model(files, manifest.name, manifest.version)
        self_test(model, most_images=1)
        return model

    def verify(self, spec: str, *, progress: Progress = no_progress) -> "petmodels.Verified":
        """Read every byte of a version again, from the store, and return what is broken."""
        from petmodels.verify import verify

        found = spec_of(spec)
        version = found.version or self.manifest(spec).version
        done = verify(self.storage, found.model, [version], progress, known=self.memory)
        if done.num_withdrawn:
            self._refuse_withdrawn(found.model, version)
        return done

    def verify_all(self, model: str, *, progress: Progress = no_progress) -> "petmodels.Verified":
        """Read every byte of every version and alias of a model again, and return what is broken.

        Raises NotFoundError when there is no such model, and this machine has never seen a version of it.
        """
        from petmodels.verify import verify, verify_aliases, verify_numbers

        check_model(model)
        seen = self.memory.newest(model)  # before the registry is asked: others on this machine may publish meanwhile
        numbers = sorted(number for number, _ in versions.stored_versions(self.storage, model))
        if not numbers and not seen and model not in versions.models_in(self.storage):
            raise versions.no_model(self.storage, model)
        found = verify(self.storage, model, numbers, progress, known=self.memory)
        lost = verify_numbers(model, max(numbers, default=0), seen, known=self.memory)
        findings = (*found.findings, *lost, *verify_aliases(self.storage, model, known=self.memory))
        return replace(found, findings=findings)

    def diff(self, before: str, after: str) -> Diff:
        """Return what changed from one version to another: metrics, card, labels, params, dvc.lock, files, origin."""
        old, new = self.manifest(before), self.manifest(after)
        return diff(old, new, (self._labels(old), self._labels(new)))

    def find(self, image: str | Path, model: str = "") -> "petmodels.Found":
        """Return which versions were trained on an image or show it, of all models or one.

        `image` is a SHA-256 or a file on this machine, of which nothing but the hash is used.
        """
        from petmodels.find import find, hash_named

        sha256 = hash_named(image)
        names = [check_model(model)] if model else self.models()
        if model:
            self.versions(model, limit=1)  # says so when there is no such model
        listed = {name: self._all_listed(name) for name in names}
        return find(self.storage, self.cache, sha256, listed)

    def prune(self, model: str, *, keep: int, is_dry: bool = True, grace_hours: float = 24.0) -> "petmodels.Pruned":
        """Say what would be deleted; with `is_dry=False`, delete it.

        That is all versions but the `keep` newest, at least 1, and the aliased ones, and what killed writers left
        behind more than `grace_hours` ago. The result says in `is_dry` which of the two it was.
        """
        from petmodels.prune import prune

        check_model(model)
        storage = self.storage if is_dry else self._writable()
        return prune(storage, model, keep=keep, is_dry=is_dry, grace_hours=grace_hours)

    def withdraw(
        self, spec: str, reason: str, *, is_dry: bool = True, grace_hours: float = 24.0
    ) -> "petmodels.Withdrawn":
        """Say what would go with `pets@7`; with `is_dry=False`, take it back for good.

        Its number stays taken, and its bytes go, but for those of other versions. The result says in `is_dry` which of
        the two it was. Raises RequestError while an alias names it, ConflictError while somebody else is using it.
        """
        from petmodels.withdraw import withdraw

        found = spec_of(spec)
        if found.version is None:
            raise RequestError(f"name the version that is to go by its number, as {found.model}@7: {spec}")
        place = found.model, found.version
        if is_dry:
            return withdraw(self.storage, *place, reason, grace_hours=grace_hours)
        try:
            done = withdraw(self._writable(), *place, reason, is_dry=False, grace_hours=grace_hours)
        except (StoreError, TrustError):  # it may be withdrawn all the same: the registry is asked when it is used next
            self.memory.remember_withdrawn(*place)
            raise
        self.memory.remember_withdrawn(*place)
        return done

    def copy(self, spec: str, target: str | Path, *, progress: Progress = no_progress) -> bool:
        """Copy a version to another registry under the same number; False when it was there already."""
        from petmodels.transfer import copy

        found = self.resolve(spec)
        self._refuse_withdrawn(found.manifest.model, found.manifest.version)
        return copy(self.storage, self._other(target).storage, self.cache, found, progress)

    def mirror(
        self, target: str | Path, models: Iterable[str] = (), *, progress: Progress = no_progress
    ) -> "petmodels.Mirrored":
        """Bring to another registry, a backup, what it lacks of this one or of some models; run again, what is new.

        Raises ConflictError, and changes nothing, when the other one isn't an earlier state of this one.
        """
        from petmodels.mirror import mirror

        wanted, other = [check_model(model) for model in models], self._other(target).storage
        for model in wanted:
            self.versions(model, limit=1)  # says so when there is no such model
        there = [] if wanted else versions.models_in(other)
        names = wanted or self.models()
        done = mirror(self.storage, other, self.cache, names, progress, known=self.memory)
        done.findings += [
            f"{model}: it is in {other.address} and no more here" for model in there if model not in names
        ]
        return done

    def repair(self, spec: str, source: str | Path, *, progress: Progress = no_progress) -> tuple[str, ...]:
        """Put back from another registry what a version has lost in this one; return what was wrong, a line each.

        Reads every byte of the version. Raises ConflictError when the two registries mean different versions.
        """
        from petmodels.repair import repair

        found = spec_of(spec)
        name = f"{found.model}@{found.version}" if found.version else self.manifest(spec).name
        other = self._other(source)
        try:
            there = other.resolve(name)
        except WithdrawnError as error:
            raise WithdrawnError(f"{error} (in {other.storage.address})") from error
        return repair(self._writable(), other.storage, self.cache, there, progress)

    def _other(self, address: str | Path) -> "Registry":
        other = Registry(address, cache=self.cache.folder, notice=self._notice)
        if other.storage.address == self.storage.address:
            raise AddressError(f"this is the registry itself, name another one: {address}")
        return other

    def _all_listed(self, model: str) -> list[Listed]:
        numbers = [version for version, _ in versions.stored_versions(self.storage, model)]
        try:
            named = self.aliases(model)
        except TrustError as error:  # the versions can be told without
            self._notice(f"the aliases are left out: {error}")
            named = []
        return listing(self.storage, model, numbers, named)

    @contextmanager
    def _told_if_withdrawn(self, manifest: Manifest) -> Iterator[None]:
        """Say of a version that this machine remembers why its bytes are gone, if it was withdrawn."""
        try:
            yield
        except ChecksumError:
            self._refuse_withdrawn(manifest.model, manifest.version)
            raise

    def _refuse_withdrawn(self, model: str, version: int) -> None:
        """Raise WithdrawnError, and ask each time from then on, when the registry says that it was withdrawn."""
        try:
            versions.refuse_withdrawn(self.storage, model, version)
        except WithdrawnError:
            self.memory.remember_withdrawn(model, version)
            raise

    def _writable(self) -> Storage:
        if not self._is_writable:
            check_writable(self.storage)
            self._is_writable = True
        return self.storage

    def _labels(self, manifest: Manifest) -> list[str]:
        """Return a version's labels; none where its labels.json says no texts, so that no model can be made of it."""
        from petmodels.fetch import fetch

        files = [file for file in manifest.files if file.path == LABELS]
        with self._told_if_withdrawn(manifest):
            paths = fetch(self.storage, self.cache, manifest.model, files)
        try:
            found = load_object(paths[LABELS].read_bytes(), LABELS).get("labels") if paths else []
        except FormatError:
            return []
        return found if isinstance(found, list) and all(isinstance(label, str) for label in found) else []
