"""How sure is a mean over labels of the share of their images that are named rightly, where a label has few images?

Reads nothing; leaves nothing. Each label has its exact interval (Clopper and Pearson, Biometrika 26, 1934), and all are
combined by how far they reach (MOVER: Zou and Donner, Statistics in Medicine 27, 2008). A bootstrap within each label
would call 6 right of 6 certain. And Wilson's interval is too narrow near 0: of models that say `defect` of one image in
fifty, whatever it shows, 9 of 100 would pass for better than chance on 7 defects and 233 others, by these at most 1.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt

Counts = Mapping[str, tuple[int, int]]

_TAIL = 0.025
_HALVINGS = 50


@dataclass(frozen=True, kw_only=True)
class Recall:
    """A weighted mean of labels' shares from 0 to 1, and its 95 % interval.

    `constant` is the greatest mean that naming one label always gives, and `named` that label.
    """

    mean: float
    low: float
    high: float
    constant: float
    named: str


def mean_recall(counts: Counts, weights: Mapping[str, float]) -> Recall:
    """Return the mean of the labels' shares by their weights, whatever these add up to.

    `counts` has each label's images, at least one, and how many of them are named rightly.
    """
    total = sum(weights[label] for label in counts)
    mean = below = above = 0.0
    for label, (num_images, num_right) in counts.items():
        weight, share = weights[label] / total, num_right / num_images
        low, high = exact_interval(num_right, num_images)
        mean += weight * share
        below += (weight * (share - low)) ** 2
        above += (weight * (high - share)) ** 2
    named = max(counts, key=lambda label: (weights[label], counts[label][0], label))
    constant = weights[named] / total
    return Recall(
        mean=mean, low=max(0.0, mean - sqrt(below)), high=min(1.0, mean + sqrt(above)), constant=constant, named=named
    )


def least_recall(counts: Counts, weights: Mapping[str, float], accuracy: float) -> float:
    """Return the least mean that a model of this accuracy can have: all that is right is of the cheapest labels."""
    total = sum(weights[label] for label in counts)
    left, least = accuracy * sum(num_images for num_images, _ in counts.values()), 0.0
    for label in sorted(counts, key=lambda label: weights[label] / counts[label][0]):
        num_images = counts[label][0]
        least += weights[label] / total * min(left, num_images) / num_images
        left -= min(left, num_images)
    return least


def exact_interval(num_right: int, num_images: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share, 2.5 % at each end at most; of at least one image."""
    low = 0.0 if num_right == 0 else _share_where(num_right - 1, num_images, 1 - _TAIL)
    high = 1.0 if num_right == num_images else _share_where(num_right, num_images, _TAIL)
    return low, high


def _share_where(most: int, num_images: int, chance: float) -> float:
    """Return the share with which at most so many images are right with this chance."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(most, num_images, middle) > chance else (low, middle)
    return (low + high) / 2


def _at_most(most: int, num_images: int, share: float) -> float:
    """Return the chance that at most so many of the images are right; by logarithms, so that nothing overflows."""
    right, wrong, all_ways = log(share), log1p(-share), lgamma(num_images + 1)
    return sum(
        exp(all_ways - lgamma(k + 1) - lgamma(num_images - k + 1) + k * right + (num_images - k) * wrong)
        for k in range(most + 1)
    )
