"""Open images from strangers: a path, bytes, a Pillow image or an array become upright RGB, or one ImageError.

A lack of memory is this machine's fault and no image's: that is a MachineError.

Nothing is decoded before its size is known, only plain raster formats are tried, and of an animation the first
picture counts. The rules for colours are those by which the training images were prepared.
"""

import io
import os
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

from petmodels.colours import in_rgb
from petmodels.errors import ImageError, MachineError, RequestError
from petmodels.image_files import LARGEST_FILE_BYTES, Readable, content_of, is_readable
from petmodels.image_memory import JPEG_BYTES, TO_DECODE, WEBP_BYTES, check_memory, pixels_of_webp
from petmodels.machine import memory_to
from petmodels.scans import excess_in
from petmodels.storage import number_in

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image


_Plain: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | Readable
if TYPE_CHECKING:
    ImageLike: TypeAlias = _Plain | Image | numpy.ndarray[Any, Any]
else:  # typing.get_type_hints finds these two from any module, and nothing is imported for the name alone
    ImageLike = Union[_Plain, '__import__("PIL.Image").Image.Image', '__import__("numpy").ndarray']

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_JPEGS = {"JPEG", "MPO"}
_LONGEST_NAME = 300
_MOST_PIXELS = "PETMODELS_MOST_PIXELS"
_PILLOWS_MOST_PIXELS = 178_956_970
_WIDEST = 10_000_000  # of a row above 2 Gbit, 22 million pixels, Pillow says that it lacks memory, whatever there is


class Taken(NamedTuple):
    """An image whose bytes are in memory: its bytes if it has any, else itself, and what messages call it."""

    content: io.BytesIO | None
    image: Any
    name: str


def rgb_of(image: ImageLike) -> "Image":
    """Return an image upright and in RGB; raise ImageError, which names it, when that can't be done.

    Raises MachineError where the memory for it is lacking.

    An array is height x width x 3 (RGB) or height x width (grey), unsigned bytes, or floats from 0 to 1. A Pillow image
    that is upright and RGB already is returned itself.
    """
    with memory_to(TO_DECODE, shown(name_of(image))):
        return rgb_in(taken(image))


def taken(image: ImageLike) -> Taken:
    """Read an image's bytes, from a file or a connection that may be slow, and decode nothing yet."""
    from PIL import Image

    name = shown(name_of(image))
    return Taken(None if isinstance(image, Image.Image) else content_of(image, name), image, name)


def rgb_in(taken: Taken) -> "Image":
    """Return what `rgb_of` does of an image that was read; here a lack of memory may be MemoryError, too."""
    from PIL import Image, UnidentifiedImageError

    content, image, name = taken
    try:
        if isinstance(image, Image.Image):
            _check_scans(_undecoded(image) if image.format in _JPEGS else b"", name)
            return _upright(image, name)
        return _from_array(image, name) if content is None else _decoded(content, name)
    except (RequestError, MachineError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known kind ({', '.join(FORMATS)}): {name}") from error
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


def shown(name: str) -> str:
    """Return a name as messages show it: of a long one, such as a picture that came as text, the beginning and end."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:150]}…{name[-100:]} ({len(name)} characters)"


def most_pixels() -> int:
    """Return how many pixels an image may have: PETMODELS_MOST_PIXELS, or 100 million."""
    most = number_in(_MOST_PIXELS, 100_000_000, least=1)
    if most > _PILLOWS_MOST_PIXELS:
        text = f"{_MOST_PIXELS} must be at most {_PILLOWS_MOST_PIXELS}, Pillow opens nothing larger"
        raise RequestError(f"{text}: {os.environ[_MOST_PIXELS]}")
    return int(most)


def _decoded(file: io.BytesIO, name: str) -> "Image":
    from PIL import Image

    _check_scans(file.getvalue(), name)  # which copies nothing
    try:
        opened = Image.open(file, formats=FORMATS)
    except OSError:
        check_memory(min(pixels_of_webp(file.getvalue()), most_pixels()), WEBP_BYTES, name)
        raise
    with opened:
        return _upright(opened, name)


def _check_scans(content: bytes, name: str) -> None:
    """Raise ImageError for a JPEG that no camera makes; Pillow may take a minute for one already when it opens it."""
    if content.startswith(b"\xff\xd8\xff") and (excess := excess_in(content)):
        raise ImageError(f"{excess}, refused undecoded: {name}")


def _upright(image: "Image", name: str) -> "Image":
    from PIL.Image import Transpose

    most = most_pixels()
    if image.width * image.height > most:
        text = f"{image.width} x {image.height} pixels are more than the {most} of {_MOST_PIXELS}"
        raise ImageError(f"{text}, refused undecoded: {name}")
    if image.width == 0 or image.height == 0:
        raise ImageError(f"the image has no pixels: {name}")
    if image.width > _WIDEST:
        raise ImageError(f"a row of {image.width} pixels is wider than Pillow unpacks, refused undecoded: {name}")
    if codec := _codec_in_python(image):
        raise ImageError(f"Pillow unpacks its {codec} in Python, a minute for some, refused undecoded: {name}")
    try:
        image.load()
    except OSError:
        check_memory(image.width * image.height, JPEG_BYTES, name)
        raise
    orientation = image.getexif().get(0x0112)
    rgb = in_rgb(image)
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:  # damaged metadata may hold anything
        return rgb
    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    return rgb.transpose(Transpose[turns[orientation - 2]])


def _codec_in_python(image: Any) -> str:
    """Return what Pillow is going to decode byte by byte while it holds the interpreter's lock, "" for nothing.

    A BMP of run lengths is such a one: of a kilobyte it may make 100 million pixels.
    """
    from PIL.Image import DECODERS

    return next((tile[0] for tile in getattr(image, "tile", []) if tile[0] in DECODERS), "")


def _undecoded(image: Any) -> bytes:
    """Return the bytes that Pillow is going to decode, none of an image that is decoded already."""
    tiles, file = getattr(image, "tile", []), getattr(image, "fp", None)
    if not tiles or file is None:
        return b""
    if isinstance(file, io.BytesIO) and tiles[0][2] == 0:
        return file.getvalue()  # no copy
    file.seek(tiles[0][2])
    content: bytes = file.read(LARGEST_FILE_BYTES)
    return content


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
