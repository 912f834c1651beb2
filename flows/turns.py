"""Count a champion's challengers: each was another chance to mistake luck for progress, which the gate reckons with.

Reads the manifests of the versions after the champion; leaves nothing.
"""

from pathlib import Path

from petmodels import Manifest, Registry
from petmodels.bundle import LABELS, MODEL, PREPROCESS
from petmodels.hashing import sha256_of
from petmodels.listing import listing

_NETWORK = (MODEL, LABELS, PREPROCESS)
_MOST_READ = 50


def network_of(bundle: Path) -> list[str | None]:
    """Return the hashes of those files of a folder that decide what its model answers."""
    return [sha256_of(bundle / name) for name in _NETWORK]


def network_in(version: Manifest) -> list[str | None]:
    """Return the same of a version, None for a file that it lacks."""
    hashes = {file.path: file.sha256 for file in version.files}
    return [hashes.get(name) for name in _NETWORK]


def turn_of(registry: Registry, champion: Manifest, number: int) -> int:
    """Return whether version `number` is, or would be, the first challenger of its model's champion, the second, …

    Each version between them was one, whatever became of it, but for those that are the champion's own network with
    another card or report. Those that can't be read count, and so do those that aren't among the newest 50.
    """
    numbers = [one for one in registry.versions(champion.model, limit=_MOST_READ) if champion.version < one < number]
    found = [one.manifest for one in listing(registry.storage, champion.model, numbers, ()) if one.manifest]
    num_alike = sum(network_in(one) == network_in(champion) for one in found)
    return max(number - champion.version - num_alike, 1)
