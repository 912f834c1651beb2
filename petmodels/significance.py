"""Is a difference between two models more than luck? The statistics of a comparison, which need nothing but counts.

    mcnemar(only_before, only_after) -> float                            exact two-sided p-value
    difference_interval(only_before, only_after, num_images, *, seed=0)  (low, high), 95 % paired bootstrap
    sign_flips(uneven, *, seed=0) -> float                               the same as mcnemar where mistakes differ in
    saving_interval(uneven, num_images, *, seed=0)                       price, and as difference_interval

Of a pair of models only the images on which exactly one is right say which is better (McNemar, Psychometrika 12, 1947).
`uneven` counts them by the price of a mistake on them: {20: (only_before, only_after), 1: (…)}.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import lcm

_RESAMPLES = 10_000
_MOST_STEPS = 200_000  # as many take about a quarter of a second
_FLIPS = 100_000
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


def sign_flips(uneven: Mapping[float, tuple[int, int]], *, most_steps: int = _MOST_STEPS, seed: int = 0) -> float:
    """Return the probability that mistakes cost two models so different sums by mere chance; two-sided.

    If the models are alike, each image on which one alone is right might as well be the other's: Fisher's paired
    randomization test. All flips of these images' signs are counted, which is exact, and with a single price McNemar's
    test. Where counting would take more than `most_steps`, as with very many different prices, 100,000 flips are drawn,
    and the observed one is counted among them, so that the p-value is no smaller than it should be.
    """
    units = _in_whole_units(uneven)
    seen = abs(sum(units[price] * (after - before) for price, (before, after) in uneven.items()))
    ways = {0: 1}
    for price, (before, after) in uneven.items():
        number, unit = before + after, units[price]
        if len(ways) * (number + 1) > most_steps:
            return _drawn({units[price]: sum(counts) for price, counts in uneven.items()}, seen, seed)
        sums: dict[int, int] = {}
        times = 1  # the binomial coefficient, from the one before: `comb` begins anew each time
        for won in range(number + 1):
            step = unit * (2 * won - number)
            for total, so_far in ways.items():
                sums[total + step] = sums.get(total + step, 0) + times * so_far
            times = times * (number - won) // (won + 1)
        ways = sums
    return sum(number for total, number in ways.items() if abs(total) >= seen) / sum(ways.values())


def saving_interval(
    uneven: Mapping[float, tuple[int, int]], num_images: Mapping[float, int], *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of how much less an image's mistakes cost (before - after), by 10,000 resamples.

    As `difference_interval`, which it is with a single price of 1; the two images that are added are shared out among
    the prices as the images are.
    """
    import numpy as np

    number, prices = sum(num_images.values()), list(num_images)
    added = [(*uneven.get(price, (0, 0)), num_images[price] / max(number, 1)) for price in prices]
    shares = [count + more for before, after, more in added for count in (before, after)]
    steps = [sign * price for price in prices for sign in (-1, 1)]
    total = number + 2
    both = max(total - sum(shares), 0.0)
    drawn = np.random.default_rng(seed).multinomial(total, np.array([*shares, both]) / total, size=_RESAMPLES)
    low, high = np.percentile(drawn[:, :-1] @ np.array(steps) / total, _OUTSIDE)
    return float(low), float(high)


def _in_whole_units(prices: Mapping[float, object]) -> dict[float, int]:
    """Return each price as a whole number of one unit: sums of 0.1 and 0.2 are then equal that should be."""
    exact = {price: Fraction(repr(price)) for price in prices}
    unit = lcm(*(one.denominator for one in exact.values()))
    return {price: int(one * unit) for price, one in exact.items()}


def _drawn(numbers: Mapping[int, int], seen: int, seed: int) -> float:
    """Return the p-value by flips that are drawn, for so many images of each whole price."""
    import numpy as np

    random, sums, most = np.random.default_rng(seed), np.zeros(_FLIPS), 0.0
    for unit, number in numbers.items():
        sums += float(unit) * (2 * random.binomial(number, 0.5, size=_FLIPS) - number)
        most += float(unit) * number
    return float(1 + np.count_nonzero(np.abs(sums) >= seen - 1e-9 * most)) / (1 + _FLIPS)
