"""What a model's versions are, what each of them added to the store, and which aliases name them.

Reads the registry; leaves nothing. What is broken is shown as such and does not hide the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from petmodels import Alias, Manifest, Pruned, Registry
from petmodels.errors import NotFoundError, TrustError
from petmodels.names import LAST_VERSION
from petmodels.parallel import at_once
from petmodels.versions import read_manifest


@dataclass(frozen=True)
class Grown:
    """A version: the bytes of its files, and how many of them no earlier version had; None for a broken manifest."""

    version: int
    created: str
    aliases: tuple[str, ...]
    size_bytes: int | None
    added_bytes: int | None


def versions_of(registry: Registry, model: str) -> list[Grown]:
    """Return a model's versions, newest first."""
    numbers = sorted(registry.versions(model)) if registry.newest(model) else []
    manifests = at_once(lambda number: _manifest(registry, model, number), numbers)
    named = aliases_of(registry, model)
    seen: set[str] = set()
    found = []
    for number, manifest in zip(numbers, manifests, strict=True):
        names = tuple(alias.name for alias in named if alias.version == number)
        found.append(_grown(number, manifest, names, seen))
    return found[::-1]


def aliases_of(registry: Registry, model: str) -> Sequence[Alias]:
    """Return a model's aliases, none when one of them is broken, which verify names."""
    try:
        return registry.aliases(model)
    except TrustError:
        return ()


def leftovers(registry: Registry, model: str) -> Pruned | None:
    """Return what a prune that keeps every version would delete; None when a manifest is broken: it deletes nothing."""
    try:
        return registry.prune(model, keep=LAST_VERSION)
    except TrustError:
        return None


def _manifest(registry: Registry, model: str, version: int) -> Manifest | None:
    try:
        return read_manifest(registry.storage, model, version)
    except (TrustError, NotFoundError):  # broken, or pruned meanwhile
        return None


def _grown(number: int, manifest: Manifest | None, names: tuple[str, ...], seen: set[str]) -> Grown:
    if manifest is None:
        return Grown(number, "", names, None, None)
    blobs = {file.blob: file.size_bytes for file in manifest.files}
    added = sum(size for blob, size in blobs.items() if blob not in seen)
    seen.update(blobs)
    return Grown(number, manifest.created, names, manifest.size_bytes, added)
