"""Tell of an image that could not be decoded whether this machine lacked the memory for it.

Reads and leaves nothing. Pillow says so of some kinds alone: libjpeg's failure is to it a broken stream, and libwebp's
a decoder that can't be made. So the memory that was lacking is asked for once more, and never touched.
"""

import mmap

from petmodels.errors import MachineError
from petmodels.machine import LACKS_MEMORY

TO_DECODE = "decode this image; lower PETMODELS_THREADS or PETMODELS_MOST_PIXELS"
# What is taken on top of the pixels that are there by then: a progressive JPEG's coefficients, of four colours at most.
JPEG_BYTES = 8
# The canvases of WebP, beside the pixels and a copy of them.
WEBP_BYTES = 16


def check_memory(num_pixels: int, pixel_bytes: int, name: str) -> None:
    """Raise MachineError, which names the image, when this machine can't give that many bytes for each pixel."""
    try:
        mmap.mmap(-1, max(1, num_pixels * pixel_bytes)).close()
    except OSError as error:
        raise MachineError(f"{LACKS_MEMORY} to {TO_DECODE}: {name}") from error


def pixels_of_webp(content: bytes) -> int:
    """Return how many pixels a WebP says that it has, 0 for what isn't one."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return 0
    if content[12:16] == b"VP8X":
        return (1 + int.from_bytes(content[24:27], "little")) * (1 + int.from_bytes(content[27:30], "little"))
    if content[12:16] == b"VP8L":
        sides = int.from_bytes(content[21:25], "little")
        return (1 + (sides & 0x3FFF)) * (1 + (sides >> 14 & 0x3FFF))
    return (int.from_bytes(content[26:28], "little") & 0x3FFF) * (int.from_bytes(content[28:30], "little") & 0x3FFF)
