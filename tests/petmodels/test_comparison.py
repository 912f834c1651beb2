"""Comparing two models: the counts, and what may be concluded from them."""

import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import petmodels
from petmodels.bundle import local_files
from petmodels.errors import RequestError
from petmodels.model import Model
from tests.petmodels.bundles import image_bytes, make_bundle, write_json


@pytest.fixture
def right(tmp_path: Path) -> Model:
    """Return a model that tells the colours apart."""
    return Model(local_files(make_bundle(tmp_path / "right")), "right")


@pytest.fixture
def confused(tmp_path: Path) -> Model:
    """Return a model that calls red things green and green things red."""
    folder = make_bundle(tmp_path / "confused", self_test=False)
    write_json(folder / "labels.json", {"format": 1, "labels": ["green", "red", "blue"]})
    return Model(local_files(folder), "confused")


COLOURED = [(image_bytes(colour), colour) for colour in ("red", "red", "green", "blue")]


def test_a_comparison_counts_who_alone_is_right(right: Model, confused: Model) -> None:
    found = petmodels.compare(confused, right, COLOURED)

    assert (found.before, found.after, found.num_images) == ("confused", "right", 4)
    assert (found.before_accuracy, found.after_accuracy, found.difference) == (0.25, 1.0, 0.75)
    assert (found.only_before, found.only_after) == (0, 3)
    assert found.p_value == 0.25
    assert found.difference_low <= 0.75 <= found.difference_high


def test_each_label_is_counted_for_both_models(right: Model, confused: Model) -> None:
    found = petmodels.compare(confused, right, COLOURED)

    counts = [(one.label, one.num_images, one.before_right, one.after_right) for one in found.labels]
    assert counts == [("blue", 1, 1, 1), ("green", 1, 0, 1), ("red", 2, 0, 2)]


def test_each_image_has_a_record_with_both_answers(right: Model, confused: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(image_bytes("red"))

    found = petmodels.compare(confused, right, [(path, "red")])

    record = found.records[0]
    assert (record.image, record.label, record.before_label, record.after_label) == (str(path), "red", "green", "red")
    assert record.after_probability > 0.9
    assert found.before_seconds == record.before_seconds > 0


def test_a_model_equal_to_another_differs_by_nothing(right: Model) -> None:
    found = petmodels.compare(right, right, COLOURED)

    assert (found.difference, found.p_value) == (0, 1)
    assert found.difference_low == -found.difference_high < 0  # so few images don't show that they are equal


def test_open_files_are_compared_like_paths(right: Model, confused: Model, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(len(COLOURED))]
    for path, (data, _) in zip(paths, COLOURED, strict=True):
        path.write_bytes(data)
    labels = [label for _, label in COLOURED]

    expected = petmodels.compare(confused, right, zip(paths, labels, strict=True))
    with ExitStack() as held:
        files = [held.enter_context(path.open("rb")) for path in paths]
        found = petmodels.compare(confused, right, zip(files, labels, strict=True))

    assert [replace(one, before_seconds=0, after_seconds=0) for one in found.records] == [
        replace(one, before_seconds=0, after_seconds=0) for one in expected.records
    ]
    assert (found.unread, found.labels) == ((), expected.labels)


def test_an_open_file_that_is_no_image_is_named(right: Model, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no image")

    with (tmp_path / "no.jpg").open("rb") as file:
        found = petmodels.compare(right, right, [(file, "red"), *COLOURED])

    assert found.unread == (f"not an image of a known kind (JPEG, PNG, WEBP, GIF, BMP, TIFF): {tmp_path / 'no.jpg'}",)


def test_images_that_cannot_be_read_are_named_and_count_nowhere(right: Model, confused: Model) -> None:
    found = petmodels.compare(confused, right, [(b"no image", "red"), *COLOURED])

    assert found.num_images == 4
    assert found.unread == ("not an image of a known kind (JPEG, PNG, WEBP, GIF, BMP, TIFF): <8 bytes>",)


def test_a_label_that_a_model_does_not_know_is_one_it_gets_wrong(right: Model) -> None:
    assert petmodels.compare(right, right, [(image_bytes("red"), "violet")]).after_accuracy == 0


def test_nothing_to_compare_on_is_one_line(right: Model, confused: Model) -> None:
    with pytest.raises(RequestError, match="no labelled image could be read to compare confused and right"):
        petmodels.compare(confused, right, [])


def test_a_comparison_is_the_same_for_the_same_seed_and_can_be_written(right: Model, confused: Model) -> None:
    content = petmodels.compare(confused, right, COLOURED, seed=3).to_json()

    write = {key: value for key, value in content.items() if "seconds" not in key and key != "records"}
    again = petmodels.compare(confused, right, COLOURED, seed=3).to_json()
    assert write == {key: again[key] for key in write}


@pytest.mark.parametrize(
    ("only_before", "only_after", "expected"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 1, 1.0), (1, 8, 0.0390625), (8, 1, 0.0390625), (0, 10, 2 / 2**10)],
)
def test_the_p_value_is_the_exact_binomial_one(only_before: int, only_after: int, expected: float) -> None:
    assert petmodels.mcnemar(only_before, only_after) == pytest.approx(expected, rel=1e-12)


def test_the_p_value_of_many_images_agrees_with_the_normal_approximation() -> None:
    only_before, only_after = 19_800, 20_200
    z = (abs(only_before - only_after) - 1) / math.sqrt(only_before + only_after)

    assert petmodels.mcnemar(only_before, only_after) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


def test_the_interval_is_that_of_resampled_images() -> None:
    outcomes = np.repeat([-1, 1, 0], [10, 25, 165])
    drawn = np.random.default_rng(1).choice(outcomes, size=(10_000, 200)).mean(axis=1)

    found = petmodels.difference_interval(10, 25, 200)

    assert found == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.008)


@pytest.mark.slow
@pytest.mark.parametrize(("num_images", "before", "after"), [(30, 0.05, 0.1), (74, 0.01, 0.02), (111, 0.02, 0.02)])
def test_the_interval_holds_the_true_difference_also_where_few_images_differ(
    num_images: int, before: float, after: float
) -> None:
    drawn = np.random.default_rng(5).multinomial(num_images, [before, after, 1 - before - after], size=200)
    intervals = [petmodels.difference_interval(int(b), int(a), num_images) for b, a, _ in drawn]

    assert np.mean([low <= after - before <= high for low, high in intervals]) >= 0.94


def test_two_models_that_never_differ_are_not_known_to_be_equal() -> None:
    low, high = petmodels.difference_interval(0, 0, 30)

    assert low == -high < -0.05
