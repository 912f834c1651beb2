"""Read everything again, from the store and not from the cache, and name what is broken."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from petmodels.aliases import alias_names
from petmodels.errors import ArchivedError, ChecksumError, PetmodelsError, StoreError, TrustError, WithdrawnError
from petmodels.hashing import Digest, Progress, no_progress
from petmodels.manifest import File, Manifest, manifest_in
from petmodels.memory import Memory
from petmodels.names import blob_key
from petmodels.parallel import at_once
from petmodels.resolve import remembered_alias
from petmodels.signing import check_signed, trusted_keys
from petmodels.storage import NotStoredError, Storage, archived
from petmodels.versions import read_statement

MENDED_BY = "petmodels repair puts back what another registry still has"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was read again, and the findings, one line each; nothing is broken when there are none.

    Versions that were withdrawn are counted by themselves: of them there is nothing to read.
    """

    num_versions: int
    num_files: int
    size_bytes: int
    findings: tuple[str, ...]
    num_withdrawn: int = 0


def verify(
    storage: Storage, model: str, versions: Iterable[int], progress: Progress = no_progress, *, known: Memory
) -> Verified:
    """Read every byte of some versions of a model again and check manifests, signatures and hashes.

    A manifest is also compared with the one that is `known` here under its number, if any.

    Raises NotFoundError for a version that is absent and StoreError when the store can't be read; what is broken, or
    archived where nobody can read it, is returned and not raised, so that one finding does not hide the next.
    """
    numbers = list(versions)
    read = at_once(lambda number: _manifest(storage, known, model, number), numbers, is_left_when_ended=True)
    manifests = [one for one in read if isinstance(one, Manifest)]
    errors = [(number, one) for number, one in zip(numbers, read, strict=True) if isinstance(one, PetmodelsError)]
    findings = [f"{model}@{number}: {error}" for number, error in errors]
    users = _users(manifests)
    found = at_once(
        lambda file: _finding(storage, blob_key(model, file.blob), file, progress),
        [file for file, _ in users.values()],
        is_left_when_ended=True,
    )
    for finding, (_, names) in zip(found, users.values(), strict=True):
        findings += [f"{name}: {finding}" for name in names if finding]
    size = sum(file.size_bytes for file, _ in users.values())
    return Verified(
        num_versions=len(manifests), num_files=len(users), size_bytes=size, findings=tuple(findings),
        num_withdrawn=len(numbers) - len(manifests) - len(errors),
    )  # fmt: skip


def verify_aliases(storage: Storage, model: str, *, known: Memory) -> list[str]:
    """Return what is broken in a model's aliases: chains that don't hold, and names of versions that aren't there.

    So are those that don't go on from what is `known` here: nobody on this machine could use them.
    """
    seen, findings = known.alias_names(model), []  # before the store is asked: others may promote meanwhile
    there = alias_names(storage, model)
    for name in sorted({*seen, *there}):
        try:
            if name not in there:
                raise known.gone(model)
            alias, _, _ = remembered_alias(storage, known, model, name, is_kept=False)
            last = alias.steps[-1]
            if read_statement(storage, model, last.version).sha256 != last.manifest:
                raise ChecksumError(f"the manifest of {model}@{last.version} is not the one that was promoted")
        except StoreError:
            raise
        except PetmodelsError as error:
            findings.append(f"{model}@{name}: {error}")
    return findings


def verify_numbers(model: str, newest: int, seen: int, *, known: Memory) -> list[str]:
    """Return a finding when `newest`, the registry's highest number, is lower than the one that was `seen` before it.

    Of a lower number that is gone nobody here can tell whether it was pruned.
    """
    return [f"{model}@{seen}: {known.set_back(model, newest)}"] if newest < seen else []


def is_whole(storage: Storage, key: str, digest: Digest, size_bytes: int) -> bool | None:
    """Say whether an object has just these bytes, None when there is none; they are read where the store can't tell.

    Raises ArchivedError for one that nobody could read, whatever the store says of its bytes.
    """
    found = storage.find(key)
    if found and found.archived_as:
        raise archived(found.archived_as, storage.address, f"read {key}")
    if found is None or not found.may_be(digest.sha256, size_bytes):
        return None if found is None else False
    return found.must_be(digest, size_bytes) or not broken(storage, key, digest.sha256, size_bytes)


def _manifest(storage: Storage, known: Memory, model: str, version: int) -> Manifest | PetmodelsError | None:
    """Return a version's manifest, None for one that was withdrawn, and what is broken as the error that says so."""
    try:
        statement = read_statement(storage, model, version)
        check_signed(statement, trusted_keys(), f"the manifest of {model}@{version}")
        known.check_statement(model, version, statement)
        return manifest_in(statement, model, version)
    except WithdrawnError:
        known.remember_withdrawn(model, version)
        return None
    except (TrustError, ArchivedError) as error:
        return error


def _users(manifests: list[Manifest]) -> dict[tuple[str, int], tuple[File, list[str]]]:
    """Return each blob and each size that is claimed of it, with a file and the names of all that have its bytes."""
    users: dict[tuple[str, int], tuple[File, list[str]]] = {}
    for manifest in manifests:
        for file in manifest.files:
            users.setdefault((file.blob, file.size_bytes), (file, []))[1].append(f"{manifest.name}/{file.path}")
    return users


def _finding(storage: Storage, key: str, file: File, progress: Progress) -> str:
    try:
        return broken(storage, key, file.sha256, file.size_bytes, progress)
    except ArchivedError as error:
        return str(error)


def broken(storage: Storage, key: str, sha256: str, size_bytes: int, progress: Progress = no_progress) -> str:
    """Return what is wrong with a file's bytes in the store, "" when nothing is; every byte is read."""
    whole, size = hashlib.sha256(), 0
    try:
        for piece in storage.download(key, 0, size_bytes + 1):
            whole.update(piece)
            size += len(piece)
            progress(len(piece))
    except NotStoredError:
        return "its bytes are gone"
    except TrustError as error:
        return str(error)
    if size != size_bytes:
        return f"{'more' if size > size_bytes else 'fewer'} bytes than published: {size} of {size_bytes}"
    return "" if whole.hexdigest() == sha256 else "its bytes were changed"
