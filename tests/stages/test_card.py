"""The card claims no more than was measured, and says where a wish was not reached."""

from typing import Any

import pytest

from stages.card import card, markdown

SURE = {"num_images": 84, "num_right": 75, "accuracy_low": 0.808754, "accuracy_high": 0.9426}


def words(*, metrics: dict[str, float] | None = None, **calibration: Any) -> str:
    """Return the card's text, each white space a blank, for a calibration with some values changed."""
    measured = {"accuracy": 0.81, "accuracy_low": 0.73, "accuracy_high": 0.87, "num_test": 111, "unsure_share": 0.243}
    chosen = {"unsure_precision": 0.95, "unsure_below": 0.69, "valid_sure_accuracy": 0.952, "test_sure": SURE}
    about = {
        "architecture": "resnet18",
        "labels": ["pug"],
        "num_train": 9,
        "num_valid": 9,
        "params": {},
        "versions": {},
    }
    texts = dict.fromkeys(("weights_license", "data_name", "data_license", "intended_use", "limits"), "words")
    numbers = measured | ({"sure_accuracy": 75 / 84} if metrics is None else metrics)
    fields = card(about=about, metrics=numbers, calibration=chosen | calibration, texts=texts)
    return " ".join(markdown(fields).split())


def test_the_card_says_on_how_many_images_the_share_of_right_answers_rests() -> None:
    text = words()

    assert "of the others 89.3% are right, 75 of 84 (95 % interval 80.9% to 94.3%). ## How to use" in text


def test_the_card_says_where_no_threshold_reaches_the_wish() -> None:
    text = words(valid_sure_accuracy=0.91)

    assert "No threshold reaches the 95.0% of right answers that were wished for" in text
    assert "this one reaches 91.0%. ## How to use" in text


def test_a_card_of_a_model_that_is_never_sure_says_no_share_of_right_answers() -> None:
    assert "of the predictions are. ## How to use" in words(test_sure=None, metrics={})


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        (0.97, "97.0% of all are right (95.0% were wished for). ## How to use"),
        (0.6, "60.0% of all are right (95.0% were wished for), and those above no threshold do better. ## How to use"),
    ],
)
def test_a_card_without_a_threshold_says_whether_none_was_needed_or_none_helped(reached: float, expected: str) -> None:
    text = words(unsure_below=0.0, valid_sure_accuracy=reached, metrics={"sure_accuracy": 0.9})

    assert f'No prediction is to be read as "unsure": on the valid images, {expected}' in text


def test_the_card_speaks_for_the_pipelines_choices_alone() -> None:
    assert "that neither training nor any choice that the pipeline makes has seen" in words()
