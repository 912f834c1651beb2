"""Open images from strangers: a path, bytes, a Pillow image or an array become upright RGB, or one ImageError.

Nothing is decoded before its size is known, only plain raster formats are tried, and of an animation the first
picture counts. The rules for colours are those by which the training images were prepared.
"""

import io
import struct
import threading
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petmodels.errors import ImageError

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

    ImageLike = str | PathLike[str] | bytes | Image | numpy.ndarray[Any, Any]

MOST_PIXELS = 100_000_000
LARGEST_FILE_BYTES = 512 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"})
_PIECE = 1 << 16  # pixels
# Changing which warnings are shown is no matter of one thread alone.
_OPENING = threading.Lock()


def rgb_of(image: "ImageLike") -> "Image":
    """Return an image upright and in RGB; raise ImageError, which names it, when that can't be done.

    An array is height x width x 3 (RGB) or height x width (grey), unsigned bytes, or floats from 0 to 1.
    """
    from PIL import Image, UnidentifiedImageError

    name = name_of(image)
    try:
        if isinstance(image, Image.Image):
            return _upright(image, name)
        if isinstance(image, (str, PathLike)):
            return _decoded(_file(Path(image)), name)
        if isinstance(image, bytes):
            if len(image) > LARGEST_FILE_BYTES:
                raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused unread: {name}")
            return _decoded(io.BytesIO(image), name)
        return _from_array(image, name)
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known kind ({', '.join(FORMATS[:6])} …): {name}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {MOST_PIXELS // 1_000_000} million pixels, refused undecoded: {name}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, MemoryError, struct.error) as error:
        raise ImageError(f"the image is broken ({_first_line(error)}): {name}") from error


def name_of(image: object) -> str:
    """Return what messages and results call an image: its path, or what kind of thing it is."""
    if isinstance(image, (str, PathLike)):
        return str(image)
    return f"<{len(image)} bytes>" if isinstance(image, bytes) else f"<{type(image).__name__}>"


def _file(path: Path) -> io.BytesIO:
    try:
        if path.is_dir():
            raise ImageError(f"a folder, not an image: {path}")
        if not path.is_file():
            raise ImageError(f"no such file: {path}")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused unread: {path}")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"can't be read ({error.strerror}): {path}") from error
    if not data:
        raise ImageError(f"the file is empty: {path}")
    return io.BytesIO(data)


def _decoded(file: io.BytesIO, name: str) -> "Image":
    from PIL import Image

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large and odd files; ours is to answer or to refuse
        opened = Image.open(file, formats=FORMATS)
    with opened:
        return _upright(opened, name)


def _upright(image: "Image", name: str) -> "Image":
    from PIL.Image import Transpose

    if image.width * image.height > MOST_PIXELS:
        text = f"{image.width} x {image.height} pixels are more than {MOST_PIXELS // 1_000_000} million"
        raise ImageError(f"{text}, refused undecoded: {name}")
    if image.width == 0 or image.height == 0:
        raise ImageError(f"the image has no pixels: {name}")
    image.load()
    orientation = image.getexif().get(0x0112)
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:  # damaged metadata may hold anything
        return _rgb(image)
    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    return _rgb(image.transpose(Transpose[turns[orientation - 2]]))


def _rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        return _eight_bit(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: "Image") -> "Image":
    import numpy as np
    from PIL import Image

    values = np.asarray(image).ravel()
    highest = 65535.0 if image.mode.startswith("I") else max(float(values.max()), 1e-9)
    pixels = np.empty(values.size, dtype=np.uint8)
    # Piece by piece: in double precision the whole picture would take 24 bytes a pixel.
    for first in range(0, values.size, _PIECE):
        piece = slice(first, first + _PIECE)
        pixels[piece] = np.clip(values[piece].astype(np.float64) / highest * 255, 0, 255)
    return Image.fromarray(pixels.reshape(image.height, image.width))


def _from_array(image: Any, name: str) -> "Image":
    import numpy as np
    from PIL import Image

    if not isinstance(image, np.ndarray):
        raise ImageError(f"an image is a path, bytes, a Pillow image or an array: {name}")
    right_shape = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not right_shape or 0 in image.shape:
        raise ImageError(f"an array is height x width x 3 or height x width: {name} of shape {image.shape}")
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
            raise ImageError(f"an array of floats holds values from 0 to 1: {name}")
        image = np.rint(image * 255).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(f"an array holds unsigned bytes, or floats from 0 to 1: {name} of {image.dtype}")
    return _upright(Image.fromarray(image), name)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
