"""Group images that are copies: the same bytes, or one picture rescaled or recompressed; and those of one subject.

Reads hashes and names; leaves nothing. Perceptual hashes are 256-bit DCT hashes (Zauner 2010), compared by Hamming
distance. Another picture of the same scene is no copy to them: that it belongs there must be said by its name.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

NUM_BITS = 256


def groups(images: Iterable[tuple[str, str]], distance: int) -> list[str]:
    """Return one group name an image: the sha256 of the group's first image.

    `images` are (sha256, perceptual hash in hex) in the order of their arrival, which decides: a new image joins the
    group of the nearest earlier one within `distance` bits, and two old groups never merge, so that nothing that
    arrives later changes an older image's group. One with an empty hash is known by its bytes alone.
    """
    by_sha256: dict[str, str] = {}
    near = _Neighbours(distance)
    names = []
    for sha256, phash in images:
        bits = int(phash, 16) if phash else None
        name = by_sha256.get(sha256) or (bits is not None and near.group_of(bits)) or sha256
        if sha256 not in by_sha256:
            by_sha256[sha256] = name
            if bits is not None:
                near.add(bits, name)
        names.append(name)
    return names


def joined(images: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return one group name an image, as `groups` does, where images belong together that are no copies.

    `images` are (sha256, the name that `groups` gives, subject or "") in the order of their arrival. A new image joins
    the group of the same bytes, else that of its subject, else that of its near-duplicates; a subject that is first
    seen on a copy belongs to the copy's group from then on. Here, too, two old groups never merge.
    """
    by_sha256: dict[str, str] = {}
    by_subject: dict[str, str] = {}
    by_picture: dict[str, str] = {}
    names = []
    for sha256, picture, subject in images:
        name = by_sha256.get(sha256) or by_subject.get(subject) or by_picture.get(picture) or sha256
        by_sha256.setdefault(sha256, name)
        by_picture.setdefault(picture, name)
        if subject:
            by_subject.setdefault(subject, name)
        names.append(name)
    return names


class _Neighbours:
    """Finds earlier hashes within a distance of d bits without comparing all.

    Hashes cut into d + 1 bands share at least one whole band when they differ in at most d bits (pigeonhole).
    """

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._edges = [round(NUM_BITS * band / (distance + 1)) for band in range(distance + 2)]
        self._bands: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(distance + 1)]
        self._groups: dict[int, str] = {}

    def group_of(self, bits: int) -> str | None:
        candidates = {other for band, key in enumerate(self._keys(bits)) for other in self._bands[band].get(key, ())}
        nearest = min(candidates, key=lambda other: ((bits ^ other).bit_count(), other), default=None)
        if nearest is None or (bits ^ nearest).bit_count() > self._distance:
            return None
        return self._groups[nearest]

    def add(self, bits: int, group: str) -> None:
        if bits in self._groups:
            return
        self._groups[bits] = group
        for band, key in enumerate(self._keys(bits)):
            self._bands[band][key].append(bits)

    def _keys(self, bits: int) -> list[int]:
        edges = self._edges
        return [(bits >> low) & ((1 << (high - low)) - 1) for low, high in pairwise(edges)]
