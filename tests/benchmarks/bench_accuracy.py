"""Time to accuracy without a GPU: the demo's training, the same at 288 px of 320, and stock fastai's `fine_tune(4,
freeze_epochs=3)` of the same network at 224 px, from prepared images to a fitted learner. The accuracies are those of
the test sides of five split seeds, pooled. An image is on several of these sides, and what one network misnames the
next one often does, too: for the 95 % intervals, answers about one image are copies of each other. The logistic
regression is evaluate's baseline. The pool is drawn, or the photographs that BENCH_PETS names; BENCH_SEEDS says how
many splits the peer trains on.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from stages.baselines import Sample, logistic
from stages.outputs import read_csv as listed
from stages.scores import effective_number, wilson_interval
from stages.train import train
from tests.benchmarks.measure import Row, samples_text
from tests.benchmarks.pets import prepared_pool, sides, train_params

TITLE = "Time to accuracy"
SEEDS = (1, 2, 3, 4, 5)


class Tried(NamedTuple):
    """A network's seconds, how many of its answers were right, and the paths of the images that they are about."""

    seconds: float
    right: int
    images: Sequence[str]


def rows(folder: Path, repeats: int) -> list[Row]:
    """Train on every split, and judge on its test side."""
    pools = {256: prepared_pool(folder, short_side=256), 320: prepared_pool(folder, short_side=320)}
    demo = [_ours(pools[256], seed, folder / f"demo{seed}", image_size=256) for seed in SEEDS]
    longer = [_ours(pools[320], seed, folder / f"longer{seed}", image_size=288) for seed in SEEDS]
    regression = [_regression(pools[256], seed, folder / f"demo{seed}") for seed in SEEDS]
    # In a process of its own, where memory is allocated as it is for anybody.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        seeds = SEEDS[: int(os.environ.get("BENCH_SEEDS", "1"))]
        peer = list(elsewhere.map(partial(_peer, pools[256]), seeds))
    base, slow = _share(regression), statistics.median(one.seconds for one in peer)
    return [
        _row("stock fastai, fine_tune(4, freeze_epochs=3)", peer),
        Row(what="logistic regression, 256 px", figure=accuracy_text(regression)),
        _row("demo's training, 256 px", demo, least=base + 0.02, longest=slow / 20),
        _row("the same, 288 px of 320", longer, least=base + 0.05, longest=slow / 2),
    ]


def accuracy_text(tried: Sequence[Tried]) -> str:
    """Return the pooled accuracy; its interval takes the answers about one image for copies of each other."""
    share, images = _share(tried), [image for one in tried for image in one.images]
    number, different = len(images), len(set(images))
    low, high = wilson_interval(share, effective_number(images))
    right = sum(one.right for one in tried)
    return f"{share:.1%} ({low:.1%} to {high:.1%}; {right} of {number} answers about {different} images)"


def _ours(prepared: Path, seed: int, folder: Path, *, image_size: int) -> Tried:
    from stages.model import load

    split, out = sides(prepared, seed), folder / "train"
    began = time.perf_counter()
    params = train_params(image_size=image_size, seed=seed)
    # Each training and each regression computes all of its features: nothing is kept from one to the next.
    features = folder / f"features{image_size}-{seed}"
    train(params, prepared=prepared, split=split, checkpoints=folder / "checkpoints", features=features, out=out)
    seconds = time.perf_counter() - began
    model, test = load(out), listed(split / "test.csv")
    said = model.logits([prepared / row["path"] for row in test]).argmax(axis=1)
    right = sum(model.labels[place] == row["label"] for place, row in zip(said, test, strict=True))
    return Tried(seconds, right, [row["path"] for row in test])


def _regression(prepared: Path, seed: int, folder: Path) -> Tried:
    from stages.model import load
    from stages.predictions import frozen_features

    began, split = time.perf_counter(), sides(prepared, seed)
    lists = {side: listed(split / f"{side}.csv") for side in ("train", "valid", "test")}
    model = load(folder / "train")
    images = {side: [prepared / row["path"] for row in found] for side, found in lists.items()}
    features = frozen_features(folder / "train", model, images, folder / f"regression{seed}")
    samples = [Sample(features[side], [row["label"] for row in lists[side]]) for side in lists]
    accuracy = logistic(*samples)
    tested = [row["path"] for row in lists["test"]]
    return Tried(time.perf_counter() - began, round(accuracy * len(tested)), tested)


def _peer(prepared: Path, seed: int) -> Tried:
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        parent_label,
        vision_learner,
    )

    from stages.architectures import OFFLINE, load_weights, statistics

    lists = {side: listed(sides(prepared, seed) / f"{side}.csv") for side in ("train", "valid", "test")}
    images = [prepared / row["path"] for side in ("train", "valid") for row in lists[side]]
    valid = range(len(lists["train"]), len(images))
    transforms = [*aug_transforms(size=224), Normalize.from_stats(*statistics(OFFLINE))]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_y=parent_label,
        splitter=IndexSplitter(list(valid)),
        item_tfms=Resize(256),
        batch_tfms=transforms,
    )
    began = time.perf_counter()
    learn: Any = vision_learner(
        block.dataloaders(images, bs=64, num_workers=0), OFFLINE, pretrained=False, normalize=False, metrics=accuracy
    )
    load_weights(learn.model[0], OFFLINE, "imagenet")
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(4, freeze_epochs=3)
        seconds = time.perf_counter() - began
        loader = learn.dls.test_dl([prepared / row["path"] for row in lists["test"]])
        said = learn.get_preds(dl=loader)[0].argmax(dim=1)
    named = [learn.dls.vocab[int(place)] for place in said]
    right = sum(name == row["label"] for name, row in zip(named, lists["test"], strict=True))
    return Tried(seconds, right, [row["path"] for row in lists["test"]])


def _row(what: str, tried: Sequence[Tried], *, least: float = 0.0, longest: float = 0.0) -> Row:
    seconds = [one.seconds for one in tried]
    figure = f"{accuracy_text(tried)}, {samples_text(seconds)}"
    if not longest:
        return Row(what=what, figure=figure)
    held = _share(tried) >= least and statistics.median(seconds) <= longest
    return Row(what=what, figure=figure, target=f"≥ {least:.1%} in ≤ {longest:.0f} s", held=held)


def _share(tried: Sequence[Tried]) -> float:
    return sum(one.right for one in tried) / sum(len(one.images) for one in tried)
