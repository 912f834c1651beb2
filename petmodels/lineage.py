"""What a registry still knows of a number, so that none is given to a second version once the first was pruned.

The version after it names it as its parent, and steps of aliases name it, each by its manifest's hash. Whoever brings a
version under its old number, a copy or a repair, asks here first. Where neither is left, nobody can tell any more.
"""

from petmodels.aliases import alias_names, read_alias
from petmodels.errors import ConflictError, NotFoundError
from petmodels.names import LAST_VERSION
from petmodels.resolve import Resolved
from petmodels.storage import Storage
from petmodels.versions import read_manifest


def check_number(storage: Storage, found: Resolved) -> None:
    """Raise ConflictError when `storage` knows another version under the number of one that was `found` elsewhere.

    Asked once one's own intent names the number, so that no prune takes that other version away meanwhile.
    """
    manifest = found.manifest
    known = {*promised(storage, manifest.model, manifest.version), *_parent(storage, manifest.model, manifest.version)}
    if known - {found.statement.sha256}:
        text = "knows another version by this number; publish this one there under a new number"
        raise ConflictError(f"{storage.address} {text}: {manifest.name}")


def promised(storage: Storage, model: str, version: int) -> frozenset[str]:
    """Return the hashes of the manifests that aliases were given under this number."""
    steps = [step for name in alias_names(storage, model) for step in read_alias(storage, model, name)[0].steps]
    return frozenset(step.manifest for step in steps if step.version == version)


def _parent(storage: Storage, model: str, version: int) -> frozenset[str]:
    """Return the hash by which the next version knows this one; who publishes takes the number after the parent's."""
    if version == LAST_VERSION:
        return frozenset()
    try:
        parent = read_manifest(storage, model, version + 1).parent
    except NotFoundError:
        return frozenset()
    return frozenset({parent.sha256} if parent and parent.version == version else ())
