"""The card claims no more than was measured, and says where a wish was not reached."""

from dataclasses import fields
from typing import Any

import pytest
import yaml

from stages.card import card, markdown
from stages.export import ExportParams
from stages.tested import by_label
from stages.train import TrainParams
from tests.stages.settings import TRAIN

WORDS = ("weights_license", "data_name", "data_license", "intended_use", "limits")
SURE = {"num_images": 84, "num_right": 75, "accuracy_low": 0.808754, "accuracy_high": 0.9426}


def text(
    *,
    metrics: dict[str, float] | None = None,
    about: dict[str, Any] | None = None,
    texts: dict[str, Any] | None = None,
    num_arrived: int = 0,
    installed: dict[str, str] | None = None,
    **calibration: Any,
) -> str:
    """Return the card for a calibration, a training and words with some values changed."""
    measured = {
        "accuracy": 0.81,
        "accuracy_low": 0.73,
        "accuracy_high": 0.87,
        "num_test": 111,
        "unsure_share": 0.243,
        "baseline_logistic": 0.7,
    }
    chosen = {
        "unsure_precision": 0.95,
        "unsure_below": 0.69,
        "valid_sure_accuracy": 0.97,
        "valid_reckoned_accuracy": 0.952,
        "test_sure": SURE,
        "ece_by_chance": 0.056,
        "rare_labels": [],
    }
    trained = {
        "architecture": "resnet18",
        "method": "fine_tune",
        "learning_rate": 0.00234,
        "device": "cpu",
        "precision": "none",
        "labels": ["pug"],
        "num_train": 9,
        "num_valid": 9,
        "params": TRAIN,
        "weights_sha256": None,
        "versions": {"torch": "2.14"},
    }
    given = (
        dict.fromkeys(field.name for field in fields(ExportParams))
        | dict.fromkeys(WORDS, "words")
        | {"num_self_test_images": 8}
    )
    numbers = measured | ({"sure_accuracy": 75 / 84} if metrics is None else metrics)
    return markdown(
        card(
            about=trained | (about or {}),
            metrics=numbers,
            calibration=chosen | calibration,
            texts=given | (texts or {}),
            num_arrived=num_arrived,
            test_by_label={},
            export_versions={"torch": "2.14", "onnx": "1.23"} | (installed or {}),
        )
    )


def words(**changes: Any) -> str:
    """Return the card's text, each white space a blank."""
    return " ".join(text(**changes).split())


def header(num_arrived: int = 0, **texts: str) -> dict[str, Any]:
    """Return what the Hub reads of the card."""
    _, read, _ = text(texts=texts, num_arrived=num_arrived).split("---\n", maxsplit=2)
    content: dict[str, Any] = yaml.safe_load(read)
    return content


def test_the_card_says_on_how_many_images_the_share_of_right_answers_rests() -> None:
    text = words()

    assert "of the others 89.3% are right, 75 of 84 (95 % interval 80.9% to 94.3%)" in text


def test_a_card_calls_no_share_100_per_cent_but_all() -> None:
    numbers = {"accuracy": 2099 / 2100, "accuracy_low": 0.997307, "accuracy_high": 0.999916, "sure_accuracy": 1.0}

    text = words(metrics=numbers)

    assert "is right in 99.95% of the cases (95 % interval 99.7% to 99.99%)" in text
    assert "of the others 100.0% are right" in text


@pytest.mark.parametrize(("threshold", "told"), [(0.997, "99.7%"), (0.9, "90.0%"), (0.99996, "99.996%")])
def test_the_cards_threshold_is_none_that_every_answer_would_be_below(threshold: float, told: str) -> None:
    assert f'with a probability below {told} should be read as "unsure"' in words(unsure_below=threshold)


def test_the_card_says_where_no_threshold_reaches_the_wish() -> None:
    text = words(valid_sure_accuracy=0.955, valid_reckoned_accuracy=0.945)

    assert "No threshold reaches the 95.0% of right answers that were wished for" in text
    assert "chosen, this one reaches 95.5%, with one mistake more than was seen 94.5%. Its prob" in text


