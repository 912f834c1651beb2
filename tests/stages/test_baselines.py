"""The simpler ways that the model must beat are honest: fitted on the train side, tuned on the valid side."""

import numpy as np

from stages.baselines import Sample, logistic, majority


def clouds(num: int, *, seed: int, spread: float = 0.5) -> Sample:
    """Return points around three corners, labelled by their corner."""
    draw = np.random.default_rng(seed)
    corners = draw.integers(0, 3, num)
    return Sample(
        np.eye(3)[corners] * 3 + draw.normal(scale=spread, size=(num, 3)), ["abc"[corner] for corner in corners]
    )


def test_majority_says_the_commonest_train_breed_of_every_test_image() -> None:
    assert majority(["beagle", "pug", "pug"], ["pug", "beagle", "beagle", "beagle"]) == 0.25


def test_majority_takes_the_first_name_among_equally_common_breeds() -> None:
    assert majority(["pug", "beagle"], ["beagle"]) == 1


def test_logistic_regression_learns_what_a_plane_can_part() -> None:
    assert logistic(clouds(60, seed=1), clouds(30, seed=2), clouds(200, seed=3)) > 0.98


def test_logistic_regression_is_at_chance_where_features_say_nothing() -> None:
    train, valid, test = (clouds(90, seed=seed, spread=500) for seed in (1, 2, 3))

    assert logistic(train, valid, test) < 0.55


def test_logistic_regression_never_looks_at_the_test_labels() -> None:
    train, valid, test = (clouds(60, seed=seed) for seed in (1, 2, 3))
    turned = Sample(test.features, ["abc"["abc".index(label) - 1] for label in test.labels])

    assert logistic(train, valid, test) > 0.95
    assert logistic(train, valid, turned) < 0.05


def test_as_many_labels_as_images_bring_no_word_of_sklearn() -> None:
    some = Sample(np.eye(30), [f"label {number}" for number in range(30)])

    assert logistic(some, some, some) == 1
