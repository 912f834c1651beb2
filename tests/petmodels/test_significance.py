"""What mistakes cost is compared by all flips of signs: exact, and McNemar's test where all cost the same."""

import time
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petmodels.significance import difference_interval, mcnemar, saving_interval, sign_flips

COUNTS = st.tuples(st.integers(0, 4), st.integers(0, 4))
PRICES = st.sampled_from([0.1, 0.2, 0.3, 1.0, 2.5, 20.0])


def enumerated(uneven: dict[float, tuple[int, int]]) -> float:
    """Return the p-value by going through all flips, one image at a time, in tenths."""
    tenths = [round(10 * price) for price, counts in uneven.items() for _ in range(sum(counts))]
    seen = abs(sum(round(10 * price) * (after - before) for price, (before, after) in uneven.items()))
    sums = Counter(abs(sum(map(int.__mul__, tenths, signs))) for signs in product((-1, 1), repeat=len(tenths)))
    return sum(number for total, number in sums.items() if total >= seen) / sums.total()


@settings(deadline=None, max_examples=60)  # of a busy machine
@given(st.dictionaries(PRICES, COUNTS, max_size=3).filter(lambda its: sum(map(sum, its.values())) <= 12))
def test_all_flips_are_counted_whatever_the_prices(uneven: dict[float, tuple[int, int]]) -> None:
    assert sign_flips(uneven) == enumerated(uneven)


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([0.1, 1.0, 20.0]))
def test_with_one_price_it_is_mcnemars_test_to_the_digit(before: int, after: int, price: float) -> None:
    assert sign_flips({price: (before, after)}) == mcnemar(before, after)


def test_six_defects_found_more_are_no_chance_though_as_many_false_alarms_come_and_go() -> None:
    assert sign_flips({20.0: (0, 6), 1.0: (5, 5)}) == pytest.approx(2 * 638 / 1024 / 64, rel=1e-12)
    assert mcnemar(5, 11) == pytest.approx(0.21, abs=0.001)


def test_of_too_many_prices_flips_are_drawn_the_same_ones_each_time() -> None:
    uneven = {20.0: (0, 6), 1.0: (5, 5), 3.5: (2, 1)}

    drawn = sign_flips(uneven, most_steps=1)

    assert drawn == sign_flips(uneven, most_steps=1) != sign_flips(uneven)
    assert drawn == pytest.approx(sign_flips(uneven), abs=0.002)
    assert sign_flips({1.0: (0, 60)}, most_steps=1) == pytest.approx(1 / 100_001)  # never 0


def test_a_hundred_labels_of_their_own_prices_take_little_time() -> None:
    uneven = {1 + number / 7: (number % 3, 1) for number in range(100)}

    assert 0 < sign_flips(uneven) <= 1


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
@settings(deadline=None, max_examples=20)  # of a busy machine
def test_with_one_price_of_1_the_interval_is_that_of_the_difference(before: int, after: int, both: int) -> None:
    number = before + after + both

    assert saving_interval({1.0: (before, after)}, {1.0: number}) == pytest.approx(
        difference_interval(before, after, number) if number else saving_interval({}, {1.0: 0}), abs=1e-12
    )


def test_the_interval_of_what_is_saved_holds_what_was_seen_and_has_a_width_where_nothing_differs() -> None:
    images = {20.0: 9, 1.0: 291}

    low, high = saving_interval({20.0: (0, 6), 1.0: (5, 5)}, images)
    none = saving_interval({}, images)

    assert 0 < low < 120 / 300 < high
    assert none[0] < 0 < none[1]


def test_flips_of_ten_thousand_images_are_counted_in_a_moment() -> None:
    begun = time.process_time()

    p_value = sign_flips({20.0: (4_950, 5_050)})

    assert time.process_time() - begun < 2  # 0.04 s; 7 with each binomial coefficient from the beginning
    assert p_value == mcnemar(4_950, 5_050)
