"""Images from strangers: an answer, or one line for that file, while the rest goes on."""

import io
import json
import os
import re
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

import petmodels
from petmodels.errors import ImageError, RequestError, UnreachableError
from petmodels.images import rgb_of
from petmodels.model import Model
from petmodels.predictions import Prediction
from petmodels.preprocess import preprocess_in
from tests.petmodels.bundles import COLOURS, PREPROCESS, image_bytes, make_bundle
from tests.petmodels.commands import Command
from tests.pictures import oddly_turned, pet
from tests.pictures import turned as turned_pet


@pytest.fixture
def model(bundle: Path) -> Model:
    return petmodels.load(bundle)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str = "RGB", size: tuple[int, int] = (50, 40), colour: object = (230, 30, 30)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(plain(), "JPEG", exif=exif)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        image_bytes("red"),
        encoded(plain(), "GIF"),
        encoded(plain(), "GIF", save_all=True, append_images=[plain(colour=(30, 30, 230))]),
        encoded(plain(), "PNG"),
        encoded(plain(), "WEBP"),
        encoded(plain(), "BMP"),
        encoded(plain(), "TIFF"),
        encoded(plain("RGBA", colour=(230, 30, 30, 255)), "PNG"),
        encoded(plain("CMYK", colour=(20, 240, 240, 10)), "JPEG"),
        encoded(plain(size=(1, 1)), "PNG"),
        encoded(plain(size=(5000, 1)), "PNG"),
        encoded(plain(size=(1, 60_000)), "PNG"),
        encoded(plain().quantize(4), "PNG"),
        turned(),
    ],
    ids=["jpeg", "gif", "animation", "png", "webp", "bmp", "tiff", "alpha", "cmyk", "1x1", "wide", "tall", "palette",
         "turned"],
)  # fmt: skip
def test_a_red_image_of_any_kind_is_red(model: Model, data: bytes) -> None:
    assert model.predict(data).label == "red"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (image_bytes("red", size=(400, 400))[:-600], "the image is broken .*truncated"),
        (image_bytes("red")[:30], "not an image of a known kind|the image is broken"),
        (b"this is a text\n" * 20, "not an image of a known kind"),
        (b"", "not an image of a known kind"),
        (b"GIF89a", "not an image of a known kind|the image is broken"),
        (
            png_that_claims(9_000, 12_000),
            "9000 x 12000 pixels are more than the 100000000 of PETMODELS_MOST_PIXELS, refused undecoded",
        ),
        (png_that_claims(60_000, 60_000), "more pixels than Pillow opens, refused undecoded"),
        (png_that_claims(100, 100), "the image is broken"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known kind"),
    ],
    ids=["truncated", "header", "text", "empty", "gif header", "bomb", "larger bomb", "no pixels", "svg", "postscript"],
)
@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")  # where it is none, ours is said
def test_what_is_no_image_is_refused_in_one_line(model: Model, data: bytes, match: str) -> None:
    with pytest.raises(ImageError, match=match) as refused:
        model.predict(data)
    assert "\n" not in str(refused.value)
    print(f"ImageError: {refused.value}")


def jpeg_of_scans(num_scans: int, *, progressive: bool) -> bytes:
    """Return a JPEG whose scans are empty, ten bytes each, and cost libjpeg a pass over the picture each."""
    head = encoded(plain(), "JPEG", progressive=progressive).partition(b"\xff\xda")[0]
    last, bits = (0, 0x10) if progressive else (63, 0)
    return head + bytes([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, last, bits]) * num_scans + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("given", [bytes, io.BytesIO, lambda data: Image.open(io.BytesIO(data))])
def test_a_jpeg_of_more_than_100_scans_is_refused_undecoded(
    given: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch, *, progressive: bool
) -> None:
    assert rgb_of(given(jpeg_of_scans(100, progressive=progressive))).mode == "RGB"
    image = given(jpeg_of_scans(101, progressive=progressive))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))

    with pytest.raises(ImageError, match=r"^more than 100 scans, refused undecoded: <.+>$"):
        rgb_of(image)