def test_a_card_of_a_model_that_is_never_sure_says_no_share_of_right_answers() -> None:
    assert "of the predictions are. Its prob" in words(test_sure=None, metrics={})


ALL = {"num_images": 38, "num_right": 32, "accuracy_low": 0.695935, "accuracy_high": 0.925605}
UNTIL = "than the 95.0% that were wished for: all of the interval lies below. Its prob"


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        (0.97, "97.0% of all are right (95.0% were wished for). On the test images"),
        (
            0.955,
            "95.5% of all are right (95.0% were wished for), with one mistake more than was seen 94.5%, and those "
            "above no threshold do better. On the test images",
        ),
    ],
)
def test_a_card_without_a_threshold_says_whether_none_was_needed_or_none_helped(reached: float, expected: str) -> None:
    numbers = {"valid_sure_accuracy": reached, "valid_reckoned_accuracy": reached - 0.01}
    text = words(unsure_below=0.0, **numbers, metrics={"sure_accuracy": 0.9})

    assert f'No prediction is to be read as "unsure": on the valid images, {expected}' in text


def test_a_card_without_a_threshold_says_what_the_test_side_says_of_it() -> None:
    flattered = {"unsure_below": 0.0, "valid_sure_accuracy": 1.0, "metrics": {"sure_accuracy": 32 / 38}}

    text, kept = words(**flattered, test_sure=ALL), words(**flattered, test_sure=ALL | {"accuracy_high": 0.95})

    told = "On the test images 84.2% are right, 32 of 38 (95 % interval 69.6% to 92.6%). That is less "
    assert f"{told}{UNTIL}" in text
    assert "32 of 38 (95 % interval 69.6% to 95.0%). Its prob" in kept


def test_a_card_with_a_threshold_that_falls_short_on_the_test_side_says_so() -> None:
    assert f"75 of 84 (95 % interval 80.9% to 94.3%). That is less {UNTIL}" in words()
    assert "75 of 84 (95 % interval 80.9% to 96.0%). Its prob" in words(test_sure=SURE | {"accuracy_high": 0.96})


def test_the_card_lists_the_calibration_error_with_what_chance_alone_would_show() -> None:
    said = text(metrics={"ece": 0.101, "ece_uncalibrated": 0.056, "sure_accuracy": 0.9})

    assert "| ece | 0.101 |\n| ece_by_chance (of a perfectly calibrated model) | 0.056 |\n| ece_unc" in said


def test_the_card_says_that_the_learner_answers_otherwise() -> None:
    assert "opening it runs code. Its `predict` answers otherwise than what was judged here" in words()


def test_the_card_speaks_for_the_pipelines_choices_alone() -> None:
    assert "that neither training nor any choice that the pipeline makes has seen" in words()


@pytest.mark.parametrize(("given", "name"), [("Apache-2.0", "apache-2.0"), ("CC BY-SA 4.0", "cc-by-sa-4.0")])
def test_a_licence_that_the_hub_knows_has_its_name_there(given: str, name: str) -> None:
    found = header(weights_license=given)

    assert (found["license"], "license_name" in found) == (name, False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Our terms, 2", {"license": "other", "license_name": "our-terms-2"}),
        ("独自ライセンス", {"license": "other", "license_name": "stated-in-the-card"}),
        (
            "as https://terms.example/2 says, and what else was agreed on",
            {
                "license": "other",
                "license_name": "stated-in-the-card",
                "license_link": "https://terms.example/2",
            },
        ),
        (
            "see https://terms.example/2.",
            {
                "license": "other",
                "license_name": "see-https-terms.example-2",
                "license_link": "https://terms.example/2",
            },
        ),
    ],
)
def test_any_other_licence_is_called_other(given: str, expected: dict[str, str]) -> None:
    found = header(weights_license=given)

    assert {name: value for name, value in found.items() if name.startswith("license")} == expected


@pytest.mark.parametrize(
    ("name", "listed"),
    [("drawn pets", None), ("ann/pets", ["ann/pets"]), ("ann/péts", None), ("ann/pets.", None), ("a--n/pets", None)],
)
def test_only_a_data_set_with_an_address_on_the_hub_is_listed_there(name: str, listed: list[str] | None) -> None:
    found = header(data_name=name)

    assert (found.get("datasets"), "base_model" in found) == (listed, False)


