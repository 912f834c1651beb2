"""What is said of a version that was rebuilt to other bytes."""

import math

import pytest

from flows.reproduce import begun_with, compared, made_with

PUBLISHED = {"accuracy": 0.81, "log_loss": 0.42, "num_test": 111}


@pytest.mark.parametrize(
    ("rebuilt", "sentence"),
    [
        (PUBLISHED, "the same metrics to the last digit"),
        (PUBLISHED | {"log_loss": 0.424}, "the same metrics within 0.004"),
        (
            PUBLISHED | {"accuracy": 0.75, "log_loss": 0.61},
            "other metrics: log_loss 0.61 instead of 0.42, accuracy 0.75 instead of 0.81",
        ),
        (PUBLISHED | {"top_5": 0.9}, "other metrics: top_5 0.9 instead of nothing"),
        ({"accuracy": 0.81, "num_test": 111}, "other metrics: log_loss nothing instead of 0.42"),
        (PUBLISHED | {"log_loss": None}, "other metrics: log_loss None instead of 0.42"),
    ],
)
def test_metrics_are_the_same_or_named(rebuilt: dict[str, float | None], sentence: str) -> None:
    assert compared(PUBLISHED, rebuilt) == sentence


def test_no_number_is_the_furthest_of_all() -> None:
    found = compared(PUBLISHED, {"accuracy": math.nan, "log_loss": 0.92, "num_test": 11})

    assert found.startswith("other metrics: accuracy nan instead of 0.81, num_test 11 instead of 111, log_loss 0.92 ")


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ({"numpy": "2.4", "torch": "2.14"}, ""),
        ({"numpy": "2.4", "torch": "2.15"}, "made with torch 2.14 (here 2.15)"),
        ({"torch": "2.15"}, "made with numpy 2.4 (here none), torch 2.14 (here 2.15)"),
    ],
)
def test_packages_of_another_version_than_the_published_models_are_named(here: dict[str, str], told: str) -> None:
    assert made_with({"versions": {"numpy": "2.4", "torch": "2.14"}}, {"versions": here}) == told


@pytest.mark.parametrize("card", [{}, {"versions": None}, {"versions": ["torch"]}])
def test_a_card_without_versions_says_nothing_of_them(card: dict[str, object]) -> None:
    assert made_with(card, card) == ""


def test_what_was_other_where_it_was_exported_is_named_once() -> None:
    before = {"versions": {"torch": "2.14"}, "export_versions": {"torch": "2.14", "onnx": "1.22", "python": "3.11.9"}}
    after = {"versions": {"torch": "2.15"}, "export_versions": {"torch": "2.15", "onnx": "1.23", "python": "3.11.9"}}

    assert made_with(before, after) == "made with torch 2.14 (here 2.15); exported with onnx 1.22 (here 1.23)"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"weights_sha256": "a" * 64}, {"weights_sha256": "a" * 64}, ""),
        ({"weights_sha256": None}, {"weights_sha256": None}, ""),
        ({}, {"weights_sha256": "a" * 64}, ""),
        (
            {"weights_sha256": "a" * 64},
            {"weights_sha256": "b" * 64},
            f"begun with other weights, sha256 {'a' * 16} (here {'b' * 16})",
        ),
        (
            {"weights_sha256": "a" * 64},
            {"weights_sha256": None},
            f"begun with other weights, sha256 {'a' * 16} (here none)",
        ),
    ],
)
def test_other_weights_to_begin_with_are_named(
    before: dict[str, str | None], after: dict[str, str | None], told: str
) -> None:
    assert begun_with(before, after) == told
