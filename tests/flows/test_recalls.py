"""A mean over labels is called better than naming one of them always no oftener than chance may."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from flows.recalls import exact_interval, least_recall, mean_recall
from flows.slipping import interval as wilson

EQUAL = {"good": 1.0, "defect": 1.0}


@settings(deadline=None, max_examples=50)  # of a busy machine
@given(st.integers(1, 400).flatmap(lambda number: st.tuples(st.integers(0, number), st.just(number))))
def test_the_interval_of_a_label_is_clopper_and_pearsons(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="exact")

    assert exact_interval(*counts) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("num_good", "num_defects"), [(120, 5), (60, 6), (20, 6)])
def test_who_guesses_passes_for_better_than_chance_in_fewer_than_one_of_forty_draws(
    num_good: int, num_defects: int
) -> None:
    """Reckoned for those who say `defect` as often of any image; Wilson's intervals would let more of them pass."""

    def passing(interval: object) -> float:
        low = {(k, number): interval(k, number)[0] for number in (num_good, num_defects) for k in range(number + 1)}  # type: ignore[operator]
        good, found = np.arange(num_good + 1) / num_good, np.arange(num_defects + 1) / num_defects
        below_good = good - np.array([low[k, num_good] for k in range(num_good + 1)])
        below_found = found - np.array([low[k, num_defects] for k in range(num_defects + 1)])
        mean = (good[:, None] + found) / 2
        passes = mean - np.sqrt(below_good[:, None] ** 2 + below_found**2) / 2 > 0.5
        return max(
            float(binom.pmf(range(num_good + 1), num_good, 1 - says) @ passes
                  @ binom.pmf(range(num_defects + 1), num_defects, says))
            for says in np.linspace(0.002, 0.998, 100)
        )  # fmt: skip

    assert passing(exact_interval) < 0.025 < passing(wilson)


def test_the_mean_has_the_labels_intervals_combined() -> None:
    counts = {"good": (233, 232), "defect": (7, 6)}

    found = mean_recall(counts, EQUAL)

    below = [num_right / number - exact_interval(num_right, number)[0] for number, num_right in counts.values()]
    assert found.mean == pytest.approx((232 / 233 + 6 / 7) / 2)
    assert found.low == pytest.approx(found.mean - sqrt(below[0] ** 2 + below[1] ** 2) / 2)
    assert (found.constant, found.named) == (0.5, "good")


@settings(deadline=None, max_examples=50)  # of a busy machine
@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 20), min_size=4),
)
def test_no_model_of_an_accuracy_has_a_mean_below_the_least(
    drawn: dict[str, tuple[int, int]], weights: dict[str, float]
) -> None:
    counts = {label: (number, min(right, number)) for label, (number, right) in drawn.items()}
    accuracy = sum(right for _, right in counts.values()) / sum(number for number, _ in counts.values())

    found = mean_recall(counts, weights)

    assert least_recall(counts, weights, accuracy) <= found.mean + 1e-9
    assert 0 <= found.low <= found.mean + 1e-9
    assert found.mean <= found.high + 1e-9 <= 1 + 1e-9


def test_the_least_mean_of_an_accuracy_takes_the_images_that_count_least_not_the_labels() -> None:
    counts, weights = {"dear": (2, 0), "cheap": (100, 0)}, {"dear": 3.0, "cheap": 30.0}

    assert least_recall(counts, weights, 51 / 102) == pytest.approx(0.3 * 51 / 33)