def test_the_hub_is_told_of_the_accuracy_and_on_how_many_images_it_rests() -> None:
    found = header(data_name="Drawn pets")

    (index,) = found["model-index"]
    assert index["name"] == "resnet18-drawn-pets"
    assert index["results"] == [
        {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"name": "Drawn pets", "type": "drawn-pets", "split": "test", "args": {"num_images": 111}},
            "metrics": [{"type": "accuracy", "name": "accuracy", "value": 0.81}],
        }
    ]
    assert (found["library_name"], found["pipeline_tag"]) == ("onnx", "image-classification")


def test_the_card_gives_the_notice_that_goes_with_photographs_that_are_passed_on() -> None:
    said = words(
        texts={
            "data_name": "Pets",
            "data_license": "CC BY-SA 4.0, https://cc.example",
            "data_citation": "Ann: Pets, 2012",
            "data_url": "https://pets.example",
        }
    )

    notice = "Photographs: Pets; Ann: Pets, 2012; https://pets.example. Licence: CC BY-SA 4.0, https://cc.example."
    assert f"{notice} The images here (in `self_test/` and `report.html`) are resized copies" in said


@pytest.mark.parametrize(("number", "counted"), [(1, "1 image"), (12, "12 images")])
def test_a_licence_is_claimed_for_the_sources_photographs_alone(number: int, counted: str) -> None:
    texts = {"data_name": "Pets", "data_license": "CC BY-SA 4.0"}

    said, read = words(texts=texts, num_arrived=number), header(num_arrived=number, **texts)

    apart = f"And {counted} that came later, of whose licence this project knows nothing."
    assert f"Licence: CC BY-SA 4.0. {apart} The images here" in said
    assert "trained on 9 images of Pets and of others that came later." in said
    data = read["model-index"][0]["results"][0]["dataset"]
    assert (data["name"], data["type"]) == (f"Pets and {counted} that came later", "pets")


def test_where_no_image_came_later_none_is_spoken_of() -> None:
    assert "came later" not in text()


def test_the_notice_leaves_out_what_nobody_has_said() -> None:
    assert "Photographs: words. Licence: words." in words()


def test_a_file_of_weights_is_named_without_its_folder() -> None:
    said = words(about={"params": TRAIN | {"weights": "/home/ann/private/pets.safetensors"}})

    assert "| weights | pets.safetensors |" in said
    assert "/home/ann" not in said


FITTED = TRAIN | {"method": "probe", "frozen_epochs": 0, "epochs": 0, "weights": "imagenet"}


def test_what_was_left_to_the_program_stands_with_what_it_took() -> None:
    auto = dict.fromkeys(("learning_rate", "device", "mixed_precision"), "auto")
    said = words(about={"params": TRAIN | auto, "device": "cuda", "precision": "bf16"})

    assert "| learning_rate | auto: 0.00234 |" in said
    assert "| device | auto: cuda |" in said
    assert "| mixed_precision | auto: bf16 |" in said


def test_the_card_says_how_a_head_was_fitted_and_for_which_mix_of_labels_its_probabilities_hold() -> None:
    said = words(about={"method": "probe", "params": FITTED})

    assert "The head was fitted at once, as a logistic regression in which each label counts the same; the body" in said
    assert "where labels are uneven, the probability of a rare one tends to be too high" in said
    assert "| balance | auto: labels |" in said
    assert "probabilities hold where labels are as frequent as among the training images" in words()


NAMED = {"num_images": 7, "num_found": 4, "num_named": 5, "recall_low": 0.25, "recall_high": 0.842}
RARE = {"label": "defect", "num_test": 240, "num_expected": 11.9, "num_missed_surely": 3, "thresholds": []}


