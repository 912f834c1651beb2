"""An epoch of a resnet34 at 224 px by the stage, with loading, augmentation, checkpoint and validation, against a
loop of the same network on a batch that stays on the card: bfloat16, channels_last. Without CUDA, at toy size on the
CPU, only to show that it runs. `make bench-gpu` measures this alone; BENCH_PETS should name the photographs.
"""

import shutil
from pathlib import Path

import torch

from tests.benchmarks.loops import bare_epoch, batches, training
from tests.benchmarks.measure import Contender, Row, in_turns, ratio_rows
from tests.benchmarks.pets import prepared_pool, sides, train_params

TITLE = "GPU"


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure an epoch of each."""
    on_card = torch.cuda.is_available()
    name, size = ("resnet34", 224) if on_card else ("test_resnet", 64)
    prepared = prepared_pool(folder, short_side=256)
    split = sides(prepared, 1)
    params = train_params(
        method="fine_tune",
        architecture=name,
        weights="none",
        image_size=size,
        epochs=1,
        device="cuda" if on_card else "cpu",
        augmentation="standard",
    )
    stage = training(params, prepared, split, folder)
    loader = stage.learn.dls.train
    synthetic = batches(stage.learn)[:1] * len(loader)

    contenders = {
        "the stage": Contender(
            lambda: training(params, prepared, split, folder).run(),
            prepare=lambda: shutil.rmtree(folder / "checkpoints", ignore_errors=True),
        ),
        "a batch that stays": Contender(lambda: bare_epoch(stage.learn.model, synthetic)),
    }
    what = f"an epoch of {len(loader) * loader.bs} images, {name}, {size} px, {'CUDA' if on_card else 'CPU, toy size'}"
    return ratio_rows(what, in_turns(contenders, repeats), "the stage", 0.9)
