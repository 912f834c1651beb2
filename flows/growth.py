"""What a model's versions are, what each of them added to the store, and which aliases name them.

Reads the registry; leaves nothing. What is broken is shown as such and does not hide the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from petmodels import Alias, Pruned, Registry
from petmodels.aliases import alias_names
from petmodels.errors import NotFoundError, TrustError
from petmodels.listing import Listed, listing
from petmodels.names import LAST_VERSION
from petmodels.parallel import at_once


@dataclass(frozen=True)
class Grown:
    """A version: the bytes of its files, and how many of them no earlier version had; None for a broken manifest.

    Of one that was `withdrawn` (when, and why; "" for all others) there are none.
    """

    version: int
    created: str
    aliases: tuple[str, ...]
    size_bytes: int | None
    added_bytes: int | None
    withdrawn: str = ""


def versions_of(registry: Registry, model: str) -> list[Grown]:
    """Return a model's versions, newest first."""
    numbers = sorted(registry.versions(model)) if registry.newest(model) else []
    seen: set[str] = set()
    listed = listing(registry.storage, model, numbers, aliases_of(registry, model))
    return [_grown(one, seen) for one in listed][::-1]


def aliases_of(registry: Registry, model: str) -> Sequence[Alias]:
    """Return a model's aliases but for the broken ones, which verify names."""
    found = at_once(lambda name: _alias(registry, model, name), alias_names(registry.storage, model))
    return [alias for alias in found if alias]


def leftovers(registry: Registry, model: str) -> Pruned | None:
    """Return what a prune that keeps every version would delete; None when it would refuse.

    So it does when a manifest is broken, or the whole model is gone.
    """
    try:
        return registry.prune(model, keep=LAST_VERSION)
    except (TrustError, NotFoundError):
        return None


def _alias(registry: Registry, model: str, name: str) -> Alias | None:
    try:
        return registry.alias(model, name)
    except (TrustError, NotFoundError):
        return None


def _grown(one: Listed, seen: set[str]) -> Grown:
    if one.tombstone:
        return Grown(one.version, "", one.aliases, 0, 0, one.tombstone.told)
    if one.manifest is None:  # broken, or pruned meanwhile
        return Grown(one.version, "", one.aliases, None, None)
    blobs = {file.blob: file.size_bytes for file in one.manifest.files}
    added = sum(size for blob, size in blobs.items() if blob not in seen)
    seen.update(blobs)
    return Grown(one.version, one.manifest.created, one.aliases, one.manifest.size_bytes, added)
