"""From an upright RGB image to the numbers that the model was evaluated on, as preprocess.json says step by step.

The steps are plain data in the bundle and not code, so that they can't drift apart from the model.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from petmodels.documents import check_format, json_number
from petmodels.errors import FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
_FIXED = {"color": "RGB", "orientation": "exif", "layout": "NCHW", "dtype": "float32"}
_KEYS = {"format", "resize", "crop", "divide_by", "mean", "std", *_FIXED}
_LONGEST_SIDE = 8192
_DIVISORS = (1e-6, 1e6)
_MOST_PIXELS = 64_000_000


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Resize the short side, cut the middle out, divide, and normalise each channel."""

    short_side: int
    filter: str
    width: int
    height: int
    divide_by: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height after the resize; neither becomes smaller than the short side."""
        shorter = min(width, height)
        # Multiplied first, as the stages do: a scale's last digit would decide between two sides that are as near.
        width, height = (max(self.short_side, round(side * self.short_side / shorter)) for side in (width, height))
        return width, height

    def array(self, image: "Image") -> "NDArray[np.float32]":
        """Return channels x height x width of an upright RGB image."""
        import numpy as np

        size = self.resized_size(image.width, image.height)
        image = image if size == image.size else self._resized(image, size)
        left, top = (image.width - self.width) // 2, (image.height - self.height) // 2
        image = image.crop((left, top, left + self.width, top + self.height))
        pixels = np.asarray(image, dtype=np.float32) / np.float32(self.divide_by)
        normalised = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def _resized(self, image: "Image", size: tuple[int, int]) -> "Image":
        from PIL.Image import Resampling

        kind = Resampling(_FILTERS[self.filter])
        if size[0] * size[1] <= _MOST_PIXELS:
            return image.resize(size, kind)
        # A thin strip would grow huge only to lose its ends: scale its middle, with what the filter reaches beyond it.
        scale = self.short_side / min(image.size)
        reach = 2 * (math.ceil(4 * max(1, scale)) + max(self.width, self.height))
        kept = tuple(min(side, wanted + (side - wanted) % 2) for side, wanted in zip(size, (reach, reach), strict=True))
        box = [(side - keep) / 2 / side for side, keep in zip(size, kept, strict=True)]
        left, top = box[0] * image.width, box[1] * image.height
        return image.resize((kept[0], kept[1]), kind, box=(left, top, image.width - left, image.height - top))


def preprocess_in(content: Mapping[str, Any], where: str) -> Preprocess:
    """Return the steps that preprocess.json describes; raise FormatError for any step that isn't known here."""
    check_format(content, where)
    resize, crop = content.get("resize"), content.get("crop")
    if set(content) != _KEYS or not isinstance(resize, dict) or not isinstance(crop, dict):
        raise FormatError(f"{where} describes steps that this petmodels doesn't know; its keys: {sorted(content)}")
    odd = [f"{key} {content[key]!r}" for key, value in _FIXED.items() if content[key] != value]
    if odd or crop.get("kind") != "center" or resize.get("filter") not in list(_FILTERS):
        named = odd or [f"crop {crop.get('kind')!r}, filter {resize.get('filter')!r}"]
        raise FormatError(f"{where} asks for something that this petmodels can't do: {named[0][:120]}")
    sides: list[Any] = [resize.get("short_side"), crop.get("width"), crop.get("height")]
    if not all(type(side) is int and 0 < side <= _LONGEST_SIDE for side in sides):
        raise FormatError(f"{where} gives sides that are no pixels from 1 to {_LONGEST_SIDE}: {sides}")
    mean, std, divide_by = _channels(content["mean"]), _channels(content["std"]), json_number(content["divide_by"])
    if mean is None or std is None or not all(_divides(one) for one in (*std, divide_by)):
        raise FormatError(f"{where} gives a mean, std or divide_by that no pixel can be normalised with")
    assert divide_by is not None
    return Preprocess(
        short_side=sides[0], filter=resize["filter"], width=sides[1], height=sides[2], divide_by=divide_by, mean=mean,
        std=std,
    )  # fmt: skip


def _channels(content: object) -> tuple[float, float, float] | None:
    if not isinstance(content, list) or len(content) != 3:
        return None
    red, green, blue = (json_number(one) for one in content)
    if red is None or green is None or blue is None or max(map(abs, (red, green, blue))) > _DIVISORS[1]:
        return None
    return red, green, blue


def _divides(number: float | None) -> bool:
    return number is not None and _DIVISORS[0] <= abs(number) <= _DIVISORS[1]
