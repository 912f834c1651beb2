"""Open photographs as they come in the wild and bring them to the one form that everything else reads.

Reads image files; leaves nothing itself. The resize rule here is the one that preprocess.json tells consumers.
"""

import io
import struct
import warnings
from contextlib import ExitStack
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stages.scans import excess_in
from stages.threads import Room

FILTER = Image.Resampling.LANCZOS
FILTER_NAME = "lanczos"

# What a browser or a camera writes (JPEG's reader opens MPO too). Pillow's rarer readers (EPS, PSD, …) stay closed to
# files from strangers.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")

# As many as two photographs of 50 megapixels have, on however many cores: 2 GB at the 20 bytes of a transparent pixel.
DECODING = Room(100_000_000)

_JPEGS = {"JPEG", "MPO"}
# By the number that EXIF has for how the camera was held.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = {_TURNS[number] for number in (5, 6, 7, 8)}
_PIECE = 1 << 16  # pixels
_WIDEST = 10_000_000  # of a row above 2 Gbit, 22 million pixels, Pillow says that it lacks memory, whatever there is
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)


class UnusableImageError(Exception):
    """These bytes give no picture; the text is the reason, fit for rejects.csv."""


def decoded(
    content: bytes, *, short_side: int | None = None, until: ExitStack | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Return the upright RGB image in `content` and its (width, height) before any scaling.

    With `short_side`, a JPEG may come back smaller (libjpeg scales while decoding), never below twice that side. Of an
    animation the first frame counts; transparent parts are shown on white. Its pixels count among those of DECODING
    until it is returned, or until `until` is closed. Raises UnusableImageError.
    """
    try:
        with ExitStack() as room, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata; the pixels are checked by decoding them
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _opened(content, short_side, room if until is None else until)
    except UnidentifiedImageError as error:
        raise UnusableImageError(_unread(content)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImageError("too many pixels") from error
    except _BROKEN as error:
        reason = "truncated" if "truncated" in str(error) else f"broken: {' '.join(str(error).split())}"
        raise UnusableImageError(reason) from error


def resized(image: Image.Image, short_side: int) -> Image.Image:
    """Return the image scaled so that its shorter side has exactly `short_side` pixels, up or down."""
    size = resized_size(image.size, short_side)
    return image if image.size == size else image.resize(size, FILTER)


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return the (width, height) that `resized` gives for an image of `size`."""
    shorter = min(size)
    width, height = (max(short_side, round(side * short_side / shorter)) for side in size)
    return width, height


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """Return the square of `side` pixels in the middle; an odd margin leaves its extra pixel right and below."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def model_input(path: Path, image_size: int) -> NDArray[np.uint8]:
    """Return a prepared image as the model sees it, before normalisation: height × width × RGB, 0-255."""
    with Image.open(path) as image:
        return np.asarray(centre_crop(image.convert("RGB"), image_size))


def is_nearly_black(content: bytes) -> bool:
    """Say whether a picture of 16 bits, as `decoded` reads it, uses less than an eighth of their range."""
    if content.startswith(b"\xff\xd8"):  # a JPEG, as most are, has eight
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if not image.mode.startswith("I"):
                    return False
                with DECODING.holding(image.width * image.height):
                    return int(np.asarray(image).max()) < 65536 // 8
    except (*_BROKEN, Image.DecompressionBombError):
        return False


def _unread(content: bytes) -> str:
    """Return why no reader takes these bytes; phones' formats are named, by the brands in their first box."""
    box = content[: int.from_bytes(content[:4], "big")][:64] if content[4:8] == b"ftyp" else b""
    brands = {box[place : place + 4] for place in (8, *range(16, len(box), 4))}
    for kind, names in {"AVIF": {b"avif", b"avis"}, "HEIC": {b"heic", b"heix", b"hevc", b"mif1"}}.items():
        if brands & names:
            return f"{kind}, which can't be read here; convert to JPEG"
    return "not an image"


def _opened(content: bytes, short_side: int | None, room: ExitStack) -> tuple[Image.Image, tuple[int, int]]:
    # Before it is opened, for which Pillow may take a minute already.
    if content.startswith(b"\xff\xd8\xff") and (excess := excess_in(content)):
        raise UnusableImageError(f"{excess}, refused undecoded")
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        # Such as a BMP of run lengths: a kilobyte may hold a thread for a minute. petmodels/images.py refuses the same.
        if codecs := [tile[0] for tile in image.tile if tile[0] in Image.DECODERS]:
            raise UnusableImageError(f"Pillow unpacks its {codecs[0]} in Python, a minute for some, refused undecoded")
        if image.width > _WIDEST:
            raise UnusableImageError(f"a row of {image.width} pixels is wider than Pillow unpacks, refused undecoded")
        before_scaling = image.size if image.format in _JPEGS else None
        if short_side is not None and before_scaling:
            image.draft("RGB", (2 * short_side, 2 * short_side))
        # A progressive one is held whole before it is scaled.
        size = before_scaling if before_scaling and "progressive" in image.info else image.size
        room.enter_context(DECODING.holding(size[0] * size[1]))
        image.load()  # by which a TIFF is turned, and no longer says that it has to be
        orientation = image.getexif().get(0x0112)
        turn = _TURNS.get(orientation) if isinstance(orientation, int) else None  # damaged metadata may hold anything
        width, height = before_scaling or image.size
        upright = image if turn is None else image.transpose(turn)
        return _rgb(upright), (height, width) if turn in _SWAPPING else (width, height)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        return _eight_bit(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).ravel()
    highest = 65535.0 if image.mode.startswith("I") else _highest(values)
    pixels = np.empty(values.size, dtype=np.uint8)
    # Piece by piece: as float64 a whole picture of 16 megapixels took 430 MB.
    for first in range(0, values.size, _PIECE):
        piece = slice(first, first + _PIECE)
        pixels[piece] = np.clip(values[piece].astype(np.float64) / highest * 255, 0, 255)
    return Image.fromarray(pixels.reshape(image.height, image.width))


def _highest(values: NDArray[np.float32]) -> float:
    """Return the highest value, above 0; raise ValueError for nan or inf among them, as petmodels/colours.py does."""
    lowest, highest = float(values.min()), float(values.max())
    if not (isfinite(lowest) and isfinite(highest)):  # a nan among them is both
        raise ValueError("it holds nan or inf")
    return max(highest, 1e-9)
