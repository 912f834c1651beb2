"""Compare perceptual hashes all with all, where so many are alike that no table parts them, as a fixed camera's are.

Reads hashes as `neighbours` arranges them, four words each, of which a mirror image turns over the last two; leaves
nothing. A pair takes 5 to 11 ns of a core, and no memory is held for it.
"""

import sys

import numpy as np
from numpy.typing import NDArray

from stages.threads import in_threads

HALF = 128  # bits that a mirror image leaves, and as many that it turns over
_FAR = 255  # of a picture or its mirror image one is within 192 bits
_NUM_ROWS, _NUM_COLUMNS = 32, 2048  # at once, the latter a multiple: what is held of them fits a core's own cache
MANY = 20_000  # take a second

Words = NDArray[np.uint64]
Places = NDArray[np.intp]


def between(some: Words, others: Words) -> NDArray[np.uint8]:
    """Return how many bits two hashes differ by, or one and the other's mirror image where those are fewer."""
    first, second, third, fourth = np.bitwise_count(some ^ others)
    turned = third + fourth
    apart: NDArray[np.uint8] = first + second + np.minimum(turned, HALF - turned)
    return apart


def nearest_in_crowd(words: Words, ranks: Places, scale: int) -> Places:
    """Return of each hash what is least among the earlier ones: the bits between times `scale` plus the other's rank.

    `words` are 4 x hashes. The first has no earlier one, and is told to be far from some.
    """
    num_hashes = len(ranks)
    if num_hashes > MANY:
        print(
            f"{num_hashes} pictures are nearly alike, as a fixed camera's are: comparing all of them with all; lower "
            "prepare.duplicate_distance if they do differ",
            file=sys.stderr,
            flush=True,
        )
    # By rank within what is compared at once, for of equally near ones argmin takes the first.
    places = np.lexsort((ranks, np.arange(num_hashes) // _NUM_COLUMNS))
    columns, ranks = words[:, np.newaxis, places], ranks[places]

    def nearest(start: int) -> Places:
        rows = np.arange(start, min(start + _NUM_ROWS, num_hashes))
        best = np.full(len(rows), _FAR * scale)
        for first in range(0, start + 1, _NUM_COLUMNS):
            some = slice(first, first + _NUM_COLUMNS)
            apart = between(words[:, rows, np.newaxis], columns[..., some])
            if first + _NUM_COLUMNS > start:
                apart[places[some] >= rows[:, np.newaxis]] = _FAR
            least = apart.argmin(axis=1)
            bits = np.take_along_axis(apart, least[:, np.newaxis], axis=1)[:, 0].astype(np.intp)
            best = np.minimum(best, bits * scale + ranks[first + least])
        return best

    with in_threads(nearest, range(0, num_hashes, _NUM_ROWS)) as found:
        return np.concatenate([np.empty(0, dtype=np.intp), *found])
