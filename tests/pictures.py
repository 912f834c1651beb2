"""Tiny labelled pictures for the tests, and the odd files that real archives hold. Nothing here knows pytest."""

import io
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

LABELS = ("Bengal", "beagle", "pug")
EXIF_ORIENTATION = 0x0112


def pet(kind: int, variant: int, *, width: int = 60, height: int = 48) -> Image.Image:
    """Draw a shape whose colour depends on `kind` on a ground, in a place and among spots that depend on `variant`."""
    draw = np.random.default_rng([kind, variant])
    image = Image.new("RGB", (width, height), tuple(int(value) for value in draw.integers(100, 200, 3)))
    pen = ImageDraw.Draw(image)
    for x, y, radius in draw.integers((0, 0, 2), (width, height, 12), (12, 3)).tolist():
        colour = tuple(int(value) for value in draw.integers(60, 220, 3))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    left, top = (int(value) for value in draw.integers(2, min(width, height) // 4, 2))
    box = (left, top, left + width // 2, top + height // 2)
    colour = ((220, 60, 40), (40, 180, 60), (50, 70, 220))[kind % 3]
    (pen.rectangle, pen.ellipse, pen.rectangle)[kind % 3](box, fill=colour, outline="black")
    return image


def content(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Return the image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def also_a_tar(photograph: bytes, members: dict[str, bytes]) -> bytes:
    """Return a JPEG that is a tar with these members too: its header is a comment to the one, a member's to the other.

    The comment's mark and its length, 508 bytes, are the first member's name; the rest of the JPEG is what it holds.
    """
    comment = b"\xff\xd8\xff\xfe\x01\xfc".decode(errors="surrogateescape")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in {comment: photograph[2:], **members}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return packed.getvalue()


def oddly_turned(image: Image.Image, orientation: bytes) -> bytes:
    """Return a JPEG whose EXIF gives the orientation as text of at most four bytes, as broken programs write it."""
    entry = struct.pack("<HHI4s", EXIF_ORIENTATION, 2, len(orientation), orientation)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return content(image, quality=95, exif=exif)


def write_source(source: Path, *, num_images: int = 6, labels: Sequence[str] = LABELS) -> None:
    """Leave `<source>/images/<label>_<n>.jpg`, `num_images` a label, as the pets' archive names them."""
    (source / "images").mkdir(parents=True)
    for kind, label in enumerate(labels):
        for number in range(1, num_images + 1):
            (source / "images" / f"{label}_{number}.jpg").write_bytes(content(pet(kind, number), quality=95))


def turned(image: Image.Image, orientation: int, kind: str = "JPEG", **options: object) -> bytes:
    """Return a file that shows `image` only to those who obey its EXIF orientation."""
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = options or ({"quality": 95} if kind == "JPEG" else {})
    return content(image if back is None else image.transpose(back), kind, exif=exif, **options)


def usable(image: Image.Image) -> dict[str, bytes]:
    """Return odd files that still show `image`, by what is odd about them."""
    opaque = image.convert("RGBA")
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "red")], "duration": 100}
    return {
        "rotated by EXIF": turned(image, 6),
        "CMYK": content(image.convert("CMYK"), quality=95),
        "grey": content(image.convert("L"), quality=95),
        "PNG with alpha": content(opaque, "PNG"),
        "PNG with a palette": content(image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "PNG of 16 bit": content(deep, "PNG"),
        "animated GIF": content(image, "GIF", **frames),
        "progressive": content(image, quality=95, progressive=True),
        "WebP": content(image, "WEBP", quality=95),
        "BMP": content(image, "BMP"),
        "TIFF": content(image, "TIFF"),
    }


def unusable(image: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Return files that give no usable picture, by what they are, each with the reason that names it."""
    whole = content(image, quality=95)
    return {
        "truncated": (whole[: len(whole) // 2], "truncated"),
        "HTML": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not an image"),
        "empty": (b"", "not an image"),
        "one pixel": (content(image.resize((1, 1)), "PNG"), "too small: 1x1, prepare.min_side is 16"),
        "HEIC": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC, which can't be read here; convert to JPEG"),
        "AVIF": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF, which can't be read here; convert to JPEG"),
        "film": (b"\0\0\0\x18ftypisom\0\0\2\0isommp41", "not an image"),
        "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "not an image"),
    }
