"""Wrong labels of any side are among the first that a person is told to look at, and copies speak for none."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.doubts import NUM_FOLDS, doubts, folds, write_doubtful

LABELS = ["Bengal", "Siamese", "beagle", "pug"]
NUM_IMAGES, NUM_CHANNELS = 120, 200  # more channels than images, as bodies have: a head learns any labels by heart


def clouds(given: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.float32]:
    """Return points about a corner for each label, far enough apart to be told from each other, mostly."""
    draw = np.random.default_rng(seed)
    corners = draw.normal(size=(len(LABELS), NUM_CHANNELS))
    return (corners[given] + draw.normal(scale=1.5, size=(len(given), NUM_CHANNELS))).astype(np.float32)


def truth() -> NDArray[np.int64]:
    return np.arange(NUM_IMAGES) % len(LABELS)


def names(number: int = NUM_IMAGES) -> list[str]:
    return [f"group {n}" for n in range(number)]


def write_sides(path: Path, given: NDArray[np.int64], features: NDArray[np.float32]) -> list[dict[str, str]]:
    """Write doubtful.csv of images dealt to the sides in turn; return its rows."""
    rows = [
        {"path": f"images/{n}.jpg", "label": LABELS[label], "group": f"group {n}", "sha256": f"{n:064x}",
         "source": f"source/{n}.jpg"}
        for n, label in enumerate(given)
    ]  # fmt: skip
    names = ("train", "valid", "test")
    sides = {side: rows[place::3] for place, side in enumerate(names)}
    write_doubtful(path, sides, {side: features[place::3] for place, side in enumerate(names)}, LABELS)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_swapped_label_of_the_train_side_is_among_the_first_doubtful_ones(tmp_path: Path) -> None:
    given, swapped = truth(), [0, 33, 63, 96]  # the numbers of the train side are 0, 3, 6 …
    features = clouds(given)
    right = [LABELS[given[n]] for n in swapped]
    given[swapped] = (given[swapped] + 1) % len(LABELS)

    first = write_sides(tmp_path / "doubtful.csv", given, features)[: len(swapped)]

    assert {row["source"] for row in first} == {f"source/{n}.jpg" for n in swapped}
    assert {row["side"] for row in first} == {"train"}
    assert sorted(row["suggested"] for row in first) == sorted(right)


def test_rows_say_how_likely_both_labels_are_the_greatest_loss_first(tmp_path: Path) -> None:
    given = truth()
    features = clouds(given)
    given[[3, 40]] = (given[[3, 40]] + 1) % len(LABELS)

    rows = write_sides(tmp_path / "doubtful.csv", given, features)

    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert [float(row["label_probability"]) for row in rows] == pytest.approx(np.exp(-np.array(losses)), abs=1e-5)
    assert all(float(row["suggested_probability"]) > float(row["label_probability"]) for row in rows)
    assert all(row["suggested"] != row["label"] for row in rows)


def test_without_a_doubtful_label_the_list_is_a_header(tmp_path: Path) -> None:
    assert write_sides(tmp_path / "doubtful.csv", truth(), 9 * np.eye(4, dtype=np.float32)[truth()]) == []
    assert (tmp_path / "doubtful.csv").read_text().startswith("path,label,side,suggested,label_probability,")


def test_the_same_labels_are_doubtful_on_a_second_run_and_no_number_is_drawn() -> None:
    import torch

    given = truth()
    features = clouds(given, seed=3)
    state = torch.random.get_rng_state()

    first, second = (doubts(features, given, names(), len(LABELS)) for _ in range(2))

    assert first == second
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_copy_does_not_speak_for_a_wrong_label() -> None:
    given = truth()
    features = clouds(given)
    given[5] = (given[5] + 1) % len(LABELS)
    copies, groups = [5, NUM_IMAGES, NUM_IMAGES + 1], [*names(), "group 5", "group 5"]
    features, given = np.concatenate([features, features[[5, 5]]]), np.append(given, given[[5, 5]])

    found = doubts(features, given, groups, len(LABELS))

    assert sorted(one.image for one in found[:3]) == copies


def test_copies_share_a_fold_and_each_label_is_in_all_of_them() -> None:
    given = truth()
    groups = [f"group {n // 8 * 4 + n % 4}" for n in range(NUM_IMAGES)]  # pairs of one label

    fold_of = folds(given, groups)

    by_group = {(group, int(fold)) for group, fold in zip(groups, fold_of, strict=True)}
    assert len(by_group) == len(set(groups))
    for label in range(len(LABELS)):
        assert np.bincount(fold_of[given == label], minlength=NUM_FOLDS).tolist() == [6] * NUM_FOLDS


def test_folds_do_not_depend_on_the_order_of_the_images() -> None:
    given, groups = truth(), names()
    order = list(range(NUM_IMAGES))
    random.Random(1).shuffle(order)

    shuffled = folds(given[order], [groups[n] for n in order])

    assert shuffled.tolist() == folds(given, groups)[order].tolist()


def test_two_groups_of_a_label_are_parted_though_one_shows_a_common_label_too() -> None:
    common = [0] * 23
    given, groups = np.array([*common, 1, 0, 1]), [*names(23), "both", "both", "rare"]

    fold_of = folds(given, groups)

    assert fold_of[23] == fold_of[24]
    assert fold_of[25] != fold_of[23]


def test_a_label_whose_images_are_all_copies_of_one_picture_is_not_doubted() -> None:
    given = np.array([0] * 10 + [1] * 10 + [2] * 2)
    groups = [*names(20), "only", "only"]

    found = doubts(clouds(given), given, groups, len(LABELS))

    assert {20, 21}.isdisjoint(one.image for one in found)


def test_a_label_of_fewer_images_than_folds_is_judged_by_those_it_has() -> None:
    given = np.array([0] * 10 + [1] * 10 + [2] * 2)
    features = 9 * np.eye(4, dtype=np.float32)[given]
    features[21] = features[0]

    found = doubts(features, given, names(22), len(LABELS))

    assert (found[0].image, found[0].suggested) == (21, 0)
    assert 20 in {one.image for one in found}  # of its label the head knew 21 alone


def test_images_of_a_single_group_leave_nothing_to_judge_by() -> None:
    given = np.array([0, 1, 1])

    assert doubts(clouds(given), given, ["one"] * 3, len(LABELS)) == []
