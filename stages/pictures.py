"""Turn a file's bytes into a stored picture, or say why they can't be used.

Reads the candidates' files; leaves `images/<label>/…jpg`. The screening of new images judges by the same functions.
"""

import hashlib
import io
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image as Picture
from PIL.Image import Resampling

from stages.candidates import Candidate
from stages.index import Image
from stages.labels import is_folder_name

if TYPE_CHECKING:
    from stages.prepare import PrepareParams


_MOST_SIDE = 65_500  # of a JPEG, by its library
# A type II DCT of 64 numbers, of which the 16 lowest frequencies count, as a matrix.
_HASHED_SIDE, _FREQUENCIES = 64, 16
_COSINES = np.cos(np.pi / (2 * _HASHED_SIDE) * np.outer(np.arange(_FREQUENCIES), 2 * np.arange(_HASHED_SIDE) + 1))


@dataclass(frozen=True, kw_only=True)
class Usable:
    """A file that passed: its picture as it is stored, the original's size, and both hashes."""

    picture: Picture
    width: int
    height: int
    sha256: str
    phash: str


def stored_image(params: "PrepareParams", candidate: Candidate, folder: Path, dark: list[str]) -> Image | str:
    """Store one image below `folder` and return its row, or the reason why it is rejected.

    The source of one that is nearly black, because it uses little of its 16 bits, is added to `dark`.
    """
    from stages.images import is_nearly_black

    label = candidate.label
    reason = label_reason(params, label)
    if reason or not label:
        return reason
    content = candidate.file.read_bytes()
    usable = usable_image(params, content)
    if isinstance(usable, str):
        return usable
    if is_nearly_black(content):
        dark.append(candidate.source)
    # Cut, because file systems end a name after 255 bytes; the hash tells those apart that begin alike.
    stem = PurePosixPath(candidate.source).stem[:50]
    path = f"images/{label}/{stem}-{usable.sha256[:12]}.jpg"
    _save(usable.picture, folder / path, params.jpeg_quality)
    return Image(
        path=path,
        label=label,
        species=candidate.species,
        width=usable.width,
        height=usable.height,
        sha256=usable.sha256,
        phash=usable.phash,
        group=usable.sha256,
        official=candidate.official,
        arrival=candidate.arrival,
        arrived=candidate.arrived,
        source=candidate.source,
    )


def label_reason(params: "PrepareParams", label: str | None) -> str:
    """Return why an image with this label is rejected, "" when it isn't."""
    if not label:
        return f"no label by the {params.labels_from}"
    return "" if is_folder_name(label) else f"label is no folder's name: {label!r}"


def usable_image(params: "PrepareParams", content: bytes) -> Usable | str:
    """Decode and check the bytes of one file; return the reason when they are rejected."""
    from stages.images import UnusableImageError, decoded, resized, resized_size

    with ExitStack() as until_small:
        try:
            picture, (width, height) = decoded(content, short_side=params.short_side, until=until_small)
        except UnusableImageError as error:
            return str(error)
        if min(width, height) < params.min_side:
            return f"too small: {width}x{height}, prepare.min_side is {params.min_side}"
        if max(resized_size((width, height), params.short_side)) > _MOST_SIDE:
            return f"too elongated: {width}x{height}"
        small = resized(picture, params.short_side)
    sha256 = hashlib.sha256(content).hexdigest()
    return Usable(picture=small, width=width, height=height, sha256=sha256, phash=_perceptual_hash(small))


def _perceptual_hash(picture: Picture) -> str:
    """Return the 256-bit DCT hash in hex: which of the 16 x 16 lowest frequencies lie above their median.

    The 64 x 64 pixels that it is made of are a Hamming filter's: a Lanczos filter takes three times as long, and both
    leave the same distances between a photograph and its scaled or recompressed copies (6 bits at most). A box would be
    faster still, with 10 bits.
    """
    small = picture.convert("L").resize((_HASHED_SIDE, _HASHED_SIDE), Resampling.HAMMING)
    # Rounded, so that what is nothing is 0: of a plain picture the last digits would be all there is.
    lowest = (_COSINES @ np.asarray(small, dtype=np.float64) @ _COSINES.T).round(4)
    # The median, by hand: numpy's own takes longer than all else here.
    middle = np.sort(lowest, axis=None)[lowest.size // 2 - 1 : lowest.size // 2 + 1].mean()
    return np.packbits(lowest > middle).tobytes().hex()


def _save(picture: Picture, path: Path, quality: int) -> None:
    if not path.parent.exists():  # asking costs less than making it again for each image
        path.parent.mkdir(parents=True, exist_ok=True)
    # 4:4:4, because a second chroma subsampling costs colour edges and the first saved nothing here.
    how: dict[str, Any] = {"format": "JPEG", "quality": quality, "subsampling": 0}
    try:
        picture.save(path, **how)  # into a file Pillow encodes without the interpreter's lock, into memory with it
    except OSError as error:
        if error.errno is not None:
            raise
        # Of a full disk its encoder says no more than that it failed.
        buffer = io.BytesIO()
        picture.save(buffer, **how)
        path.write_bytes(buffer.getvalue())
