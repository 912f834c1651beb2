"""What a registry still knows of a number, so that none is given to a second version once the first was pruned.

The version after it names it as its parent, and steps of aliases name it, each by its manifest's hash. Whoever brings a
version under its old number, a copy or a repair, asks here first. Where neither is left, nobody can tell any more.
"""

from petmodels.aliases import alias_names, read_alias
from petmodels.errors import ConflictError, FormatError, NotFoundError
from petmodels.manifest import manifest_in
from petmodels.names import LAST_VERSION
from petmodels.resolve import Resolved
from petmodels.storage import Storage
from petmodels.tombstone import Tombstone
from petmodels.versions import read_version


def check_number(storage: Storage, found: Resolved, *, must_know: bool) -> None:
    """Raise ConflictError when `storage` knows another version under the number of one that was `found` elsewhere.

    Asked once one's own intent names the number, so that no prune takes that other version away meanwhile, and not at
    all where just this version has the number already. Raises FormatError for what can't be read, if one `must_know`.
    """
    manifest = found.manifest
    promises, unread = promised(storage, manifest.model, manifest.version)
    parents, unread_too = _parent(storage, manifest.model, manifest.version)
    if (promises | parents) - {found.statement.sha256}:
        text = "knows another version by this number; publish this one there under a new number"
        raise ConflictError(f"{storage.address} {text}: {manifest.name}")
    if must_know and (errors := [*unread, *unread_too]):
        raise FormatError(
            f"{errors[0]}; without it nobody can tell what {storage.address} knew by this number; "
            f"petmodels verify --all lists what is broken, petmodels repair puts manifests back: {manifest.name}"
        ) from errors[0]


def promised(storage: Storage, model: str, version: int) -> tuple[frozenset[str], list[FormatError]]:
    """Return the hashes of the manifests that aliases were given under this number; and why some can't be read."""
    hashes: set[str] = set()
    unread = []
    for name in alias_names(storage, model):
        try:
            steps = read_alias(storage, model, name)[0].steps
        except FormatError as error:
            unread.append(error)
        else:
            hashes |= {step.manifest for step in steps if step.version == version}
    return frozenset(hashes), unread


def _parent(storage: Storage, model: str, version: int) -> tuple[frozenset[str], list[FormatError]]:
    """Return the hash by which the next version knows this one; who publishes takes the number after the parent's."""
    if version == LAST_VERSION:
        return frozenset(), []
    try:
        found = read_version(storage, model, version + 1)
        parent = found.parent if isinstance(found, Tombstone) else manifest_in(found, model, version + 1).parent
    except NotFoundError:
        return frozenset(), []
    except FormatError as error:
        return frozenset(), [error]
    return frozenset({parent.sha256} if parent and parent.version == version else ()), []