@pytest.mark.parametrize("given", [bytes, io.BytesIO])
def test_a_jpeg_of_endless_exif_is_refused_unopened(
    given: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening one costs Pillow the square of its Exif data: 4 MB took ten seconds."""
    picture, exif = encoded(plain(), "JPEG"), b"\xff\xe1\0\x09Exif\0\0."
    assert rgb_of(given(picture[:2] + exif * 100 + picture[2:])).mode == "RGB"
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("opened"))

    with pytest.raises(ImageError, match=r"^more than 100 pieces of Exif, refused undecoded: <.+>$"):
        rgb_of(given(picture[:2] + exif * 101 + picture[2:]))


SCANS = b"\xff\xda" * 2000


@pytest.mark.parametrize(
    "data",
    [
        encoded(plain(), "JPEG", progressive=True),
        encoded(plain(), "MPO", save_all=True, append_images=[plain()]),
        encoded(plain(), "JPEG", comment=SCANS),
        encoded(plain(), "JPEG") + SCANS,
        encoded(plain(), "JPEG", progressive=True) + SCANS,
        encoded(Image.frombytes("L", (80, 50), SCANS), "PNG", compress_level=0),
    ],
    ids=["progressive", "two pictures", "comment", "film behind", "film behind a progressive one", "pixels of a PNG"],
)
def test_what_only_looks_like_scans_is_decoded(data: bytes) -> None:
    assert rgb_of(data).mode == "RGB"


def bmp_of_runs(width: int, height: int) -> bytes:
    """Return a BMP of one pixel and the end of its row; Pillow fills the rest in Python, a minute for 100 million."""
    body, start = b"\x01\x05\0\0\x01\x05\0\0\0\x01", 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + bytes(1024) + body


@pytest.mark.parametrize("given", [bytes, io.BytesIO, lambda data: Image.open(io.BytesIO(data))])
def test_a_bmp_of_runs_is_refused_undecoded(given: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    image = given(bmp_of_runs(5_000_000, 2))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))

    with pytest.raises(ImageError, match=r"^Pillow unpacks its bmp_rle in Python, .*, refused undecoded: <.+>$"):
        rgb_of(image)


def test_a_row_wider_than_pillow_unpacks_is_the_images_fault_and_not_the_machines() -> None:
    """Pillow raises MemoryError for it, on any machine: 70 bytes of a stranger would end all that is being answered."""
    whole = encoded(plain(), "PNG")
    header = whole[12:16] + struct.pack(">IIBB", 80_000_000, 1, 8, 6) + whole[26:29]  # RGBA
    data = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]

    with pytest.raises(ImageError, match=r"^a row of 80000000 pixels is wider than Pillow unpacks, refused .*: <"):
        rgb_of(data)


PPMS = [b"P1\n2000 2000\n" + b"#\n" * 1000, b"P6\n1200 1200\n100\n" + b"a" * 4000]


@pytest.mark.parametrize("data", PPMS, ids=["comments", "an odd scale"])
def test_a_ppm_that_pillow_reads_in_python_is_refused_undecoded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.open(io.BytesIO(data))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))

    with pytest.raises(ImageError, match=r"^not an image of a known kind \(JPEG, PNG, WEBP, GIF, BMP, TIFF\): <"):
        rgb_of(data)
    with pytest.raises(
        ImageError, match=r"^Pillow unpacks its ppm\w* in Python, .*, refused undecoded: <PpmImageFile>$"
    ):
        rgb_of(image)


def tiff_of_tags(num_tags: int, size_bytes: int) -> bytes:
    """Return a TIFF of 8 x 8 pixels with tags that all have the same bytes of the file for their value."""
    known = {256: (3, 1, 8), 257: (3, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
             277: (3, 1, 1), 278: (3, 1, 8), 279: (4, 1, 64)}  # fmt: skip
    shared = dict.fromkeys(range(40_000, 40_000 + num_tags), (7, size_bytes, 8 + 64))
    tags = b"".join(struct.pack("<HHII", number, *tag) for number, tag in sorted((known | shared).items()))
    place = 8 + 64 + size_bytes
    head = b"II*\0" + struct.pack("<I", place) + bytes(64) + bytes(size_bytes)
    return head + struct.pack("<H", len(known) + num_tags) + tags + bytes(4)


@pytest.mark.filterwarnings("ignore:Tag data larger than file")  # how Pillow tells that it leaves them
def test_a_tiff_whose_tags_share_bytes_takes_little_memory() -> None:
    """Before 13.0 Pillow gave each tag bytes of its own: 300 kB took 2 GB."""
    data = tiff_of_tags(400, 250_000)

    tracemalloc.start()
    image = rgb_of(data)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert image.size == (8, 8)
    assert most_bytes < 20 * len(data)


def test_a_later_picture_of_a_file_is_read_from_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "two.mpo").write_bytes(encoded(plain(), "MPO", save_all=True, append_images=[plain(colour=(0, 0, 9))]))

    with Image.open(tmp_path / "two.mpo") as image:
        image.seek(1)
        pixel: Any = rgb_of(image).getpixel((0, 0))

    assert pixel[0] < 9


def test_a_16_bit_image_keeps_its_brightness() -> None:
    grey = Image.fromarray(np.full((9, 9), 32768, np.uint16))

    assert rgb_of(encoded(grey, "PNG")).getpixel((4, 4)) == (127, 127, 127)


def test_what_is_transparent_is_seen_on_white() -> None:
    assert rgb_of(encoded(plain("RGBA", colour=(0, 0, 0, 0)), "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_a_camera_that_was_turned_is_turned_back() -> None:
    assert rgb_of(turned()).size == (40, 50)


def test_paths_bytes_pillow_images_and_arrays_give_the_same_answer(model: Model, tmp_path: Path) -> None:
    data = image_bytes("blue", kind="PNG")
    (tmp_path / "blue.png").write_bytes(data)
    image = Image.open(io.BytesIO(data))
    array = np.asarray(image)
    answers = model.predict([str(tmp_path / "blue.png"), tmp_path / "blue.png", data, image, array, array / 255])

    assert {answer.probability for answer in answers} == {answers[0].probability}
    assert {answer.label for answer in answers} == {"blue"}


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.int64), np.full((4, 4), 7.0),
     np.full((4, 4), np.nan)],
)  # fmt: skip
def test_an_array_that_is_no_image_is_refused(model: Model, array: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ImageError, match="an array"):
        model.predict(array)


def test_a_stream_answers_before_its_last_image_is_read(model: Model) -> None:
    read = []

    def images():  # type: ignore[no-untyped-def]
        for number in range(200):
            read.append(number)
            yield image_bytes("red")

    stream = model.predict(images())
    first = next(stream)

    assert first.label == "red"
    assert len(read) == 1
    assert sum(1 for _ in stream) == 199


@pytest.mark.parametrize("batch", [1, 16])
def test_images_taken_before_a_source_fails_are_answered(model: Model, batch: int) -> None:
    """Somebody's queue has given them away already."""
    answered = []

    def images():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield image_bytes("red")
        raise ConnectionError("the queue is gone")

    with pytest.raises(ConnectionError, match="the queue is gone"):
        answered.extend(one.label for one in model.predict_each(images(), batch=batch))  # type: ignore[union-attr]

    assert answered == ["red"] * 20


def test_in_batches_of_one_an_image_is_answered_before_the_next_is_taken(model: Model) -> None:
    taken = []

    def images():  # type: ignore[no-untyped-def]
        for number in range(5):
            taken.append(number)
            yield image_bytes("red")

    assert [len(taken) for _ in model.predict_each(images(), batch=1)] == [1, 2, 3, 4, 5]


def test_answers_come_in_the_order_of_the_images(model: Model) -> None:
    colours = [["red", "green", "blue"][number % 3] for number in range(100)]

    assert [answer.label for answer in model.predict([image_bytes(colour) for colour in colours])] == colours


def test_a_low_probability_is_marked_as_unsure(model: Model) -> None:
    sure, unsure = model.predict([image_bytes("red"), image_bytes("grey")])

    assert (sure.unsure, unsure.unsure) == (False, True)
    assert unsure.probability < model.unsure_below


def test_probabilities_are_those_of_the_formula(model: Model) -> None:
    answer = model.predict(image_bytes("red", kind="PNG"), top=3)

    powers = np.exp((np.asarray(COLOURS["red"]) / 255 - 0.5) / 0.25 * 2.0)
    expected = dict(zip(model.labels, powers / powers.sum(), strict=True))
    assert {one.label: pytest.approx(one.probability, abs=1e-5) for one in answer.ranked} == expected


@pytest.mark.slow
def test_the_command_line_goes_on_after_a_bad_image_and_says_so(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(image_bytes("green"))
    (tmp_path / "text.jpg").write_bytes(b"no image")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "blue.png").write_bytes(image_bytes("blue", kind="PNG"))
    names = ["good.jpg", "text.jpg", "missing.jpg", "folder", "-"]
    command = [sys.executable, "-m", "petmodels", "predict", *names, "--model", str(bundle), "--json"]

    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, check=False, input=image_bytes("red"),
        env={"PYTHONPATH": str(Path.cwd()), "PATH": ""},
    )  # fmt: skip

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["label"] for answer in answers] == ["green", "blue", "red"]
    assert done.stderr.decode().splitlines() == [
        "petmodels: not an image of a known kind (JPEG, PNG, WEBP, GIF, BMP, TIFF): text.jpg",
        "petmodels: no such file: missing.jpg",
        "petmodels: 2 of 5 images could not be read",
    ]
    assert done.returncode == 7


