"""What is chosen on the valid side, and what the test side's numbers count."""

from dataclasses import replace

import numpy as np
import pytest

from stages import findings
from stages.scores import wilson_interval

CHOICE = findings.Choice(
    temperature=1.0,
    unsure_precision=0.9,
    unsure_below=0.0,
    valid_unsure_share=0.0,
    valid_sure_accuracy=1.0,
    valid_reckoned_accuracy=0.98,
)


def side(logits: "list[list[float]]", truth: list[int], groups: list[str] | None = None) -> findings.Side:
    names = groups or [str(number) for number in range(len(truth))]
    rows = [{"path": f"{number}.jpg", "species": "", "group": group} for number, group in enumerate(names)]
    return findings.Side(rows=rows, truth=np.array(truth), logits=np.array(logits))


def test_a_threshold_between_two_answers_that_are_nearly_sure_leaves_some_of_them_sure() -> None:
    clear = [[margin, 0.0] for margin in np.linspace(30, 60, 200)]
    unclear = [[0.5, 0.0]] * 200
    valid = side([*clear, *unclear], [1, *[0] * 199, *[0, 1] * 100])

    choice = findings.chosen(valid, 1.0)

    assert 0 < choice.valid_unsure_share < 1
    assert 0 < choice.valid_sure_accuracy <= 1
    assert choice.unsure_below <= 1


def test_what_is_told_of_one_mistake_more_is_of_the_sure_answers() -> None:
    valid = side([[4.0, 0.0]] * 30 + [[0.5, 0.0]] * 4, [0] * 30 + [1] * 4)

    told = findings.calibration(valid, findings.chosen(valid, 0.95), 10)

    assert (told["valid_sure_accuracy"], told["valid_reckoned_accuracy"]) == (1.0, round(30 / 31, 6))


def test_the_share_of_right_answers_where_the_model_is_sure_comes_with_its_base_and_interval() -> None:
    unclear = [[0.1, 0.0]] * 3
    test = side([[3.0, 0.0]] * 6 + unclear, [0] * 5 + [1] + [0] * 3, [*"abcd", "e", "e", *"fgh"])

    found = findings.calibration(test, replace(CHOICE, unsure_below=0.8), 10)["test_sure"]

    low, high = wilson_interval(5 / 6, 6**2 / (4 + 2**2))
    assert (found["num_images"], found["num_right"]) == (6, 5)
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((low, high), abs=1e-6)


def test_a_model_that_is_never_sure_has_no_share_of_right_answers() -> None:
    test = side([[0.1, 0.0]] * 3, [0, 1, 0])

    assert findings.calibration(test, replace(CHOICE, unsure_below=0.8), 10)["test_sure"] is None


def test_copies_of_one_picture_make_no_interval_narrower() -> None:
    logits, truth = [[1.0, 0.0]] * 10, [0] * 8 + [1] * 2
    breeds = {"pug": "", "beagle": ""}

    alone = findings.measured(side(logits, truth), CHOICE, breeds, 10)
    copied = findings.measured(side(logits * 3, truth * 3, [str(n) for n in range(10)] * 3), CHOICE, breeds, 10)

    assert (copied["accuracy"], copied["num_test"]) == (0.8, 30)
    assert (copied["accuracy_low"], copied["accuracy_high"]) == (alone["accuracy_low"], alone["accuracy_high"])
    assert alone["accuracy_low"] == pytest.approx(wilson_interval(0.8, 10)[0], abs=1e-6)


def test_the_interval_is_wider_where_one_picture_has_most_of_the_copies() -> None:
    groups = [*map(str, range(90)), *["copied"] * 60]
    test = side([[1.0, 0.0]] * 150, [0] * 90 + [1] * 60, groups)

    found = findings.measured(test, CHOICE, {"pug": "", "beagle": ""}, 10)

    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(
        wilson_interval(0.6, 150**2 / (90 + 60**2)), abs=1e-6
    )


def test_a_rare_label_that_is_never_answered_shows_in_the_macro_recall() -> None:
    test = side([[1.0, 0.0, 0.0]] * 100, [0] * 95 + [1] * 5)

    found = findings.measured(test, CHOICE, {"pug": "", "beagle": "", "without images": ""}, 10)

    assert (found["accuracy"], found["macro_recall"], found["min_recall"]) == (0.95, 0.5, 0.0)
