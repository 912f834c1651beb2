"""Is a difference between two models more than luck? The statistics of a comparison, which need nothing but counts.

    mcnemar(only_before, only_after) -> float                            exact two-sided p-value
    difference_interval(only_before, only_after, num_images, *, seed=0)  (low, high), 95 % paired bootstrap

Of a pair of models only the images on which exactly one is right say which is better (McNemar, Psychometrika 12, 1947).
"""

_RESAMPLES = 10_000
_OUTSIDE = (2.5, 97.5)


def mcnemar(only_before: int, only_after: int) -> float:
    """Return the probability that so uneven a split of the images, on which one model alone is right, is mere chance.

    Exact and two-sided, from the binomial distribution with one half; 1 when there are no such images.
    """
    total, fewer = only_before + only_after, min(only_before, only_after)
    term = tail = 1
    for k in range(fewer):
        term = term * (total - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << total))


def difference_interval(only_before: int, only_after: int, num_images: int, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the accuracy's difference (after - before) over 10,000 resamples of the images.

    An image adds -1, 0 or 1 to the difference, so that resampling the images is drawing how many of each come up. Two
    images are added on which either model alone is right (Bonett and Price, Psychological Methods 17, 2012): without
    them the interval is too narrow where few images differ, and has no width where none does.
    """
    import numpy as np

    total, both = num_images + 2, num_images - only_before - only_after
    shares = np.array([only_before + 1, only_after + 1, both]) / total
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=_RESAMPLES)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / total, _OUTSIDE)
    return float(low), float(high)