def test_make_bundle_is_what_the_others_rely_on(tmp_path: Path) -> None:
    assert petmodels.load(make_bundle(tmp_path / "b")).species["red"] == "fox"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_itself_would(orientation: int) -> None:
    upright = pet(0, 0)

    found = rgb_of(turned_pet(upright, orientation))

    with Image.open(io.BytesIO(turned_pet(upright, orientation))) as image:
        assert found.tobytes() == ImageOps.exif_transpose(image).convert("RGB").tobytes()
    assert found.size == upright.size


def test_an_orientation_that_is_no_number_turns_nothing() -> None:
    assert rgb_of(oddly_turned(pet(0, 0), b"6\0")).size == pet(0, 0).size


@pytest.mark.slow
def test_sixteen_bits_are_scaled_as_in_double_precision_without_the_memory_for_it() -> None:
    values = np.tile(np.arange(65_536, dtype=np.uint16).reshape(256, 256), (16, 16))
    data = encoded(Image.fromarray(values), "PNG")

    tracemalloc.start()
    image = rgb_of(data)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    expected = (values.astype(np.float64) / 65_535 * 255).astype(np.uint8)
    assert np.array_equal(np.asarray(image)[..., 1], expected)
    assert most_bytes < 10 * values.size


# What Pillow warns of, and what it raises.


