"""That a model slips is said by an exact test: by chance no oftener than allowed, and not for another mix of labels."""

from dataclasses import replace
from itertools import product
from math import comb, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from flows.slipping import Tally, interval, label_limit, least_unnoticed, p_value, slip_p_value


def tally(num_right: int, num_images: int, test_right: int, test_images: int, label: str = "pug") -> Tally:
    counts = {"num_right": num_right, "num_images": num_images, "test_right": test_right, "test_images": test_images}
    return Tally(label=label, **counts)


@st.composite
def tallies(draw: st.DrawFn, most: int = 6) -> Tally:
    num_images, test_images = draw(st.integers(0, most)), draw(st.integers(0, most))
    return tally(draw(st.integers(0, num_images)), num_images, draw(st.integers(0, test_images)), test_images)


def enumerated(found: list[Tally]) -> float:
    """Return the p-value by going through every way in which the labels' right answers may fall."""
    ways: dict[int, int] = {}
    for rights in product(*(range(one.num_images + 1) for one in found)):
        number = prod(
            comb(one.num_right + one.test_right, right)
            * comb(one.num_images + one.test_images - one.num_right - one.test_right, one.num_images - right)
            for one, right in zip(found, rights, strict=True)
        )
        ways[sum(rights)] = ways.get(sum(rights), 0) + number
    seen = sum(one.num_right for one in found)
    return sum(number for right, number in ways.items() if right <= seen) / sum(ways.values())


@settings(deadline=None)  # of a busy machine
@given(st.lists(tallies(), max_size=3))
def test_the_p_value_is_that_of_all_ways_in_which_right_answers_may_fall(found: list[Tally]) -> None:
    assert p_value(found) == pytest.approx(enumerated(found), rel=1e-12)


@settings(deadline=None)  # of a busy machine
@given(tallies(most=40))
def test_for_one_label_it_is_fishers_exact_test(its: Tally) -> None:
    table = [[its.num_right, its.num_images - its.num_right], [its.test_right, its.test_images - its.test_right]]

    assert p_value([its]) == pytest.approx(fisher_exact(table, alternative="less")[1], rel=1e-9)


def test_labels_without_test_images_or_without_new_ones_change_nothing() -> None:
    its = tally(7, 12, 36, 40)
    others = [tally(0, 5, 0, 0, "cat"), tally(0, 0, 3, 9, "dog")]

    assert p_value([its, *others]) == p_value([its]) == pytest.approx(0.0223, rel=0.01)
    assert [one.surplus for one in others] == [0, 0]


def test_another_mix_of_labels_is_no_slip() -> None:
    """Of the hard label 40 % are right on the test side, and now nearly all images are of it."""
    found = [tally(16, 40, 16, 40, "hard"), tally(2, 2, 40, 40, "easy")]

    assert sum(one.num_right for one in found) / 42 < 0.5 < 56 / 80
    assert p_value(found) > 0.5
    assert sum(one.expected for one in found) == 18


def test_nothing_at_all_is_no_slip() -> None:
    assert p_value([]) == 1


@pytest.mark.parametrize("limit", [0.05, 0.001])
def test_a_model_that_is_as_good_as_ever_is_said_to_slip_no_oftener_than_was_allowed(limit: float) -> None:
    random = np.random.default_rng(0)
    share = np.linspace(0.6, 0.98, 8)
    new, tested = np.array([1, 2, 3, 5, 8, 8, 20, 30]), np.array([5, 40, 10, 20, 8, 30, 20, 10])
    rights, test_rights = random.binomial(new, share, (2000, 8)), random.binomial(tested, share, (2000, 8))

    drawn = [list(map(tally, *map(np.ndarray.tolist, (right, new, test_right, tested))))
             for right, test_right in zip(rights, test_rights, strict=True)]  # fmt: skip

    for reckoned in (p_value, slip_p_value):
        assert np.mean([reckoned(its) <= limit for its in drawn]) <= limit


def test_a_model_that_names_a_quarter_fewer_rightly_is_found_out() -> None:
    random = np.random.default_rng(0)
    new, tested = np.full(8, 10), np.full(8, 15)
    drawn = zip(random.binomial(new, 0.65, (200, 8)), random.binomial(tested, 0.9, (200, 8)), strict=True)

    found = [p_value(map(tally, *map(np.ndarray.tolist, (right, new, test_right, tested))))
             for right, test_right in drawn]  # fmt: skip

    assert np.mean(np.array(found) <= 0.001) > 0.8


def test_a_rare_label_that_falls_is_found_out_though_the_common_one_does_well() -> None:
    found = [tally(0, 9, 6, 7, "defect"), tally(485, 491, 216, 233, "good")]

    assert p_value(found) == pytest.approx(0.997, abs=1e-3)
    assert slip_p_value(found) == 4 * p_value(found[:1]) == pytest.approx(0.0035, abs=1e-4)


@settings(deadline=None)  # of a busy machine
@given(st.lists(tallies(), max_size=4), st.floats(0.0001, 0.5))
def test_there_is_a_slip_where_the_sum_falls_or_one_label_by_its_own_limit(found: list[Tally], limit: float) -> None:
    held = [its for its in found if its.num_images and its.test_images]

    by_sum = p_value(found) <= (limit / 2 if len(held) > 1 else limit)
    by_label = any(p_value([its]) <= label_limit(found, limit) for its in held)

    assert (slip_p_value(found) <= limit) == (by_sum or by_label)


@settings(deadline=None)  # of a busy machine
@given(tallies(most=30), st.floats(0.0001, 0.5))
def test_a_fall_to_below_what_goes_unnoticed_is_one_that_the_test_calls_a_slip(its: Tally, limit: float) -> None:
    whole = replace(its, num_right=its.num_images)

    least = least_unnoticed([whole], limit)

    slips = [p_value([replace(whole, num_right=number)]) <= limit for number in range(whole.num_images)]
    assert slips == [number < least for number in range(whole.num_images)]


def test_a_fall_is_reckoned_with_the_same_share_lost_of_each_label() -> None:
    found = [tally(40, 40, 38, 40), tally(20, 20, 18, 20, "cat"), tally(0, 5, 5, 5, "dog")]

    least = least_unnoticed(found, 0.002)

    assert least % 3 == 0
    red, fewer = tally(2 * least // 3, 40, 38, 40), tally(2 * least // 3 - 1, 40, 38, 40)
    cat = tally(least // 3, 20, 18, 20, "cat")
    assert slip_p_value([red, cat, found[2]]) > 0.002
    assert slip_p_value([fewer, cat, found[2]]) <= 0.002


def test_many_images_of_many_labels_take_no_time_and_do_not_overflow() -> None:
    found = [tally(150, 250, 3600, 4000), *(tally(9, 10, 90, 100) for _ in range(36))]

    assert 0 < p_value(found) < 1e-15


@pytest.mark.parametrize(
    ("num_right", "num_images", "expected"), [(41, 60, (0.558, 0.787)), (0, 10, (0, 0.278)), (10, 10, (0.722, 1))]
)
def test_the_interval_of_a_share_is_wilsons(num_right: int, num_images: int, expected: tuple[float, float]) -> None:
    assert interval(num_right, num_images) == pytest.approx(expected, abs=1e-3)
