"""Find perceptual hashes that are near each other, where a picture and its mirror image count as one.

Reads hashes; leaves nothing. They are 256-bit DCT hashes (Zauner 2010), a bit a frequency, compared by Hamming
distance. In a mirror image every second horizontal frequency has the other sign and all else is as it was, so its hash
follows from the picture's but for the few bits next to the median (of 441 photographs 6 on average, 26 at most).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stages.crowds import HALF, Places, Words, between, nearest_in_crowd

_NUM_BYTES = 32
_MOST_ROWS, _MOST_PAIRS = 1 << 16, 1 << 18  # at once, for the memory's sake
MOST_CANDIDATES = 2000  # a hash; 400,000 random ones have 190 each

_Bytes = NDArray[np.uint8]
_Claims = NDArray[np.bool_]


def nearest_earlier(hashes: Sequence[int], distance: int) -> list[int | None]:
    """Return for each hash the nearest earlier one within `distance` bits, None where there is none.

    No hash may come twice. Of two that are equally near it is the smaller one. With a distance of 0 a mirror image is
    another picture.
    """
    if not distance:
        return [None] * len(hashes)
    bits = _bits(hashes)
    words = _words(bits)
    by_value = sorted(hashes)
    ranks = {one: rank for rank, one in enumerate(by_value)}
    rank = np.array([ranks[one] for one in hashes], dtype=np.intp)
    none = (distance + 1) * len(hashes)
    best = np.full(len(hashes), none)
    is_crowded = np.zeros(len(hashes), dtype=np.bool_)
    for later, earlier in _candidates(bits, words[0], distance, is_crowded):
        apart = between(words[:, later], words[:, earlier])
        near = apart <= distance
        np.minimum.at(best, later[near], apart[near].astype(np.intp) * len(hashes) + rank[earlier[near]])
    crowd = np.flatnonzero(is_crowded)
    best[crowd] = np.minimum(best[crowd], nearest_in_crowd(words[:, crowd], rank[crowd], len(hashes)))
    return [by_value[found % len(hashes)] if found < none else None for found in best.tolist()]


def near_any(hashes: Sequence[int], others: Sequence[int], distance: int) -> list[bool]:
    """Say of each hash whether one of the others is within `distance` bits of it or of its mirror image."""
    if not distance:
        known = set(others)
        return [one in known for one in hashes]
    theirs = _words(_bits(others))
    return [bool((between(own[:, np.newaxis], theirs) <= distance).any()) for own in _words(_bits(hashes)).T]


def _bits(hashes: Sequence[int]) -> _Bytes:
    """Return a row of bits a hash: first those that a mirror image has too, then those that it turns over."""
    joined = b"".join(one.to_bytes(_NUM_BYTES, "big") for one in hashes)
    bits = np.unpackbits(np.frombuffer(joined, dtype=np.uint8).reshape(-1, _NUM_BYTES), axis=1)
    return np.concatenate((bits[:, 0::2], bits[:, 1::2]), axis=1)


def _words(bits: _Bytes) -> Words:
    """Return 4 x hashes; of a mirror image the last two are others."""
    return np.ascontiguousarray(np.packbits(bits, axis=1).view(np.uint64).T)


def _candidates(
    bits: _Bytes, first_words: NDArray[np.uint64], distance: int, is_crowded: _Claims
) -> Iterator[tuple[Places, Places]]:
    """Yield places of hashes that may be near each other, the later and the earlier one; some come more than once.

    Multi-index hashing (Norouzi, Punjani and Fleet 2012): cut into d // 2 + 1 bands or more, two hashes that differ by
    d bits have a band that differs by one bit at most. So each band of each hash is looked up as it is and with each of
    its bits flipped. A hash for which this finds too many is marked in `is_crowded` and looked up no more: it comes
    with those alone that are not.
    """
    # About 64 values a hash, so that few share one by chance, and 4 million at most.
    width = min(len(bits).bit_length() + 6, 20)
    number = max(distance // 2 + 1, 2 * HALF // width)
    num_candidates = np.zeros(len(bits))
    for keys, flips in _bands(bits, number):
        order = np.argsort(keys, kind="stable")
        values, firsts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        numbers = np.zeros(2 * flips.max(), dtype=np.int32)  # of the values, from 1: so most of it stays untouched
        numbers[values] = np.arange(1, len(values) + 1)
        rows, value = _looked_up(keys, flips if distance >= number else flips[-1:], numbers, ~is_crowded)
        num_candidates += np.bincount(rows, counts[value], len(bits))
        is_crowded |= num_candidates > MOST_CANDIDATES
        is_calm = ~is_crowded[rows]
        for one, other in _pairs(rows[is_calm], order, firsts[value[is_calm]], counts[value[is_calm]]):
            taken = (other < one) | is_crowded[other]
            taken &= np.bitwise_count(first_words[one] ^ first_words[other]) <= distance  # few by chance
            some, others = one[taken], other[taken]
            yield np.maximum(some, others), np.minimum(some, others)


def _looked_up(keys: Places, flips: Places, numbers: NDArray[np.int32], is_wanted: _Claims) -> tuple[Places, Places]:
    """Return places of the wanted keys, and beside each the place of a value that it has or is one flip from."""
    wanted = np.flatnonzero(is_wanted)
    rows, values = [wanted[:0]], [wanted[:0]]
    for start in range(0, len(wanted), _MOST_ROWS):
        some = wanted[start : start + _MOST_ROWS]
        found = numbers[keys[some, np.newaxis] ^ flips]
        row, column = np.nonzero(found)
        rows.append(some[row])
        values.append(found[row, column] - 1)
    return np.concatenate(rows), np.concatenate(values)


def _bands(bits: _Bytes, number: int) -> Iterator[tuple[Places, Places]]:
    """Yield the values of each band, and what the values of bands that differ by one bit at most differ by.

    A band is half of bits that a mirror image turns over all, or of none of them: the former count from their last bit,
    so that a picture and its mirror image have one value. Its bits stand apart, because neighbours are alike.
    """
    num_kept = number // 2
    for place in range(number):
        turns = place >= num_kept
        band = bits[:, HALF + place - num_kept :: number - num_kept] if turns else bits[:, place:HALF:num_kept]
        singles = 1 << np.arange(band.shape[1])
        values, flips = band @ singles, np.append(singles, 0)
        whole = singles.sum() if turns else 0
        yield np.minimum(values, values ^ whole), np.minimum(flips, flips ^ whole)


def _pairs(rows: Places, order: Places, firsts: Places, counts: Places) -> Iterator[tuple[Places, Places]]:
    """Yield each row with each of the `counts` places that `order` holds from `firsts` on."""
    if not len(rows):
        return
    ends = counts.cumsum()
    shifts = firsts - ends + counts
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], _MOST_PAIRS))
    for start, stop in pairwise([*cuts.tolist(), len(rows)]):
        some = slice(start, stop)
        number = np.arange(ends[start] - counts[start], ends[stop - 1])
        number += np.repeat(shifts[some], counts[some])
        yield np.repeat(rows[some], counts[some]), order[number]
