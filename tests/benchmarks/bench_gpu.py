"""A resnet34 at 224 px, fine-tuned by the stage, against loops of the same network on a batch that stays on the card:
bfloat16, channels_last, told step by step or recorded as CUDA graphs. The images are those that BENCH_PETS names, or
drawn ones, as often as it takes to have as many as the full Oxford-IIIT Pets. Without CUDA, at toy size on the CPU,
only to show that it runs. `make bench-gpu` measures this alone.
"""

import csv
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stages.outputs import read_csv as listed
from tests.benchmarks.loops import Batches, bare_epoch, batches, now, recorded_epoch, training
from tests.benchmarks.measure import Contender, Row, in_turns, ratio_rows, samples_text
from tests.benchmarks.pets import prepared_pool, sides, train_params

TITLE = "GPU"
_NUM_IMAGES = 5_000


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure the epochs of one training, then the loops and the loaders."""
    from tests.benchmarks.watch import Watch

    on_card = torch.cuda.is_available()
    name, size = ("resnet34", 224) if on_card else ("test_resnet", 64)
    prepared = prepared_pool(folder, short_side=256)
    split = _repeated(sides(prepared, 1), folder / "split") if on_card else sides(prepared, 1)
    params = train_params(
        method="fine_tune",
        architecture=name,
        weights="none",
        image_size=size,
        epochs=repeats + 1,
        device="cuda" if on_card else "cpu",
        augmentation="standard",
    )
    watch = Watch()
    stage = training(params, prepared, split, folder)
    own = "fastai's own loading alone"  # first: its processes may not hold a GPU's tensors of others
    loading = in_turns({own: Contender(partial(_drained, stage.learn.dls.train))}, repeats)
    stage.learn.add_cb(watch)
    stage.run()

    loops, num_images = _loops(training(params, prepared, split, folder / "loops"), repeats)
    ours = "the stage's steps, with loading and augmentation"
    what = f"an epoch of {num_images:,} images, {name}, {size} px, {'CUDA' if on_card else 'CPU, toy size'}"
    peers = {name: samples for name, samples in loops.items() if name.startswith("a batch that stays")}
    others = loops.keys() - peers.keys()
    return [
        *ratio_rows(what, {ours: watch.steps[1:]} | peers, ours, 0.9),
        Row(what=f"{what}: the stage, with validation and checkpoint", figure=samples_text(watch.epochs[1:])),
        *(Row(what=f"{what}: {name}", figure=samples_text(loops[name])) for name in sorted(others)),
        Row(what=f"{what}: {own}", figure=samples_text(loading[own])),
    ]


def _loops(stage: Any, repeats: int) -> tuple[dict[str, list[float]], int]:
    """Return the seconds of an epoch of each loop and loader, and how many images it has."""
    from stages.views import hold_images

    learn = stage.learn
    hold_images(stage)
    loader = learn.dls.train
    learn.unfreeze()
    synthetic: Batches = batches(learn)[:1] * len(loader)
    contenders = {
        "a batch that stays": Contender(lambda: bare_epoch(learn.model, synthetic)),
        "loading and augmentation alone": Contender(partial(_drained, loader)),
    }
    if stage.device.type == "cuda":
        contenders["a batch that stays, recorded"] = Contender(recorded_epoch(learn.model, synthetic))
    with torch.backends.cudnn.flags(enabled=True, deterministic=False):  # which the stage has switched on
        return in_turns(contenders, repeats), len(loader) * loader.bs


def _drained(loader: Iterable[object]) -> None:
    for _ in loader:
        pass
    now()


def _repeated(split: Path, out: Path) -> Path:
    """Write the sides with all their rows as often as it takes."""
    times = -(-_NUM_IMAGES // len(listed(split / "train.csv")))
    out.mkdir()
    for path in split.glob("*.csv"):
        found = listed(path)
        with (out / path.name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found * times)
    return out
