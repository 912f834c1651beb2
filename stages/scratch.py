"""Give the baselines a twin of the model, trained from scratch.

Reads data/train's description of the model, data/prepared and data/split; leaves nothing, the twin is trained in a
temporary folder.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.descriptions import settings_of
from stages.errors import ParamsError
from stages.train import TrainParams


def from_scratch(
    train: Path, *, split: Path, prepared: Path, images: Sequence[Path], labels: Sequence[str], seed: int
) -> float:
    """Return the test accuracy of the same architecture with drawn weights, after as many epochs as the model had.

    Raises ParamsError where the model had none.
    """
    from stages.model import load
    from stages.train import train as train_stage

    params = settings_of(train, TrainParams)
    num_epochs = params.frozen_epochs + params.epochs
    if not num_epochs:
        raise ParamsError(
            "params.yaml: evaluate: scratch_baseline needs a model trained for some epochs; set it to false"
        )
    twin = replace(
        params, method="fine_tune", weights="none", weights_sha256=None, frozen_epochs=0, epochs=num_epochs, seed=seed
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {name: folder / name for name in ("checkpoints", "features")}
        train_stage(twin, prepared=prepared, split=split, **places, out=folder / "train")
        model = load(folder / "train")
        said = model.logits(images).argmax(axis=1)
    return float(np.mean([model.labels[number] == label for number, label in zip(said, labels, strict=True)]))
