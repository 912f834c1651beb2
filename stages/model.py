"""Open the network that was trained, as evaluate and export use it.

Reads data/train and prepared images; leaves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stages.allocation import keep_freed_memory
from stages.descriptions import described
from stages.devices import device_named, keep_to_own_cores
from stages.features import Preprocessing, outputs
from stages.networks import network


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network: `network` gives logits, in the order of `labels`."""

    network: nn.Sequential
    labels: Sequence[str]
    preprocessing: Preprocessing
    device: torch.device

    @property
    def body(self) -> nn.Module:
        """The network without its head."""
        return self.network[0]

    def logits(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """Return one row of logits a prepared image, in the order of `paths`."""
        return outputs(self.network, paths, self.preprocessing, self.device)


def load(train: Path, *, on_cpu: bool = False) -> Model:
    """Open the network that the stage train left in the folder `train`, ready to predict.

    It is made anew by its params and gets the weights: to open learner.pkl would run whatever somebody, who may write
    where the data is kept, has put into it. It predicts on the best device here, or on the CPU if it is asked to or the
    training was told to stay there.
    """
    from safetensors.torch import load_file

    about, how = described(train / "train.json"), described(train / "preprocess.json")
    trained = network(about["params"]["architecture"], about["params"]["method"], len(about["labels"]))
    trained.load_state_dict(load_file(train / "weights.safetensors"))
    device = device_named("cpu" if on_cpu or about["params"]["device"] == "cpu" else "auto")
    keep_to_own_cores()
    keep_freed_memory(device)
    return Model(
        network=trained.eval().to(device),
        labels=about["labels"],
        preprocessing=Preprocessing(about["image_size"], how["mean"], how["std"]),
        device=device,
    )
