"""Fine-tuning the offline network, all layers, against a bare torch loop on tensors that are ready, with what fastai,
loading and augmentation, validation and checkpoint, and what a training does once (making the learner, decoding the
images, opening DVCLive) add one by one, and with what the bare loop takes where nobody told malloc how to work; and the
pass that gives the frozen body's features, images already decoded, against onnxruntime's.
"""

import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tests.benchmarks.loops import bare_epoch, batches, fastai_epoch, training
from tests.benchmarks.measure import Contender, Row, in_turns, ratio_rows, samples_text
from tests.benchmarks.pets import prepared_pool, sides, train_params

TITLE = "Training"
_NUM_FEATURE_IMAGES = 64


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure an epoch of each, and the feature pass."""
    from tests.benchmarks.watch import Watch

    prepared = prepared_pool(folder, short_side=256)
    split = sides(prepared, 1)
    params = train_params(
        method="fine_tune", weights="none", epochs=1, image_size=224, batch_size=64, device="cpu", augmentation="flip"
    )
    learn, watch = training(params, prepared, split, folder).learn, Watch()
    data = batches(learn)
    learn.unfreeze()

    def whole() -> None:
        stage = training(params, prepared, split, folder)
        stage.learn.add_cb(watch)
        stage.run()

    once = "the stage, with all that a training does once"
    bare, fastai = "bare loop on ready tensors", "fastai on ready tensors"
    elsewhere = "the same loop where malloc works as it comes"
    # What malloc was told to do holds for this process, the bare loop in it included.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        contenders = {
            once: Contender(whole, prepare=lambda: shutil.rmtree(folder / "checkpoints", ignore_errors=True)),
            fastai: Contender(lambda: fastai_epoch(learn, data)),
            bare: Contender(lambda: bare_epoch(learn.model, data)),
            elsewhere: Contender(lambda: process.submit(bare_epoch, learn.model, data).result()),
        }
        samples = in_turns(contenders, repeats)
    what, ours = f"an epoch of {sum(len(label) for _, label in data)} images", "the stage's steps, with loading"
    return [
        *ratio_rows(what, {ours: watch.steps[1:], bare: samples[bare]}, ours, 0.95),
        Row(what=f"{what}: {elsewhere}", figure=samples_text(samples[elsewhere])),
        Row(what=f"{what}: {fastai}", figure=samples_text(samples[fastai])),
        Row(what=f"{what}: the stage, with validation, checkpoint and plots", figure=samples_text(watch.epochs[1:])),
        Row(what=f"{what}: {once}", figure=samples_text(samples[once])),
        *_features(folder, repeats),
    ]


def _features(folder: Path, repeats: int) -> list[Row]:
    import onnxruntime

    from stages.features import frozen, pooled
    from stages.networks import untrained_body

    body = untrained_body(train_params())
    # As the stage has them: in channels_last, of which either engine must make what it wants.
    images = torch.randn(_NUM_FEATURE_IMAGES, 3, 224, 224).to(memory_format=torch.channels_last)
    path = folder / "body.onnx"
    dynamic = {"batch": {0: torch.export.Dim("images", min=1)}}
    torch.onnx.export(pooled(body), (images[:2],), path, dynamo=True, dynamic_shapes=dynamic, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name, starts = session.get_inputs()[0].name, range(0, _NUM_FEATURE_IMAGES, 32)
    seen = frozen(body, 224, torch.device("cpu"), num_images=_NUM_FEATURE_IMAGES)
    eager = pooled(body.to(memory_format=torch.channels_last))

    @torch.inference_mode()
    def ours(function: Callable[[torch.Tensor], torch.Tensor]) -> NDArray[np.float32]:
        return torch.cat([function(images[at : at + 32]) for at in starts]).numpy()

    def theirs() -> NDArray[np.float32]:
        return np.concatenate(
            [session.run(None, {name: images[at : at + 32].contiguous().numpy()})[0] for at in starts]
        )

    assert np.allclose(ours(seen), theirs(), atol=1e-3)
    contenders = {
        "the stage": Contender(partial(ours, seen)),
        "onnxruntime": Contender(theirs),
        "eager torch": Contender(partial(ours, eager)),
    }
    samples = in_turns(contenders, repeats)
    return ratio_rows(f"features of {_NUM_FEATURE_IMAGES} images", samples, "the stage", 0.95)