def test_the_card_says_how_often_a_rare_label_is_found() -> None:
    said = words(rare_labels=[RARE | {"as_named": {"test": NAMED}}])

    assert (
        "It finds 4 of the 7 test images of the rare label `defect` (95 % interval 25.0% to 84.2%); 4 of its 5 answers "
        '`defect` are right. 3 that it misses it calls by another name without being "unsure". The probabilities of '
        "`defect` on all test images add up to 11.9."
    ) in said
    assert "rare label" not in words()


def test_the_card_says_that_a_rare_label_is_never_answered() -> None:
    never = NAMED | {"num_found": 0, "num_named": 0, "recall_low": 0.0, "recall_high": 0.354}
    said = words(rare_labels=[RARE | {"as_named": {"test": never}}])

    assert "(95 % interval 0.0% to 35.4%); it never answers `defect`. 3 that it misses" in said


def test_the_card_says_what_counted_the_same_in_training() -> None:
    fine_tuned, probe = TRAIN | {"weights": "imagenet"}, {"method": "probe"}

    assert "| balance | auto: none |" in words(about={"params": fine_tuned})
    assert "each image counts the same; the body" in words(about=probe | {"params": FITTED | {"balance": "none"}})
    assert "| balance | auto: labels, then none |" in words(about=probe | {"params": FITTED | {"epochs": 1}})
    assert "a rare one tends to be too high" in words(about={"params": fine_tuned | {"balance": "labels"}})


@pytest.mark.slow
@pytest.mark.usefixtures("fastai")
def test_settings_that_a_fitted_head_passes_over_are_not_listed() -> None:
    from stages.head import passed_over

    odd = {"gpus": 2, "learning_rate": 0.5, "learning_rate_spread": 3.0, "weight_decay": 0.5, "loss": "focal"}
    given = FITTED | odd | {"early_stopping": 2, "mixed_precision": "bf16"}
    said = words(about={"method": "probe", "params": given})

    names = passed_over(TrainParams(**given))
    assert len(names) == 9
    assert [name for name in [*names, "epochs"] if f"| {name} |" in said] == []


@pytest.mark.parametrize(("simple", "told"), [(0.82, True), (0.8, False)])
def test_the_card_says_where_a_simpler_way_does_as_well(simple: float, told: bool) -> None:
    said = words(metrics={"baseline_logistic": simple, "sure_accuracy": 0.9})

    assert (
        "It doesn't beat a logistic regression on the features of its body before any training: 82.0%." in said
    ) == told


def test_the_card_says_where_the_numbers_of_each_label_are() -> None:
    assert "`report.html` has the numbers of each label" in words()


def test_the_card_says_from_which_weights_a_training_began() -> None:
    given = {"weights_sha256": "a" * 64, "params": TRAIN | {"weights": "imagenet", "weights_sha256": "a" * 64}}
    file = {"weights_sha256": "b" * 64, "params": TRAIN | {"weights": "/home/ann/pets.safetensors"}}

    assert f"Begun with imagenet weights, sha256 {'a' * 64}. |" in words(about=given)
    assert "| weights_sha256 |" not in words(about=given)
    assert f"Begun with the weights of `pets.safetensors`, sha256 {'b' * 64}. |" in words(about=file)
    assert "Begun from scratch. |" in words()


def test_the_card_names_what_was_installed_where_the_model_was_trained_and_where_it_was_exported() -> None:
    trained = {"versions": {"torch": "2.14", "python": "3.11.9"}}

    assert "Trained with torch 2.14. Exported with onnx 1.23." in words()
    elsewhere = words(about=trained, installed={"python": "3.12.1"})
    assert "Trained with python 3.11.9, torch 2.14. Exported with onnx 1.23, python 3.12.1." in elsewhere
    alike = words(about={"versions": {"torch": "2.14", "onnx": "1.23"}})
    assert "Trained with onnx 1.23, torch 2.14. Exported with the same." in alike


def test_of_copies_on_the_test_side_the_first_alone_is_counted() -> None:
    rows = [{"label": label, "group": group} for label, group in zip("bbaab", "11234", strict=True)]

    counts = by_label(rows, ["b", "a", "a", "b", "b"])

    assert list(counts) == ["a", "b"]
    assert counts == {"a": {"num_images": 2, "num_right": 1}, "b": {"num_images": 2, "num_right": 2}}
