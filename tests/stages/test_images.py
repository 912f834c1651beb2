"""Photographs are opened as they come, and resized and cropped by the rule that preprocess.json tells."""

import io
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

import petmodels.scans
from petmodels.errors import ImageError
from petmodels.images import rgb_of
from stages import scans
from stages.images import UnusableImageError, centre_crop, decoded, model_input, resized, resized_size
from tests.pictures import EXIF_ORIENTATION, content, oddly_turned, pet, turned, unusable


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), side=st.integers(16, 512))
def test_the_shorter_side_becomes_exactly_what_was_asked(width: int, height: int, side: int) -> None:
    new = resized_size((width, height), side)

    assert min(new) == side
    assert abs(max(new) / side - max(width, height) / min(width, height)) <= 0.5 / side + 1e-9


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = pet(0, 0)

    assert resized(image, 48) is image


def test_an_odd_margin_leaves_its_extra_pixel_right_and_below() -> None:
    image = Image.new("RGB", (5, 4))
    image.putpixel((1, 0), (255, 255, 255))

    assert centre_crop(image, 3).getpixel((0, 0)) == (255, 255, 255)


def test_a_model_sees_the_centre_as_rows_of_red_green_and_blue(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4), (1, 2, 3))
    image.save(tmp_path / "a.png")

    pixels = model_input(tmp_path / "a.png", 4)

    assert (pixels.shape, pixels.dtype) == ((4, 4, 3), np.uint8)
    assert pixels[0, 0].tolist() == [1, 2, 3]


def test_the_size_is_the_upright_originals_whatever_the_draft() -> None:
    image, size = decoded(turned(pet(0, 0, width=900, height=400), 6), short_side=40)

    assert size == (900, 400)
    assert image.width > image.height
    assert 80 <= image.height < 400


KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {"lossless": True}),
    "TIFF": ("TIFF", {}),
    "TIFF by LZW": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_upright_whatever_its_orientation(kind: str, orientation: int) -> None:
    upright, (form, options) = pet(0, 0), KINDS[kind]
    data = turned(upright, orientation, form, **options)
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")

    image, size = decoded(data, short_side=40)

    assert image.tobytes() == rgb_of(data).tobytes() == expected.tobytes()
    assert image.size == size == upright.size
    assert kind == "JPEG" or image.tobytes() == upright.tobytes()


def test_a_tiff_that_only_its_xmp_turns_has_the_size_of_the_upright_picture() -> None:
    turn = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    lying = pet(0, 0).transpose(Image.Transpose.ROTATE_90)

    image, size = decoded(content(lying, "TIFF", tiffinfo={700: turn}))

    assert size == image.size == (60, 48)
    assert image.tobytes() == pet(0, 0).tobytes()


def test_an_orientation_that_is_no_number_turns_nothing() -> None:
    data = oddly_turned(pet(0, 0, width=90, height=70), b"6\0")
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[EXIF_ORIENTATION] == "6"

    image, size = decoded(data)

    assert (image.size, size) == ((90, 70), (90, 70))


@pytest.mark.parametrize("error", [TypeError("no number"), struct.error("unpack requires 4 bytes")])
def test_metadata_that_pillow_stumbles_over_is_a_reason(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def stumble(_: Image.Image) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "getexif", stumble)

    with pytest.raises(UnusableImageError, match=f"^broken: {error}"):
        decoded(content(pet(0, 0)))


def test_a_small_jpeg_is_not_drafted_below_twice_the_side() -> None:
    image, _ = decoded(content(pet(0, 0, width=90, height=70)), short_side=40)

    assert image.size == (90, 70)