def with_odd_exif() -> bytes:
    """Return a PNG of whose metadata Pillow warns when it is asked for them."""
    return encoded(plain(), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0\0\0\x06\0")


def test_a_programs_own_warning_filters_are_left_alone(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, seen = Image.open, []

    def watched(*arguments: object, **options: object) -> Image.Image:
        seen.append(list(warnings.filters))
        return opened(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", watched)

    model.predict(image_bytes("red"))

    assert seen == [list(warnings.filters)]


def test_a_warning_of_pillow_is_one_image_that_fails_where_warnings_are_errors(model: Model) -> None:
    bad, good = model.predict_each([with_odd_exif(), image_bytes("red")])

    assert str(bad).startswith("the image is broken (Corrupt EXIF data.")
    assert not isinstance(good, ImageError)
    assert good.label == "red"


def test_the_command_line_shows_no_warning_of_pillow(run: Command, bundle: Path) -> None:
    Path("odd.png").write_bytes(with_odd_exif())

    done = run("predict", "odd.png", "--model", bundle)

    assert (done.code, done.talk) == (0, [])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_of_floats_that_are_no_numbers_is_refused(value: float) -> None:
    values = np.full((9, 9), 0.5, np.float32)
    values[4, 4] = value

    with pytest.raises(ImageError, match=r"the image is broken \(it holds nan or inf\): <\d+ bytes>"):
        rgb_of(encoded(Image.fromarray(values), "TIFF"))


def test_a_pillow_image_whose_file_is_closed_costs_itself_alone(model: Model, tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(image_bytes("red"))
    with Image.open(tmp_path / "red.jpg") as closed:
        pass

    bad, good = model.predict_each([closed, tmp_path / "red.jpg"])

    assert str(bad).startswith("the image is broken, or closed (")
    assert not isinstance(good, ImageError)


# Memory.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "kind", "most"),
    [("RGB", "JPEG", 5), ("RGB", "PNG", 5), ("RGBA", "PNG", 9), ("LA", "PNG", 9), ("P", "GIF", 6), ("F", "TIFF", 9)],
)
def test_an_image_takes_few_bytes_a_pixel(mode: str, kind: str, most: int, tmp_path: Path) -> None:
    side = 3000
    options = {"GIF": {"transparency": 0}, "TIFF": {"compression": "tiff_lzw"}}.get(kind, {})
    (tmp_path / "image").write_bytes(encoded(Image.new(mode, (side, side)), kind, **options))
    script = """
import re, sys
from pathlib import Path
from petmodels.images import rgb_of
def most_bytes(): return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
rgb_of(sys.argv[2])
before = most_bytes()
rgb_of(sys.argv[1])
print(most_bytes() - before)
"""
    (tmp_path / "small").write_bytes(encoded(Image.new(mode, (9, 9)), kind, **options))
    command = [sys.executable, "-c", script, tmp_path / "image", tmp_path / "small"]

    taken = int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert taken / side**2 < most


def test_no_more_images_are_decoded_at_once_than_threads_are_allowed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETMODELS_THREADS", "2")
    real, inside, most = ImageFile.ImageFile.load, [], []

    def watched(image: ImageFile.ImageFile) -> object:
        inside.append(image)
        most.append(len(inside))
        time.sleep(0.02)
        found = real(image)
        inside.pop()
        return found

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    image = image_bytes("red", kind="PNG")

    with ThreadPoolExecutor(8) as pool:
        one_each = [pool.submit(model.predict, image) for _ in range(8)]
        lists = [pool.submit(model.predict, [image] * 3) for _ in range(4)]
        labels = {one.result().label for one in one_each} | {one.label for some in lists for one in some.result()}

    assert labels == {"red"}
    assert max(most) == 2


def test_an_upload_that_is_slow_keeps_no_other_image_waiting(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETMODELS_THREADS", "1")
    begun, rest_is_there = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            begun.set()
            rest_is_there.wait(60)
            return super().read(size)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(model.predict, Slow(image_bytes("green")))
        begun.wait(60)
        quick = pool.submit(model.predict, image_bytes("red"))
        try:
            assert quick.result(30).label == "red"
        finally:
            rest_is_there.set()
        assert slow.result().label == "green"


def test_an_image_that_is_rgb_already_is_not_copied() -> None:
    image = plain()

    assert rgb_of(image) is image


@pytest.mark.parametrize("size", [(301, 437), (70_001, 2), (1, 70_000)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "PA", "P"])
def test_what_is_composed_piece_by_piece_is_what_pillow_composes_at_once(mode: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(noise)
    image = image.quantize(99) if mode == "P" else image.convert("P").convert("PA") if mode == "PA" else image
    image = image if image.mode == mode else image.convert(mode)
    image.info["transparency"] = bytes(range(0, 250, 5))

    found = rgb_of(image)

    pixels = image.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", size, "white"), pixels).convert("RGB")
    assert found.tobytes() == expected.tobytes()


def test_a_machine_may_take_fewer_pixels(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETMODELS_MOST_PIXELS", "2000")
    good, bad = model.predict_each([encoded(plain(size=(50, 40)), "PNG"), encoded(plain(size=(50, 41)), "PNG")])

    assert not isinstance(good, ImageError)
    assert str(bad).startswith("50 x 41 pixels are more than the 2000 of PETMODELS_MOST_PIXELS, refused undecoded: <")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("many", "PETMODELS_MOST_PIXELS is no number: many"),
        ("0", "PETMODELS_MOST_PIXELS must be a number from 1 up: 0"),
        ("2e8", "PETMODELS_MOST_PIXELS must be at most 178956970, Pillow opens nothing larger: 2e8"),
    ],
)
def test_a_number_of_pixels_that_can_not_be_is_refused(
    text: str, match: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETMODELS_MOST_PIXELS", text)

    with pytest.raises(RequestError, match=match):
        model.predict([image_bytes("red")])


# What counts as an image.


class Upload:
    """A file that gives a few bytes at a time, as a connection does."""

    def __init__(self, data: bytes, name: object) -> None:
        self.name, self._file = name, io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 100))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (io.BytesIO, "<BytesIO>"),
        (bytearray, "<677 bytes>"),
        (memoryview, "<677 bytes>"),
        (lambda data: Upload(data, "cat.jpg"), "cat.jpg"),
        (lambda data: Upload(data, 3), "<Upload>"),
    ],
    ids=["BytesIO", "bytearray", "memoryview", "upload", "without a name"],
)
def test_a_file_is_one_image(model: Model, given: Callable[[bytes], petmodels.ImageLike], name: str) -> None:
    data = image_bytes("red")
    answer = model.predict(given(data))

    assert (answer.label, answer.image) == ("red", name.replace("677", str(len(data))))


def test_an_open_file_is_called_by_its_path(model: Model, tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(image_bytes("red"))
    with (tmp_path / "red.jpg").open("rb") as file:
        answers = model.predict([file])

    assert [(one.label, one.image) for one in answers] == [("red", str(tmp_path / "red.jpg"))]


@pytest.mark.parametrize(
    ("file", "match"),
    [
        (io.TextIOWrapper(io.BytesIO(b"\xff\xd8"), "utf-8"), 'open it with "rb": <TextIOWrapper>'),
        (io.StringIO("red"), 'a file that gives text and no bytes; open it with "rb": <StringIO>'),
        (io.BytesIO(), "the file is empty, or was read to its end before: <BytesIO>"),
        (io.BytesIO(bytes(2001)), "larger than 0 MiB, refused: <BytesIO>"),
        (bytearray(2001), "larger than 0 MiB, refused unread: <2001 bytes>"),
    ],
    ids=["no text", "text", "at its end", "too large", "too many bytes"],
)
def test_a_file_that_gives_no_image_is_refused(
    file: petmodels.ImageLike, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petmodels.image_files.LARGEST_FILE_BYTES", 2000)

    with pytest.raises(ImageError, match=match):
        rgb_of(file)


@pytest.mark.parametrize("ask", [Model.predict, lambda model, image: list(model.predict_each(image))])
def test_a_long_text_is_shortened_in_the_error(model: Model, ask: Callable[[Model, str], object]) -> None:
    text = "QUJD" * 500_000 + ".jpg"

    with pytest.raises(RequestError, match=r": QUJD\w+…\w+\.jpg \(2000004 characters\)$") as refused:
        ask(model, text)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_without_images_is_refused(model: Model, batch: int) -> None:
    with pytest.raises(RequestError, match=f"a batch has at least 1 image: {batch}"):
        list(model.predict_each([image_bytes("red")] * 5, batch=batch))


@pytest.mark.parametrize(
    ("image", "name"),
    [("cat.jpg", "cat.jpg"), (Path("cat.jpg"), "cat.jpg"), (b"1234", "<4 bytes>"), (io.BytesIO(), "<BytesIO>")],
    ids=["text", "path", "bytes", "file"],
)
def test_one_image_where_several_are_asked_for_is_not_taken_apart(model: Model, image: Any, name: str) -> None:
    with pytest.raises(RequestError, match=f"predict_each takes several images, predict takes one as it is: {name}"):
        list(model.predict_each(image))


def test_a_closed_stdin_is_one_line(run: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    done = run("predict", "-", "--model", bundle)

    assert (done.code, done.talk) == (1, ["petmodels: stdin is closed, no image can be read from it: -"])


USER = """
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, assert_type

import petmodels


def ask(model: petmodels.Model, upload: BinaryIO, more: list[petmodels.ImageLike]) -> None:
    names: list[str] = ["cat.jpg"]
    paths = sorted(Path().glob("*.jpg"))
    assert_type(model.predict(names), list[petmodels.Prediction])
    assert_type(model.predict(tuple(names)), list[petmodels.Prediction])
    assert_type(model.predict(paths), list[petmodels.Prediction])
    assert_type(model.predict([path.read_bytes() for path in paths]), list[petmodels.Prediction])
    assert_type(model.predict(["cat.jpg", Path("dog.jpg"), upload]), list[petmodels.Prediction])
    assert_type(model.predict(more), list[petmodels.Prediction])
    assert_type(model.predict(iter(paths)), Iterator[petmodels.Prediction])
    assert_type(model.predict("cat.jpg"), petmodels.Prediction)
    assert_type(model.predict(upload), petmodels.Prediction)
    assert_type(model.predict(io.BytesIO(bytearray())), petmodels.Prediction)
    assert_type(model.predict(bytearray()), petmodels.Prediction)
    for path, answer in zip(paths, model.predict_each(paths)):
        assert_type(answer, petmodels.Prediction | petmodels.errors.ImageError)
"""


@pytest.mark.slow
def test_a_users_program_passes_a_strict_type_checker(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path / "cache"]

    installed = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(
        [*command, "user.py"], capture_output=True, text=True, check=False, cwd=tmp_path, env=installed
    )

    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")


def test_the_type_of_an_image_brings_no_package() -> None:
    script = "import sys, petmodels; petmodels.ImageLike | None; print({'numpy', 'PIL'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"set()\n"


def test_what_a_reader_raises_is_no_broken_image(model: Model) -> None:
    """The image may be whole, and be there the next time."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise UnreachableError(f"the store is away ({size})")

    with pytest.raises(UnreachableError, match="the store is away"):
        list(model.predict_each([Broken()]))


class Cut(io.BytesIO):
    """An upload whose connection breaks amid it."""

    name = "cut.jpg"

    def read(self, size: int | None = -1, /) -> bytes:
        raise ConnectionResetError(104, f"Connection reset by peer ({size})")


def closed_file() -> io.BytesIO:
    """Return a file that its owner has closed."""
    file = io.BytesIO(image_bytes("red"))
    file.close()
    return file


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (Cut, r"^can't be read \(Connection reset by peer \(\d+\)\): cut\.jpg$"),
        (closed_file, r"^can't be read \(I/O operation on closed file\.?\): <BytesIO>$"),
    ],
)
@pytest.mark.parametrize("batch", [1, 16])
def test_a_file_that_fails_while_it_is_read_costs_itself_alone(
    model: Model, broken: Callable[[], io.BytesIO], told: str, batch: int
) -> None:
    red, green = (io.BytesIO(image_bytes(colour)) for colour in ("red", "green"))

    first, failed, last = model.predict_each([red, broken(), green], batch=batch)

    assert [one.label for one in (first, last) if isinstance(one, Prediction)] == ["red", "green"]
    assert isinstance(failed, ImageError)
    assert re.match(told, str(failed))


@pytest.mark.parametrize("width", [201, 213, 393, 405])
def test_a_longer_side_amid_two_pixels_becomes_the_even_one(width: int) -> None:
    steps = preprocess_in(PREPROCESS | {"resize": {"short_side": 224, "filter": "lanczos"}}, "here")

    longer, shorter = steps.resized_size(width, 192)

    assert (longer % 2, abs(longer - width * 224 / 192), shorter) == (0, 0.5, 224)
