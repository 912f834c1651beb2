"""Images from strangers: an answer, or one line for that file, while the rest goes on."""

import io
import json
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import petmodels
from petmodels.errors import ImageError
from petmodels.images import rgb_of
from petmodels.model import Model
from tests.petmodels.bundles import COLOURS, image_bytes, make_bundle
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
        (png_that_claims(9_000, 12_000), "9000 x 12000 pixels are more than 100 million, refused undecoded"),
        (png_that_claims(60_000, 60_000), "more than 100 million pixels, refused undecoded"),
        (png_that_claims(100, 100), "the image is broken"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known kind"),
    ],
    ids=["truncated", "header", "text", "empty", "gif header", "bomb", "larger bomb", "no pixels", "svg", "postscript"],
)
def test_what_is_no_image_is_refused_in_one_line(model: Model, data: bytes, match: str) -> None:
    with pytest.raises(ImageError, match=match) as refused:
        model.predict(data)
    assert "\n" not in str(refused.value)
    print(f"ImageError: {refused.value}")


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
        "petmodels: not an image of a known kind (JPEG, PNG, WEBP, GIF, BMP, TIFF …): text.jpg",
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