def test_floating_point_pictures_are_scaled_by_their_brightest_pixel() -> None:
    values = np.linspace(0, 3, 48 * 48, dtype=np.float32).reshape(48, 48)

    image, _ = decoded(content(Image.fromarray(values), "TIFF"))

    pixels = np.asarray(image)
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_of_nan_or_inf_is_rejected_as_the_client_refuses_it(value: float) -> None:
    values = np.full((9, 9), 0.5, np.float32)
    values[4, 4] = value
    data = content(Image.fromarray(values), "TIFF")
    with pytest.raises(ImageError, match=r"it holds nan or inf") as refused:
        rgb_of(data)

    with pytest.raises(UnusableImageError, match=r"^broken: it holds nan or inf$") as rejected:
        decoded(data)

    assert str(rejected.value).removeprefix("broken: ") in str(refused.value)


def test_sixteen_bits_keep_their_scale() -> None:
    image, _ = decoded(content(Image.fromarray(np.full((20, 20), 32896, np.uint16)), "PNG"))

    assert image.getpixel((3, 3)) == (128, 128, 128)


WIDE = {
    "16 bits": (np.arange(65_536, dtype=np.uint16).reshape(256, 256), "PNG"),
    "32 bits": (np.arange(-20_000, 80_000, dtype=np.int32).reshape(250, 400), "TIFF"),
    "floating point": (np.random.default_rng(1).uniform(-1, 3, (300, 333)).astype(np.float32), "TIFF"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WIDE)
def test_each_value_of_more_than_eight_bits_is_scaled_as_in_double_precision(kind: str) -> None:
    values, form = WIDE[kind]
    highest = values.max() if kind == "floating point" else 65_535
    expected = np.clip(values.astype(np.float64) / highest * 255, 0, 255).astype(np.uint8)

    image, _ = decoded(content(Image.fromarray(values), form))

    assert np.asarray(image).tolist() == np.stack([expected] * 3, axis=-1).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", WIDE)
def test_a_large_picture_of_more_than_eight_bits_takes_no_memory_for_all_of_it_in_double_precision(kind: str) -> None:
    values, form = WIDE[kind]
    data = content(Image.fromarray(np.tile(values, (16, 16))), form)

    tracemalloc.start()
    image, _ = decoded(data)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most_bytes < 10 * image.width * image.height  # 24 a pixel, when all of it was


@pytest.mark.parametrize("odd", ["truncated", "HTML", "empty", "HEIC", "AVIF", "film", "PostScript"])
def test_bytes_without_a_picture_say_why(odd: str) -> None:
    bad, reason = unusable(pet(0, 0))[odd]

    with pytest.raises(UnusableImageError, match=reason):
        decoded(bad)


def jpeg_of_scans(num_scans: int, *, progressive: bool) -> bytes:
    """Return a JPEG whose scans are empty, ten bytes each, and cost libjpeg a pass over the picture each."""
    head = content(pet(0, 0), progressive=progressive).partition(b"\xff\xda")[0]
    last, bits = (0, 0x10) if progressive else (63, 0)
    return head + bytes([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, last, bits]) * num_scans + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_more_than_100_scans_is_refused_undecoded(
    monkeypatch: pytest.MonkeyPatch, *, progressive: bool
) -> None:
    assert decoded(jpeg_of_scans(100, progressive=progressive))[0].mode == "RGB"
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))

    with pytest.raises(UnusableImageError, match=r"^more than 100 scans, refused undecoded$"):
        decoded(jpeg_of_scans(101, progressive=progressive))


SCANS = b"\xff\xda" * 2000


def test_a_jpeg_of_endless_segments_is_told_as_that() -> None:
    picture = jpeg_of_scans(1, progressive=False)

    with pytest.raises(UnusableImageError, match=r"^more than 10000 segments, refused undecoded$"):
        decoded(picture[:2] + bytes([0xFF, 0xFE, 0, 2]) * 10_001 + picture[2:])


EXIF = b"\xff\xe1\0\x09Exif\0\0."


