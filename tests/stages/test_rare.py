"""How often a rare label is found, and by which threshold more of it."""

from typing import Any

import numpy as np
import pytest

from stages.findings import Choice, Side, chosen
from stages.rare import rare_labels

# The logits of `defect` over those of `good`: of all defects, and of the good ones that don't lie far below.
VALID = ([3.0, 2.0, 1.0, 0.5, -0.5, -0.6, -1.0, -2.0, -4.0, -6.0], [0.2, -0.8, -1.5, -3.0, -3.5])
TEST = ([4.0, 2.5, -0.7, -0.9, -9.0], [1.5, -0.65])
LABELS = ["defect", "good"]
KEEP = Choice(temperature=1.0, unsure_precision=0.95, unsure_below=0.0, valid_unsure_share=0.0,
              valid_sure_accuracy=0.9, valid_reckoned_accuracy=0.9)  # fmt: skip


def side(defects: list[float], good: list[float], num_images: int) -> Side:
    logits = np.array([*defects, *good, *[-8.0] * (num_images - len(defects) - len(good))])
    rows = [{"path": str(number)} for number in range(num_images)]
    truth = np.array([0] * len(defects) + [1] * (num_images - len(defects)), dtype=np.int64)
    return Side(rows=rows, truth=truth, logits=np.stack([logits, np.zeros(num_images)], axis=1))


def found(num_test: int = 200, **changes: Any) -> list[dict[str, Any]]:
    choice = Choice(**(vars(KEEP) | changes))
    return rare_labels(side(*VALID, 300), side(*TEST, num_test), LABELS, choice)


def counted(of: dict[str, Any]) -> tuple[int, int, int]:
    return of["num_found"], of["num_images"], of["num_named"]


def test_a_rare_label_is_counted_as_it_is_named_with_an_interval() -> None:
    (one,) = found()

    assert (one["label"], one["num_test"]) == ("defect", 200)
    assert [counted(one["as_named"][name]) for name in ("valid", "test")] == [(4, 10, 5), (2, 5, 3)]
    assert (one["as_named"]["test"]["recall_low"], one["as_named"]["test"]["recall_high"]) == (0.117621, 0.769276)


def test_thresholds_find_their_share_of_the_valid_side_and_are_only_counted_on_the_test_side() -> None:
    (one,) = found()

    assert [row["valid"]["num_found"] for row in one["thresholds"]] == [5, 8, 9, 10]
    assert [counted(row["test"]) for row in one["thresholds"]] == [(2, 5, 3), (4, 5, 6), (4, 5, 6), (4, 5, 6)]


def test_a_threshold_lies_between_two_claims_with_few_digits() -> None:
    (one,) = found()

    half = one["thresholds"][0]["at_least"]
    above, below = (1 / (1 + np.exp(-logit)) for logit in (-0.5, -0.6))
    assert below < half <= above
    assert half == round(half, 2)


def test_a_rare_labels_images_that_are_called_another_name_without_being_unsure_are_counted() -> None:
    assert [found(unsure_below=least)[0]["num_missed_surely"] for least in (0.0, 0.7, 0.9)] == [3, 2, 1]


def test_what_the_probabilities_of_a_rare_label_add_up_to_is_told() -> None:
    claims = 1 / (1 + np.exp(-np.array([*TEST[0], *TEST[1], *[-8.0] * 193])))

    assert found()[0]["num_expected"] == pytest.approx(claims.sum(), abs=0.05)


def test_no_label_is_rare_where_all_have_a_fifth_of_an_even_share() -> None:
    assert found(num_test=50) == []


def test_a_rare_label_without_a_valid_image_has_no_threshold() -> None:
    (one,) = rare_labels(side([], [], 100), side(*TEST, 200), LABELS, KEEP)

    assert one["thresholds"] == []
    assert one["as_named"]["valid"] == {"num_images": 0, "num_found": 0, "num_named": 0}


def test_the_rarest_three_labels_come_first_and_alone() -> None:
    truth = np.repeat(np.arange(6), [900, 3, 2, 4, 1, 900])
    labels = ["plain", "spot", "square", "scratch", "cross", "other"]
    every = Side(rows=[{"path": str(n)} for n in range(len(truth))], truth=truth, logits=np.eye(6)[truth] * 9)

    told = rare_labels(every, every, labels, chosen(every, 0.95))

    assert [one["label"] for one in told] == ["cross", "square", "spot"]
