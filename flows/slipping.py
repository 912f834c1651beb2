"""Is a model worse on new images than on its test side, whatever their mix of labels? It takes nothing but counts.

Reads nothing; leaves nothing. The test is exact, one-sided and stratified by label: if a label's images are as hard as
on the test side, then which of its wrong answers fall on new images is mere luck, and how many of those are right is
hypergeometric. The p-value is that of the sum over all labels (Mantel and Haenszel, JNCI 22, 1959, without their
normal approximation). So another mix of labels is no slip, and few test images make nobody too sure.

A rare label hardly counts in that sum: so each is looked at by itself, too (`slip_p_value`).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import comb, sqrt

_Z = 1.959964  # of the normal distribution, 95 % in the middle
_SEVERAL = 2


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many new images of a label there are, how many of them are named rightly, and the same of the test side."""

    label: str
    num_images: int
    num_right: int
    test_images: int = 0
    test_right: int = 0

    @property
    def expected(self) -> float:
        """How many would be right with the test side's share; as many as are where that has none of the label."""
        return self.num_images * self.test_right / self.test_images if self.test_images else float(self.num_right)

    @property
    def surplus(self) -> float:
        """How many more are right than expected."""
        return self.num_right - self.expected


def p_value(tallies: Iterable[Tally]) -> float:
    """Return the probability that so few new images, or fewer, are right by mere chance; 1 where nothing can be held.

    A label without test images, or without new ones, changes nothing.
    """
    chances, fewest, num_right = [1.0], 0, 0
    for its in tallies:
        right = its.num_right + its.test_right
        wrong = its.num_images + its.test_images - right
        low, high = max(0, its.num_images - wrong), min(its.num_images, right)
        ways = [comb(right, k) * comb(wrong, its.num_images - k) for k in range(low, high + 1)]
        total = sum(ways)
        chances = _convolved(chances, [number / total for number in ways])  # of whole numbers, however long
        fewest, num_right = fewest + low, num_right + its.num_right
    return min(1.0, sum(chances[: num_right - fewest + 1]))


def slip_p_value(tallies: Iterable[Tally]) -> float:
    """Return the p-value of two looks at once: at the sum over all labels, and at each label by itself.

    Each look gets half of what chance may spoil, and each label an equal part of its half (Bonferroni): twice the sum's
    p-value, or twice a label's times their number, whichever is less. Of one label it is the label's own.
    """
    held = _held(tallies)
    if len(held) < _SEVERAL:
        return p_value(held)
    return min(1.0, 2 * p_value(held), *(2 * len(held) * p_value([its]) for its in held))


def label_limit(tallies: Iterable[Tally], limit: float) -> float:
    """Return with which p-value, at most, a single label of these makes `slip_p_value` at most `limit`."""
    number = len(_held(tallies))
    return limit / (2 * number) if number >= _SEVERAL else limit


def least_unnoticed(tallies: Sequence[Tally], limit: float) -> int:
    """Return with how few right answers, at least, `slip_p_value` would be above `limit`; 0 where it would with none.

    It must be above it with those that there are. Each label loses the same share of its right answers, as nearly as
    whole images allow.
    """
    # By Webster's method: whose answer is lost next doesn't depend on how many follow, so that the p-value only falls.
    order = sorted(
        ((number + 0.5) / its.num_right, place) for place, its in enumerate(tallies) for number in range(its.num_right)
    )

    def with_fewer(num_right: int) -> list[Tally]:
        kept = Counter(place for _, place in order[:num_right])
        return [replace(its, num_right=kept[place]) for place, its in enumerate(tallies)]

    return bisect_left(range(len(order)), True, key=lambda num_right: slip_p_value(with_fewer(num_right)) > limit)


def interval(num_right: int, num_images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, JASA 22, 1927); of at least one image."""
    share, more = num_right / num_images, _Z**2 / num_images
    middle, half = share + more / 2, _Z * sqrt(share * (1 - share) / num_images + more / (4 * num_images))
    return max(0.0, (middle - half) / (1 + more)), min(1.0, (middle + half) / (1 + more))


def _held(tallies: Iterable[Tally]) -> list[Tally]:
    """Return those that can be held against a test side: the others change nothing, and would only cost the rest."""
    return [its for its in tallies if its.num_images and its.test_images]


def _convolved(chances: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the chances of each sum of two counts, of which these are the chances of each value."""
    sums = [0.0] * (len(chances) + len(others) - 1)
    for place, chance in enumerate(chances):
        for step, other in enumerate(others):
            sums[place + step] += chance * other
    return sums