@pytest.mark.parametrize("before", [b"", b"\xff\xd9", b"\xff\xf0\xff\xff"], ids=["plainly", "past an end", "hidden"])
def test_a_jpeg_of_endless_exif_is_refused_unopened(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    """Opening one costs Pillow the square of its Exif data; of the markers it passes over others than libjpeg does."""
    picture = jpeg_of_scans(1, progressive=False)
    assert decoded(picture[:2] + EXIF * 100 + picture[2:])[0].mode == "RGB"
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("opened"))

    with pytest.raises(UnusableImageError, match=r"^more than 100 pieces of Exif, refused undecoded$"):
        decoded(picture[:2] + before + EXIF * 101 + picture[2:])


def test_consumers_count_scans_as_prepare_does() -> None:
    ours, theirs = (Path(one.__file__ or "").read_text(encoding="utf-8") for one in (scans, petmodels.scans))

    assert ours.split('"""', 2)[2] == theirs.split('"""', 2)[2]


@pytest.mark.parametrize(
    "data",
    [
        content(pet(0, 0), progressive=True),
        content(pet(0, 0), "MPO", save_all=True, append_images=[pet(0, 1)]),
        content(pet(0, 0), comment=SCANS),
        content(pet(0, 0)) + SCANS,
        content(pet(0, 0), progressive=True) + SCANS,
        content(Image.frombytes("L", (80, 50), SCANS), "PNG", compress_level=0),
    ],
    ids=["progressive", "two pictures", "comment", "film behind", "film behind a progressive one", "pixels of a PNG"],
)
def test_what_only_looks_like_scans_is_decoded(data: bytes) -> None:
    assert decoded(data, short_side=40)[0].mode == "RGB"


@pytest.mark.parametrize("marker", [b"\xff\x02", b"\xff\xd0", b"\xff\xff"])
def test_no_marker_hides_the_scans_behind_it(marker: bytes) -> None:
    """libjpeg passes over these within a scan and takes the next bytes for what they are, not for a length."""
    data = jpeg_of_scans(2, progressive=True)

    with pytest.raises(UnusableImageError, match="more than 100 scans"):
        decoded(data[:-2] + marker + data[-12:-2] * 200)


def test_a_bmp_of_runs_is_refused_undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow unpacks such a one in Python: a kilobyte of 100 million pixels would cost a minute."""
    body, start = b"\x01\x05\0\x01", 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, 500, 2, 1, 8, 1, len(body), 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + bytes(1024) + body
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))

    with pytest.raises(UnusableImageError, match=r"^Pillow unpacks its bmp_rle in Python, .*, refused undecoded$"):
        decoded(data, short_side=40)


def test_a_row_wider_than_pillow_unpacks_is_a_reason() -> None:
    """Pillow raises MemoryError for it, on any machine, which would end the stage."""
    whole = content(pet(0, 0), "PNG")
    header = whole[12:16] + struct.pack(">IIBB", 80_000_000, 1, 8, 6) + whole[26:29]  # RGBA
    data = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]

    with pytest.raises(UnusableImageError, match=r"^a row of 80000000 pixels is wider than Pillow unpacks, refused"):
        decoded(data, short_side=40)


def test_a_picture_for_which_memory_is_lacking_is_not_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lack)

    with pytest.raises(MemoryError):
        decoded(content(pet(0, 0)))


def test_a_broken_png_says_that_it_is_broken() -> None:
    whole = content(pet(0, 0), "PNG")

    with pytest.raises(UnusableImageError, match=r"broken|truncated"):
        decoded(whole[:200] + b"\0" * 50 + whole[250:])


@given(
    place=st.integers(0, 1000), value=st.integers(0, 255), kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
)
def test_a_flipped_byte_gives_a_picture_or_a_reason(place: int, value: int, kind: str) -> None:
    damaged = bytearray(content(pet(0, 0), kind))
    damaged[place % len(damaged)] = value

    try:
        said = decoded(bytes(damaged))[0].mode
    except UnusableImageError as error:
        said = str(error)

    assert said == "RGB" or re.fullmatch("not an image|truncated|broken: .+|too many pixels", said)
