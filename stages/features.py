"""Run images through a network, or through its frozen body, in batches.

Reads prepared images; leaves nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.images import model_input

BATCH_SIZE = 32


class Preprocessing(NamedTuple):
    """What happens to a prepared image's 0-255 pixels before a network sees them."""

    image_size: int
    mean: Sequence[float]
    std: Sequence[float]


def network_inputs(paths: Sequence[Path], preprocessing: Preprocessing) -> Tensor:
    """Return the normalised centre crops of the images: N x 3 x side x side, float32."""
    pixels = np.stack([model_input(path, preprocessing.image_size) for path in paths])
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (scaled - mean) / std


def outputs(
    network: Callable[[Tensor], Tensor], paths: Sequence[Path], preprocessing: Preprocessing, device: torch.device
) -> NDArray[np.float32]:
    """Return what `network` gives for each image, one row an image, in the order of `paths`.

    The network must be in evaluation mode and on `device`.
    """
    return np.concatenate(list(_rows(network, paths, preprocessing, device)))


def pooled(body: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from a batch to the body's features averaged over all places: N x channels."""

    def features(batch: Tensor) -> Tensor:
        maps: Tensor = body(batch)
        return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps

    return features


def mirrored(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return `function` of the same batch seen in a mirror."""
    return lambda batch: function(batch.flip(3))


def _rows(
    network: Callable[[Tensor], Tensor], paths: Sequence[Path], preprocessing: Preprocessing, device: torch.device
) -> Iterator[NDArray[np.float32]]:
    for some in _batches(paths):
        # channels_last: convolutions on a CPU run about 1.8 times as fast in it.
        batch = network_inputs(some, preprocessing).to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            yield network(batch).float().cpu().numpy()


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[start : start + BATCH_SIZE] for start in range(0, len(paths), BATCH_SIZE))
