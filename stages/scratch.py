"""Give the baselines what needs a network: frozen ImageNet features, and a twin trained from scratch.

Reads data/train's description of the model, data/prepared and data/split; leaves nothing, the twin is trained in a
temporary folder.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.errors import ParamsError
from stages.train import TrainParams

if TYPE_CHECKING:
    from stages.model import Model


def frozen_features(
    train: Path, model: "Model", images: Mapping[str, Sequence[Path]]
) -> dict[str, NDArray[np.float32]]:
    """Return, side by side, the pooled features of the body as it was before training: images x channels."""
    from stages.features import frozen, outputs
    from stages.learner import untrained_body

    how, device = model.preprocessing, model.device
    num_images = sum(len(paths) for paths in images.values())
    seen = frozen(untrained_body(_params(train)).to(device), how.image_size, device, num_images=num_images)
    return {side: outputs(seen, paths, how, device) for side, paths in images.items()}


def from_scratch(
    train: Path, *, split: Path, prepared: Path, images: Sequence[Path], labels: Sequence[str], seed: int
) -> float:
    """Return the test accuracy of the same architecture with drawn weights, after as many epochs as the model had.

    Raises ParamsError where the model had none.
    """
    from stages.model import load
    from stages.train import train as train_stage

    params = _params(train)
    num_epochs = params.frozen_epochs + params.epochs
    if not num_epochs:
        raise ParamsError(
            "params.yaml: evaluate: scratch_baseline needs a model trained for some epochs; set it to false"
        )
    twin = replace(params, method="fine_tune", weights="none", frozen_epochs=0, epochs=num_epochs, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_stage(twin, prepared=prepared, split=split, checkpoints=folder / "checkpoints", out=folder / "train")
        model = load(folder / "train")
        said = model.logits(images).argmax(axis=1)
    return float(np.mean([model.labels[number] == label for number, label in zip(said, labels, strict=True)]))


def _params(train: Path) -> TrainParams:
    about = json.loads((train / "train.json").read_text(encoding="utf-8"))
    return TrainParams(**about["params"])
