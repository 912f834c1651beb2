"""Fine-tuning the offline network, all layers, against a bare torch loop on the same tensors, with what fastai, the
loading and the rest of the stage (checkpoint, DVCLive, validation) add one by one; and the pass that gives the frozen
body's features, images already decoded, against onnxruntime's.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tests.benchmarks.loops import bare_epoch, batches, fastai_epoch, training
from tests.benchmarks.measure import Contender, Row, in_turns, ratio_rows
from tests.benchmarks.pets import prepared_pool, sides, train_params

TITLE = "Training"
_NUM_FEATURE_IMAGES = 64


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure an epoch of each, and the feature pass."""
    prepared = prepared_pool(folder, short_side=256)
    split = sides(prepared, 1)
    params = train_params(
        method="fine_tune", weights="none", epochs=1, image_size=128, batch_size=32, device="cpu", augmentation="flip"
    )
    stage = training(params, prepared, split, folder)
    data, learn = batches(stage.learn), stage.learn
    learn.unfreeze()

    def loaded() -> None:
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-4)

    contenders = {
        "the stage": Contender(
            lambda: training(params, prepared, split, folder).run(),
            prepare=lambda: shutil.rmtree(folder / "checkpoints", ignore_errors=True),
        ),
        "fastai, with loading": Contender(loaded),
        "fastai on ready tensors": Contender(lambda: fastai_epoch(learn, data)),
        "bare loop on ready tensors": Contender(lambda: bare_epoch(learn.model, data)),
    }
    samples = in_turns(contenders, repeats)
    what = f"an epoch of {sum(len(label) for _, label in data)} images"
    return [*ratio_rows(what, samples, "the stage", 0.95), *_features(folder, repeats)]


def _features(folder: Path, repeats: int) -> list[Row]:
    import onnxruntime

    from stages.features import frozen, pooled
    from stages.learner import untrained_body

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
