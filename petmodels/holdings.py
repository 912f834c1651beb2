"""What a registry holds of a model, read at one go: versions, tombstones, aliases, and by which hash it knows a number.

Two requests for each thousand versions and two for each alias; a request for each document. Aliases are read first, so
that every version that one of them names is among those that are listed then, unless it was pruned or withdrawn since.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from petmodels.aliases import Alias, alias_names, read_alias
from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement, load_statement
from petmodels.errors import NotFoundError, ReplayError, TrustError
from petmodels.manifest import Manifest, Parent, manifest_in
from petmodels.memory import Memory
from petmodels.names import blob_key, version_key
from petmodels.parallel import at_once
from petmodels.resolve import Resolved, remembered_alias
from petmodels.signing import check_signed, trusted_keys
from petmodels.storage import NotStoredError, Storage
from petmodels.tombstone import Tombstone, tombstone_in
from petmodels.versions import stored_versions


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is stored under a number, as bytes and what they say: a manifest or a tombstone, or why not to use it."""

    data: bytes
    statement: Statement
    manifest: Manifest | None = None
    tombstone: Tombstone | None = None
    error: TrustError | None = None

    @property
    def sha256(self) -> str:
        """The hash of the manifest to which the number was given, "" when what is there can't tell."""
        if self.tombstone:
            return self.tombstone.manifest
        return self.statement.sha256 if self.manifest else ""

    @property
    def parent(self) -> Parent | None:
        """The version that was the newest when this one was published, as far as it is known."""
        found = self.tombstone or self.manifest
        return found.parent if found else None

    def resolved(self) -> Resolved:
        """Return the version, as one that was asked for and found."""
        assert self.manifest
        return Resolved(manifest=self.manifest, statement=self.statement)

    def is_in(self, other: "Held") -> bool:
        """Say whether another registry has this very manifest, with all its signatures."""
        return self.sha256 == other.sha256 and set(self.statement.signatures) <= set(other.statement.signatures)


@dataclass(frozen=True, kw_only=True)
class HeldAlias:
    """An alias: its document's bytes, change mark and what they say; or why it must not be used.

    With `error` there are bytes only of one that is older than, or another one than, this machine has seen.
    """

    data: bytes = b""
    etag: str = ""
    alias: Alias | None = None
    error: TrustError | None = None


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """A model in one registry: what is stored under each number, in order, its aliases, and the sizes of its blobs."""

    model: str
    versions: Mapping[int, Held]
    aliases: Mapping[str, HeldAlias]
    blobs: Mapping[str, int] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The highest number, 0 when there is none."""
        return max(self.versions, default=0)

    @property
    def is_torn(self) -> bool:
        """Say whether an alias names what isn't there: it was moved while all this was read, or a version was lost."""
        left = {number for number, held in self.versions.items() if not held.tombstone}
        return not left.issuperset(one.alias.version for one in self.aliases.values() if one.alias)

    def known(self) -> dict[int, set[str]]:
        """Return by which hashes each number is known: that of what is stored; else those in aliases and parents."""
        said: dict[int, set[str]] = defaultdict(set)
        for held in self.versions.values():
            if held.parent:
                said[held.parent.version].add(held.parent.sha256)
        for step in (step for one in self.aliases.values() if one.alias for step in one.alias.steps):
            said[step.version].add(step.manifest)
        return said | {number: {held.sha256} for number, held in self.versions.items() if held.sha256}

    def is_whole(self, held: Held) -> bool:
        """Say whether all blobs of a manifest are there, with their sizes; what is in them is for `verify`."""
        files = held.manifest.files if held.manifest else ()
        return all(self.blobs.get(blob_key(self.model, file.blob)) == file.size_bytes for file in files)

    def unused(self) -> set[str]:
        """Return the blobs that no manifest names."""
        files = [file for held in self.versions.values() if held.manifest for file in held.manifest.files]
        return set(self.blobs) - {blob_key(self.model, file.blob) for file in files}


def holdings(storage: Storage, model: str, *, known: Memory | None = None) -> Holdings:
    """Return what a registry holds of a model; with what is `known` here of it, what is not the same is an error.

    So is a manifest that nobody signed whom this machine trusts. Without `known` its blobs are listed, too.
    """
    names = alias_names(storage, model)
    aliases = at_once(lambda name: _alias(storage, model, name, known), names, is_left_when_ended=True)
    numbers = sorted(number for number, _ in stored_versions(storage, model))
    held = at_once(lambda number: _held(storage, model, number, known), numbers, is_left_when_ended=True)
    blobs = {} if known else {one.key: one.size_bytes for one in storage.list(f"{model}/blobs/")}
    return Holdings(
        model=model,
        versions={number: one for number, one in zip(numbers, held, strict=True) if one},
        aliases={name: one for name, one in zip(names, aliases, strict=True) if one},
        blobs=blobs,
    )


def _alias(storage: Storage, model: str, name: str, known: Memory | None) -> HeldAlias | None:
    try:
        read = remembered_alias(storage, known, model, name, is_kept=False) if known else None
        alias, data, etag = read or read_alias(storage, model, name)
    except NotFoundError:
        return None
    except ReplayError as error:  # it can be read all the same, and compared with another registry's
        return HeldAlias(data=read_alias(storage, model, name)[1], error=error)
    except TrustError as error:
        return HeldAlias(error=error)
    return HeldAlias(data=data, etag=etag, alias=alias)


def _held(storage: Storage, model: str, version: int, known: Memory | None) -> Held | None:
    """Return what is stored under a number, None when it was pruned since it was listed."""
    where, data, statement = f"the manifest of {model}@{version}", b"", Statement("")
    try:
        data, _ = storage.read(version_key(model, version), LONGEST_DOCUMENT_BYTES)
        statement = load_statement(data, where)
        if tombstone := tombstone_in(statement, model, version):
            return Held(data=data, statement=statement, tombstone=tombstone)
        manifest = manifest_in(statement, model, version)
        if known:
            check_signed(statement, trusted_keys(), where)
            known.check_statement(model, version, statement)
    except NotStoredError:
        return None
    except TrustError as error:
        return Held(data=data, statement=statement, error=error)
    return Held(data=data, statement=statement, manifest=manifest)
