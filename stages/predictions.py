"""Ask what evaluate needs of the networks: the model's logits, and the features of its body without training.

Reads prepared images and data/train's description of the model; leaves what known_outputs.py does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.descriptions import described, settings_of
from stages.errors import ChecksumError
from stages.known_outputs import KnownOutputs
from stages.model import Model
from stages.networks import untrained_body
from stages.train import TrainParams

Images = Mapping[str, Sequence[Path]]
Outputs = dict[str, NDArray[np.float32]]


def known_logits(model: Model, images: Sequence[Path], features: Path) -> NDArray[np.float32]:
    """Return the model's logits, a row an image, computed by what is fastest or kept in the folder `features`.

    They differ from `Model.logits` by about 1e-5.
    """
    last = _linear_head(model)
    said = _known(model, model.body if last else model.network, len(images), features).of(images)
    return _through(last, said, model.device) if last else said


def frozen_features(train: Path, model: Model, images: Images, features: Path) -> Outputs:
    """Return, side by side, the pooled features of the body without training: images x channels.

    `features` is the folder where they are kept. Raises ChecksumError where that body's weights are others by now.
    """
    begun = described(train / "train.json")["weights_sha256"]
    params = replace(settings_of(train, TrainParams), weights_sha256=begun)
    try:
        body = untrained_body(params).to(model.device)
    except ChecksumError as error:
        told = "the model was trained from others; bring those back, or `dvc repro --force train`"
        raise ChecksumError(f"{told}: {error}") from error
    known = _known(model, body, sum(map(len, images.values())), features)
    return {side: known.of(paths) for side, paths in images.items()}


def _known(model: Model, network: nn.Module, num_images: int, features: Path) -> KnownOutputs:
    return KnownOutputs(network, model.preprocessing, model.device, num_images=num_images, folder=features)


def _linear_head(model: Model) -> nn.Linear | None:
    """Return the head's one layer where all before it only averages over the places."""
    *before, last = cast("nn.Sequential", model.network[1])
    averages = all(isinstance(one, nn.AdaptiveAvgPool2d | nn.Flatten) for one in before)
    return last if averages and isinstance(last, nn.Linear) else None


def _through(layer: nn.Linear, rows: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: Tensor = layer(torch.from_numpy(rows).to(device))
    return logits.cpu().numpy()
