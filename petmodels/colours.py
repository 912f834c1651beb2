"""Bring an image of any kind of pixels to RGB, by the rules by which the training images were prepared.

Reads nothing and leaves nothing. What is transparent lies on white, and 16 bits become 8.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_PIECE = 1 << 16  # pixels


def in_rgb(image: "Image") -> "Image":
    """Return a loaded image in RGB, itself when it is; raise ValueError for nan or inf among its values."""
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        highest = 65535.0 if image.mode.startswith("I") else _highest(image)
        return _in_pieces(image, lambda piece: _eight_bit(piece, highest))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        return _in_pieces(image, _on_white)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_pieces(image: "Image", changed: "Callable[[Image], Image]") -> "Image":
    """Change a piece at a time: in between, the whole image would take up to 24 bytes a pixel."""
    from PIL import Image

    whole = Image.new("RGB", image.size)
    for corner, piece in _pieces(image):
        whole.paste(changed(piece), corner)
    return whole


def _pieces(image: "Image") -> "Iterator[tuple[tuple[int, int], Image]]":
    num_rows = max(1, _PIECE // image.width)
    for top in range(0, image.height, num_rows):
        for left in range(0, image.width, _PIECE):
            right, bottom = min(left + _PIECE, image.width), min(top + num_rows, image.height)
            yield (left, top), image.crop((left, top, right, bottom))


def _highest(image: "Image") -> float:
    import numpy as np

    highest = 1e-9
    for _, piece in _pieces(image):
        values = np.asarray(piece)
        if not np.isfinite(values).all():
            raise ValueError("it holds nan or inf")
        highest = max(highest, float(values.max()))
    return highest


def _eight_bit(image: "Image", highest: float) -> "Image":
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.clip(values / highest * 255, 0, 255).astype(np.uint8)).convert("RGB")


def _on_white(image: "Image") -> "Image":
    from PIL import Image

    pixels = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
