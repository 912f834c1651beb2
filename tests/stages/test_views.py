"""What a training reads from memory is what its files hold, cut and dealt out as fastai would."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.images import model_input
from stages.train import TrainParams
from tests.stages.settings import TRAIN
from tests.stages.test_training import run, table

pytestmark = pytest.mark.usefixtures("fastai")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def views(fastai: None) -> ModuleType:
    """The module, which can't be imported before fastai's own import has been forgiven its warnings."""
    return importlib.import_module("stages.views")


@pytest.fixture(scope="module")
def images(sides: Path) -> list[Path]:
    return sorted((sides / "prepared/images").rglob("*.jpg"))


def training(folder: Path, sides: Path, **changes: Any) -> Any:
    from stages.training import Training

    rows = {side: table(sides / f"split/{side}.csv") for side in ("train", "valid")}
    places = {name: folder / name for name in ("checkpoints", "features")}
    return Training(TrainParams(**(TRAIN | changes)), rows, prepared=sides / "prepared", **places, out=folder / "train")


def test_a_window_in_the_middle_is_what_a_model_is_given(views: ModuleType, images: list[Path]) -> None:
    pixels = views.Pixels(images, CPU)

    windows = pixels.windows(torch.arange(len(images)), 31, at_random=False)

    assert windows.dtype == torch.uint8
    assert windows.is_contiguous(memory_format=torch.channels_last)
    assert all(
        np.array_equal(window.permute(1, 2, 0).numpy(), model_input(path, 31))
        for window, path in zip(windows, images, strict=True)
    )


def test_windows_at_random_are_all_the_squares_that_there_are(views: ModuleType, images: list[Path]) -> None:
    torch.manual_seed(0)
    pixels = views.Pixels(images, CPU)
    place = next(number for number, width in enumerate(pixels.widths) if width != pixels.heights[number])
    with Image.open(images[place]) as image:
        whole = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    squares = whole.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)

    windows = pixels.windows(torch.full((3000,), place), 32, at_random=True)

    found = (windows[:, None] == squares[None]).flatten(2).all(2)
    assert found.any(1).all()
    assert found.any(0).all()


def test_the_last_square_of_the_last_image_is_within_reach(views: ModuleType, images: list[Path]) -> None:
    with Image.open(images[-1]) as image:
        side = min(image.size)

    pixels = views.Pixels(images, CPU)

    assert pixels.windows(torch.tensor([len(images) - 1]), side, at_random=False).shape == (1, 3, side, side)


def test_processes_decode_what_one_decodes(
    views: ModuleType, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = views.Pixels(images, CPU)
    monkeypatch.setattr(views, "_MANY", 1)

    together = views.Pixels(images, CPU)

    assert torch.equal(alone.values, together.values)


def test_an_epoch_deals_out_every_image_once_under_its_label(views: ModuleType, sides: Path, tmp_path: Path) -> None:
    one = training(tmp_path, sides, batch_size=4, augmentation="none")
    views.hold_images(one)

    for loader, side, num_images in ((one.learn.dls.train, "train", 16), (one.learn.dls.valid, "valid", 9)):
        batches = list(loader)
        labels = [one.labels[int(label)] for _, batch in batches for label in batch]
        assert len(labels) == num_images  # the train side's 18 but for the last, which would be half a batch
        if side == "valid":
            assert labels == [row["label"] for row in one.rows[side]]
        assert all(image.shape[1:] == (3, 32, 32) for image, _ in batches)


def test_the_order_is_fastais_own(views: ModuleType, sides: Path, tmp_path: Path) -> None:
    one = training(tmp_path, sides, augmentation="none")
    files = one.learn.dls.train
    views.hold_images(one)
    one.seed("unfrozen", 1)
    files.rng.seed(0)
    one.learn.dls.train.rng.seed(0)

    assert one.learn.dls.train.get_idxs() == files.get_idxs()


def test_the_valid_side_is_seen_as_fastai_sees_it(views: ModuleType, sides: Path, tmp_path: Path) -> None:
    one = training(tmp_path, sides)
    from_files = one.learn.validate()
    views.hold_images(one)

    assert list(one.learn.validate()) == pytest.approx(list(from_files), abs=1e-6)


@pytest.mark.slow
def test_a_training_of_too_many_images_reads_files_and_goes_on_when_killed(
    views: ModuleType, sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MOST_BYTES", 0)

    out = run(tmp_path, sides)

    assert len(table(out / "history.csv")) == 3


@pytest.mark.slow
def test_blocks_of_one_batch_end_with_other_weights_but_learn_as_much(
    views: ModuleType, sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The augmentation draws for a block at once: how large it is belongs to the code, not to the machine."""
    monkeypatch.setattr(views, "_BLOCK_BYTES", 1)

    assert len(table(run(tmp_path, sides) / "history.csv")) == 3
