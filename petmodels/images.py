"""Open images from strangers: a path, bytes, a Pillow image or an array become upright RGB, or one ImageError.

Nothing is decoded before its size is known, only plain raster formats are tried, and of an animation the first
picture counts. The rules for colours are those by which the training images were prepared.
"""

import io
import os
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from petmodels.errors import ImageError, RequestError
from petmodels.storage import number_in

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image


class Readable(Protocol):
    """A file that was opened for bytes, such as `open(path, "rb")`, io.BytesIO, or an upload."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` of the next bytes, none at the end."""
        ...


ImageLike: TypeAlias = Union[  # what stands in quotes is not imported for the name alone
    str, PathLike[str], bytes, bytearray, memoryview, Readable, "Image", "numpy.ndarray[Any, Any]"
]

LARGEST_FILE_BYTES = 512 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"})
_MOST_PIXELS = "PETMODELS_MOST_PIXELS"
_PILLOWS_MOST_PIXELS = 178_956_970
_PIECE = 1 << 16  # pixels
_PIECE_BYTES = 1 << 20


def rgb_of(image: ImageLike) -> "Image":
    """Return an image upright and in RGB; raise ImageError, which names it, when that can't be done.

    An array is height x width x 3 (RGB) or height x width (grey), unsigned bytes, or floats from 0 to 1. A Pillow image
    that is upright and RGB already is returned itself.
    """
    from PIL import Image, UnidentifiedImageError

    name = name_of(image)
    content = None if isinstance(image, Image.Image) else _content(image, name)
    try:
        if isinstance(image, Image.Image):
            return _upright(image, name)
        return _from_array(image, name) if content is None else _decoded(content, name)
    except RequestError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known kind ({', '.join(FORMATS[:6])} …): {name}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more pixels than Pillow opens, refused undecoded: {name}") from error
    # Pillow raises all sorts of things: AssertionError for a closed file, and its warnings where those are errors.
    except Exception as error:
        state = "broken, or closed" if isinstance(image, Image.Image) else "broken"
        raise ImageError(f"the image is {state} ({_first_line(error)}): {name}") from error


def name_of(image: object) -> str:
    """Return what messages and results call an image: its path, or what kind of thing it is."""
    if isinstance(image, (str, PathLike)):
        return str(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return f"<{memoryview(image).nbytes} bytes>"
    name = getattr(image, "name", None) if is_readable(image) else None
    return name if isinstance(name, str) else f"<{type(image).__name__}>"


def is_readable(image: object) -> bool:
    """Say whether it is a file; such a one is one image, though Python iterates over its lines."""
    return hasattr(image, "read")


def most_pixels() -> int:
    """Return how many pixels an image may have: PETMODELS_MOST_PIXELS, or 100 million."""
    most = number_in(_MOST_PIXELS, 100_000_000, least=1)
    if most > _PILLOWS_MOST_PIXELS:
        text = f"{_MOST_PIXELS} must be at most {_PILLOWS_MOST_PIXELS}, Pillow opens nothing larger"
        raise RequestError(f"{text}: {os.environ[_MOST_PIXELS]}")
    return int(most)


def _content(image: Any, name: str) -> io.BytesIO | None:
    """Return an image's file; None when it isn't one."""
    if isinstance(image, (str, PathLike)):
        return _file(Path(image))
    if is_readable(image):
        return _read(image, name)
    if not isinstance(image, (bytes, bytearray, memoryview)):
        return None
    if memoryview(image).nbytes > LARGEST_FILE_BYTES:
        raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused unread: {name}")
    return io.BytesIO(bytes(image))


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


def _read(file: Readable, name: str) -> io.BytesIO:
    """Read piece by piece, since a file may give fewer bytes than it is asked for."""
    content, size = io.BytesIO(), 0
    while size <= LARGEST_FILE_BYTES:
        piece: object = file.read(_PIECE_BYTES)
        if isinstance(piece, str):
            raise ImageError(f'a file that gives text and no bytes; open it with "rb": {name}')
        if not isinstance(piece, bytes):
            raise ImageError(f"a file that gives no bytes: {name}")
        if not piece:
            break
        size += content.write(piece)
    if size == 0:
        raise ImageError(f"nothing is left to read in this file: {name}")
    if size > LARGEST_FILE_BYTES:
        raise ImageError(f"larger than {LARGEST_FILE_BYTES // 2**20} MiB, refused: {name}")
    content.seek(0)
    return content


def _decoded(file: io.BytesIO, name: str) -> "Image":
    from PIL import Image

    with Image.open(file, formats=FORMATS) as opened:
        return _upright(opened, name)


def _upright(image: "Image", name: str) -> "Image":
    from PIL.Image import Transpose

    most = most_pixels()
    if image.width * image.height > most:
        text = f"{image.width} x {image.height} pixels are more than the {most} of {_MOST_PIXELS}"
        raise ImageError(f"{text}, refused undecoded: {name}")
    if image.width == 0 or image.height == 0:
        raise ImageError(f"the image has no pixels: {name}")
    image.load()
    orientation = image.getexif().get(0x0112)
    rgb = _rgb(image)
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:  # damaged metadata may hold anything
        return rgb
    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    return rgb.transpose(Transpose[turns[orientation - 2]])


def _rgb(image: "Image") -> "Image":
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


def _from_array(image: Any, name: str) -> "Image":
    import numpy as np
    from PIL import Image

    if not isinstance(image, np.ndarray):
        raise ImageError(f"an image is a path, bytes, a file, a Pillow image or an array: {name}")
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
