"""The metrics give what a hand computes, and keep their word at the edges."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.scores import (
    Bin,
    Pair,
    breed_scores,
    calibration_error,
    chance_calibration_error,
    confused_pairs,
    effective_number,
    log_probabilities,
    reckoned_accuracy,
    reliability,
    species_accuracy,
    temperature,
    top_k_accuracy,
    unsure_threshold,
    wilson_interval,
)


def test_probabilities_of_huge_logits_stay_finite_and_sum_to_one() -> None:
    probabilities = np.exp(log_probabilities([[1000.0, 999.0, -1000.0]]))

    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_wilson_interval_gives_the_textbook_values() -> None:
    assert wilson_interval(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_keeps_to_the_unit_interval(counts: tuple[int, int]) -> None:
    low, high = wilson_interval(counts[0] / counts[1], counts[1])

    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1


@pytest.mark.parametrize(
    ("groups", "expected"), [("abcd", 4), ("aabbcc", 3), ("aaaa", 1), ("a" * 60 + "bcdefghij" * 10, 150**2 / 4500)]
)
def test_the_effective_number_of_images_is_smaller_the_less_evenly_copies_are_spread(
    groups: str, expected: float
) -> None:
    assert effective_number(list(groups)) == pytest.approx(expected)


def test_top_two_accuracy_counts_the_second_guess() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])

    assert top_k_accuracy(probabilities, np.array([0, 1, 2]), 2) == pytest.approx(2 / 3)


def test_top_five_of_three_breeds_is_always_right() -> None:
    assert top_k_accuracy(np.array([[0.5, 0.3, 0.2]]), np.array([2]), 5) == 1


def test_a_breed_that_was_never_answered_has_no_precision_and_one_without_images_no_recall() -> None:
    scores = breed_scores(np.array([0, 0, 1]), np.array([0, 0, 3]), 4)

    assert scores == [(1, 1, 1, 2), (None, 0, 0, 1), (None, None, None, 0), (0, None, 0, 0)]


def test_species_accuracy_passes_over_images_of_unknown_species() -> None:
    assert species_accuracy(["cat", "dog", ""], ["cat", "cat", "dog"]) == 0.5


def test_species_accuracy_is_none_where_no_species_is_known() -> None:
    assert species_accuracy(["", ""], ["", ""]) is None


def test_confused_pairs_begin_with_the_most_frequent() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 2, 0, 0, 1])

    assert confused_pairs(labels, predicted) == [Pair(2, 0, 2), Pair(0, 1, 1), Pair(1, 2, 1), Pair(2, 1, 1)]


def test_confused_pairs_of_a_faultless_model_are_none() -> None:
    assert confused_pairs(np.array([0, 1]), np.array([0, 1])) == []


def test_reliability_leaves_out_empty_bins_and_puts_certainty_in_the_last() -> None:
    bins = reliability(np.array([0.42, 0.48, 1.0]), np.array([True, False, True]), 10)

    assert bins == [Bin(pytest.approx(0.45), 0.5, 2), Bin(1.0, 1.0, 1)]


def test_calibration_error_weighs_each_bin_by_its_images() -> None:
    assert calibration_error([Bin(0.5, 0.7, 3), Bin(0.9, 0.8, 1)]) == pytest.approx(0.175)


def test_a_perfectly_calibrated_model_shows_the_calibration_error_of_chance() -> None:
    one, hundred = np.array([0.7]), np.full(100, 0.5)

    assert chance_calibration_error(one, 10) == pytest.approx(2 * 0.7 * 0.3, abs=0.02)
    assert chance_calibration_error(hundred, 10) == pytest.approx(math.sqrt(0.25 / 100 * 2 / math.pi), rel=0.05)
    assert chance_calibration_error(np.ones(9), 10) == 0


def test_the_calibration_error_of_chance_is_found_for_ten_thousand_images_within_a_second() -> None:
    confidence = np.random.default_rng(5).random(10_000)

    began = time.process_time()
    found = chance_calibration_error(confidence, 10)

    assert time.process_time() - began < 1
    assert 0 < found < 0.02
    assert found == chance_calibration_error(confidence, 10)


def test_temperature_undoes_a_known_overconfidence() -> None:
    draw = np.random.default_rng(7)
    honest = draw.normal(size=(20000, 5)) * 2
    labels = np.array([draw.choice(5, p=p) for p in np.exp(log_probabilities(honest))])

    assert temperature(honest * 3, labels) == pytest.approx(3, rel=0.05)


@pytest.mark.slow
def test_temperature_is_a_minimum_of_the_log_loss() -> None:
    draw = np.random.default_rng(1)
    logits, labels = draw.normal(size=(200_000, 4)), draw.integers(0, 4, 200_000)
    logits[np.arange(len(labels)), labels] += 1

    def loss(value: float) -> float:
        return float(-log_probabilities(logits, temperature=value)[np.arange(len(labels)), labels].mean())

    best = temperature(logits, labels)

    assert loss(best) < min(loss(best * 0.99), loss(best * 1.01))


def test_a_few_images_without_a_mistake_do_not_make_the_model_certain() -> None:
    logits, labels = np.eye(3)[[0, 1, 2]] * 3, np.array([0, 1, 2])

    few, many = temperature(logits, labels), temperature(np.tile(logits, (2000, 1)), np.tile(labels, 2000))

    assert 0.8 < few < 1
    assert many < 0.4


def test_unsure_threshold_is_the_lowest_that_reaches_the_precision() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, False, True, True, False])

    assert unsure_threshold(confidence, right, 0.6) == pytest.approx(0.55)


def test_a_threshold_reckons_with_one_mistake_more_than_it_saw() -> None:
    confidence = np.linspace(0.99, 0.7, 30)
    right = np.arange(30) < 20

    assert unsure_threshold(confidence, right, 19 / 20) == pytest.approx(confidence[19:21].mean())  # 20 of 20 + 1
    assert reckoned_accuracy(right[confidence >= confidence[19]]) == pytest.approx(20 / 21)
    assert unsure_threshold(confidence, right, 20 / 22) == pytest.approx(confidence[20:22].mean())  # 20 of 21 + 1


def test_unsure_threshold_is_zero_where_all_predictions_together_are_good_enough() -> None:
    assert unsure_threshold(np.array([0.9, 0.8, 0.2]), np.array([False, True, True]), 0.5) == 0


def test_unsure_threshold_is_zero_where_those_above_none_do_better_than_all_together() -> None:
    assert unsure_threshold(np.array([0.9, 0.8, 0.7]), np.array([False, True, True]), 0.95) == 0


def test_unsure_threshold_takes_the_best_precision_where_none_reaches_the_wish() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([False, True, True, False])

    assert unsure_threshold(confidence, right, 0.95) == pytest.approx(0.65)


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=60), st.floats(0.05, 1))
def test_predictions_from_the_threshold_on_reach_the_precision_or_nothing_does(
    images: list[tuple[int, bool]], precision: float
) -> None:
    confidence, right = np.array([c / 20 for c, _ in images]), np.array([r for _, r in images])

    believed = right[confidence >= unsure_threshold(confidence, right, precision)]

    best = max(reckoned_accuracy(right[confidence >= value]) for value in confidence)
    assert reckoned_accuracy(believed) >= min(precision, best)
