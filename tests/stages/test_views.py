"""What a training reads from memory is what its files hold, cut and dealt out as fastai would."""

import importlib
import random
import subprocess
import sys
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


def sizes(images: list[Path]) -> list[tuple[int, int]]:
    found = []
    for path in images:
        with Image.open(path) as image:
            found.append(image.size)
    return found


def training(folder: Path, sides: Path, **changes: Any) -> Any:
    from stages.training import Training

    rows = {side: table(sides / f"split/{side}.csv") for side in ("train", "valid")}
    places = {name: folder / name for name in ("checkpoints", "features")}
    return Training(TrainParams(**(TRAIN | changes)), rows, prepared=sides / "prepared", **places, out=folder / "train")


def test_a_window_in_the_middle_is_what_a_model_is_given(views: ModuleType, images: list[Path]) -> None:
    pixels = views.Pixels(images, sizes(images), CPU)

    windows = pixels.windows(torch.arange(len(images)), 31, at_random=False)

    assert windows.dtype == torch.uint8
    assert windows.is_contiguous(memory_format=torch.channels_last)
    assert all(
        np.array_equal(window.permute(1, 2, 0).numpy(), model_input(path, 31))
        for window, path in zip(windows, images, strict=True)
    )


def test_windows_at_random_are_all_the_squares_that_there_are(views: ModuleType, images: list[Path]) -> None:
    torch.manual_seed(0)
    pixels = views.Pixels(images, sizes(images), CPU)
    place = next(number for number, width in enumerate(pixels.widths) if width != pixels.heights[number])
    with Image.open(images[place]) as image:
        whole = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    side = min(whole.shape[1:]) - 1
    squares = whole.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)

    windows = pixels.windows(torch.full((400,), place), side, at_random=True)

    found = (windows[:, None] == squares[None]).flatten(2).all(2)
    assert found.any(1).all()
    assert found.any(0).all()


def test_the_last_square_of_the_last_image_is_within_reach(views: ModuleType, images: list[Path]) -> None:
    with Image.open(images[-1]) as image:
        side = min(image.size)

    pixels = views.Pixels(images, sizes(images), CPU)

    assert pixels.windows(torch.tensor([len(images) - 1]), side, at_random=False).shape == (1, 3, side, side)


# In a process of its own: one that has run a flow before, as this one may have, can't end its forked children properly.
DECODE_IN_PROCESSES = """
import sys
from pathlib import Path
import torch
from PIL import Image
from stages import views
out, *images = map(Path, sys.argv[1:])
views._MANY = 1
torch.save(views.Pixels(images, [Image.open(image).size for image in images], torch.device("cpu")).values, out)
"""


@pytest.mark.slow
def test_processes_decode_what_one_decodes(views: ModuleType, images: list[Path], tmp_path: Path) -> None:
    alone = views.Pixels(images, sizes(images), CPU)

    command = [sys.executable, "-W", "ignore", "-c", DECODE_IN_PROCESSES, tmp_path / "values.pt", *images]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)

    assert torch.equal(alone.values, torch.load(tmp_path / "values.pt"))


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
    held = one.learn.dls.train
    held.rng, files.rng = random.Random(7), random.Random(7)

    wanted, found = ([label for _, batch in loader for label in batch.tolist()] for loader in (files, held))

    assert found == wanted
    assert found != sorted(found)


def test_the_valid_side_is_seen_as_fastai_sees_it(views: ModuleType, sides: Path, tmp_path: Path) -> None:
    one = training(tmp_path, sides)
    from_files = one.learn.validate()
    views.hold_images(one)

    assert list(one.learn.validate()) == pytest.approx(list(from_files), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("most_bytes", [0, 27 * 40 * 40 * 3], ids=["by squares", "by their real sizes"])
def test_a_training_of_too_many_images_reads_files(
    views: ModuleType, sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(views, "MOST_BYTES", most_bytes)
    monkeypatch.setattr(views, "Pixels", None)  # to hold them would fail

    out = run(tmp_path, sides)

    assert len(table(out / "history.csv")) == 3


@pytest.mark.slow
def test_how_much_is_augmented_at_once_belongs_to_the_numbers(
    views: ModuleType, sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is a constant, the same on each machine."""
    weights = "weights.safetensors"
    together = (run(tmp_path / "together", sides) / weights).read_bytes()
    monkeypatch.setattr(views, "_BLOCK_BYTES", 1)

    assert (run(tmp_path / "apart", sides) / weights).read_bytes() != together
