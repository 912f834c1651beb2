"""Show which parts of a picture spoke for what the model said of it.

Reads nothing; leaves nothing itself. Grad-CAM (R. R. Selvaraju et al., ICCV 2017) where the network's body gives a
feature map; otherwise the loss of probability under a sliding grey patch (M. D. Zeiler, R. Fergus, ECCV 2014).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

GRAD_CAM = "Grad-CAM (R. R. Selvaraju et al., ICCV 2017): the last feature map, weighed by its gradient for that name."
OCCLUSION = "Occlusion (M. D. Zeiler, R. Fergus, ECCV 2014): how much the name loses when a grey patch covers the part."
NUM_PATCHES = 8  # along a side; a patch is two steps wide
# From cold (clear) to hot: told apart without colour, too, because they grow brighter.
COLOURS = np.array([[30, 8, 60], [120, 24, 110], [208, 58, 70], [250, 140, 30], [255, 236, 130]], dtype=np.float64)

FloatArray = NDArray[np.float64]


def heatmap(model: nn.Sequential, image: Tensor, target: int) -> tuple[FloatArray, str]:
    """Return how much each part of an image spoke for class `target`, from 0 to 1, and the method's name and source.

    `image` is one normalised image, 3 x height x width, on the model's device; the map is coarser than it.
    """
    model.eval()
    with torch.no_grad():
        features = model[0](image[None])
    if isinstance(features, Tensor) and features.ndim == 4 and features.shape[2] == features.shape[3] > 1:
        return _scaled(_grad_cam(model[1], features, target)), GRAD_CAM
    return _scaled(_occlusion(model, image, target)), OCCLUSION


def overlaid(photo: NDArray[np.uint8], heat: FloatArray) -> Image.Image:
    """Return the photograph with the map over it: cold parts fade to grey, hot parts are tinted."""
    size = (photo.shape[1], photo.shape[0])
    smooth = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC), dtype=np.float64
    )
    smooth = np.clip(smooth, 0, 1)[..., None]
    grey = photo.mean(axis=2, keepdims=True) * 0.75
    mixed = (1 - 0.6 * smooth) * (grey + smooth * (photo - grey)) + 0.6 * smooth * _colour(smooth[..., 0])
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def _grad_cam(head: Any, features: Tensor, target: int) -> Tensor:
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(head(leaf)[0, target], leaf)
    return (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)[0].relu()


@torch.inference_mode()
def _occlusion(model: nn.Module, image: Tensor, target: int) -> Tensor:
    height, width = (side // NUM_PATCHES for side in image.shape[1:])
    covered = image.repeat((NUM_PATCHES - 1) ** 2, 1, 1, 1)
    for number in range(len(covered)):
        top, left = (step * side for step, side in zip(divmod(number, NUM_PATCHES - 1), (height, width), strict=True))
        covered[number, :, top : top + 2 * height, left : left + 2 * width] = 0
    before: Tensor = model(image[None]).log_softmax(dim=1)[0, target]
    after: Tensor = model(covered).log_softmax(dim=1)[:, target]
    return (before - after).relu().reshape(NUM_PATCHES - 1, NUM_PATCHES - 1)


def _scaled(values: Tensor) -> FloatArray:
    heat: FloatArray = values.detach().cpu().numpy().astype(np.float64)
    return heat / heat.max() if heat.max() > 0 else heat


def _colour(heat: FloatArray) -> FloatArray:
    stops = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heat, stops, COLOURS[:, channel]) for channel in range(3)], axis=-1)
