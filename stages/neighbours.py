"""Find perceptual hashes that are near each other, where a picture and its mirror image count as one.

Reads hashes; leaves nothing. They are 256-bit DCT hashes (Zauner 2010), a bit a frequency, compared by Hamming
distance. In a mirror image every second horizontal frequency has the other sign and all else is as it was, so its hash
follows from the picture's but for the few bits next to the median (of 441 photographs 6 on average, 26 at most).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_NUM_BYTES = 32
_HALF = 128  # bits that a mirror image leaves, and as many that it turns over
_MOST_ROWS, _MOST_PAIRS = 1 << 16, 1 << 20  # at once, for the memory's sake

_Places = NDArray[np.intp]
_Bytes = NDArray[np.uint8]
_Words = NDArray[np.uint64]


def nearest_earlier(hashes: Sequence[int], distance: int) -> list[int | None]:
    """Return for each hash the nearest earlier one within `distance` bits, None where there is none.

    No hash may come twice. Of two that are equally near it is the smaller one. With a distance of 0 a mirror image is
    another picture.
    """
    bits = _bits(hashes)
    halves = _halves(bits)
    by_value = sorted(hashes)
    ranks = {one: rank for rank, one in enumerate(by_value)}
    rank = np.array([ranks[one] for one in hashes], dtype=np.intp)
    none = (distance + 1) * len(hashes)
    best = np.full(len(hashes), none)
    for later, earlier in _candidates(bits, distance):
        apart = _between(halves[later], halves[earlier], distance)
        near = apart <= distance
        np.minimum.at(best, later[near], apart[near].astype(np.intp) * len(hashes) + rank[earlier[near]])
    return [None if found == none else by_value[found % len(hashes)] for found in best.tolist()]


def near_any(hashes: Sequence[int], others: Sequence[int], distance: int) -> list[bool]:
    """Say of each hash whether one of the others is within `distance` bits of it or of its mirror image."""
    theirs = _halves(_bits(others))
    return [bool((_between(own, theirs, distance) <= distance).any()) for own in _halves(_bits(hashes))]


def _bits(hashes: Sequence[int]) -> _Bytes:
    """Return a row of bits a hash: first those that a mirror image has too, then those that it turns over."""
    joined = b"".join(one.to_bytes(_NUM_BYTES, "big") for one in hashes)
    bits = np.unpackbits(np.frombuffer(joined, dtype=np.uint8).reshape(-1, _NUM_BYTES), axis=1)
    return np.concatenate((bits[:, 0::2], bits[:, 1::2]), axis=1)


def _halves(bits: _Bytes) -> _Words:
    return np.packbits(bits, axis=1).view(np.uint64)


def _between(some: _Words, others: _Words, distance: int) -> NDArray[np.uint16]:
    """Return how many bits two hashes differ by, or one and the other's mirror image where those are fewer."""
    first, second, third, fourth = np.bitwise_count(some ^ others).T
    turned = third + fourth
    fewest = np.minimum(turned, _HALF - turned) if distance else turned
    found: NDArray[np.uint16] = np.add(first + second, fewest, dtype=np.uint16)  # all 256 bits would be a byte's 0
    return found


def _candidates(bits: _Bytes, distance: int) -> Iterator[tuple[_Places, _Places]]:
    """Yield places of hashes that may be near each other, the later and the earlier one; some come more than once.

    Multi-index hashing (Norouzi, Punjani and Fleet 2012): cut into d // 2 + 1 bands or more, two hashes that differ by
    d bits have a band that differs by one bit at most. So each band of each hash is looked up as it is and with each of
    its bits flipped.
    """
    # About 64 values a hash, so that few share one by chance, and 4 million at most.
    width = min(len(bits).bit_length() + 6, 20)
    for keys, flips in _bands(bits, max(distance // 2 + 1, 2 * _HALF // width)):
        order = np.argsort(keys, kind="stable")
        values, firsts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        numbers = np.zeros(2 * flips.max(), dtype=np.int32)  # of the values, from 1: so most of it stays untouched
        numbers[values] = np.arange(1, len(values) + 1)
        for start in range(0, len(keys), _MOST_ROWS):
            found = numbers[keys[start : start + _MOST_ROWS, np.newaxis] ^ flips]
            rows, columns = np.nonzero(found)
            value = found[rows, columns] - 1
            yield from _pairs(rows + start, order, firsts[value], counts[value])


def _bands(bits: _Bytes, number: int) -> Iterator[tuple[_Places, _Places]]:
    """Yield the values of each band, and what the values of bands that differ by one bit at most differ by.

    A band is half of bits that a mirror image turns over all, or of none of them: the former count from their last bit,
    so that a picture and its mirror image have one value. Its bits stand apart, because neighbours are alike.
    """
    num_kept = number // 2
    for place in range(number):
        turns = place >= num_kept
        band = bits[:, _HALF + place - num_kept :: number - num_kept] if turns else bits[:, place:_HALF:num_kept]
        singles = 1 << np.arange(band.shape[1])
        values, flips = band @ singles, np.append(singles, 0)
        whole = singles.sum() if turns else 0
        yield np.minimum(values, values ^ whole), np.minimum(flips, flips ^ whole)


def _pairs(rows: _Places, order: _Places, firsts: _Places, counts: _Places) -> Iterator[tuple[_Places, _Places]]:
    """Yield each row with the earlier ones among the `counts` places that `order` holds from `firsts` on."""
    ends = counts.cumsum()
    for start in range(0, int(ends[-1]), _MOST_PAIRS):
        number = np.arange(start, min(start + _MOST_PAIRS, ends[-1]))
        which = np.searchsorted(ends, number, side="right")
        later, earlier = rows[which], order[number + (firsts - ends + counts)[which]]
        is_earlier = earlier < later
        yield later[is_earlier], earlier[is_earlier]
