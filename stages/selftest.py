"""Make a bundle's self-test: a few pictures, and what model.onnx says of them by the steps of preprocess.json.

Reads prepared test images and the bundle's model.onnx and preprocess.json; leaves self_test/ and self_test.json.
Prepared images have their final size and plain pixels: they tell nothing of a reader's resize. So the one of them that
the model is least sure of, whose answer a wrong pixel moves most, comes four more times, as photographs come.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.features import Preprocessing
from stages.images import FILTER, decoded, resized
from stages.onnx_file import probabilities
from stages.outputs import write_json

TOLERANCE = 0.001
_ORIENTATION, _TURNED_RIGHT = 0x0112, 6


def write_self_test(
    folder: Path, rows: Sequence[Mapping[str, str]], expected: NDArray[np.float32], *, prepared: Path, number: int
) -> dict[str, Mapping[str, str]]:
    """Write the self-test of the bundle in `folder`: `number` of the test images `rows`, and what is made of one.

    `expected` are the ONNX file's probabilities of all rows. Returns of which row each file shows the picture. Without
    a number there is no self-test.
    """
    if not number:
        return {}
    (folder / "self_test").mkdir()
    places = range(0, len(rows), max(1, len(rows) // number))[:number]
    images = []
    for count, place in enumerate(places, start=1):
        name = f"self_test/{count:02d}.jpg"
        shutil.copyfile(prepared / rows[place]["path"], folder / name)
        images.append(_entry(name, rows[place]["label"], expected[place]))
    hardest = min(places, key=lambda place: float(expected[place].max()))
    names = _write_variants(folder, prepared / rows[hardest]["path"])
    made = [_entry(*one) for one in zip(names, [rows[hardest]["label"]] * 4, _answers(folder, names), strict=True)]
    # The first is answered at each load, so it is the one that tells most.
    write_json(folder / "self_test.json", {"format": 1, "tolerance": TOLERANCE, "images": made + images})
    copied = {str(entry["file"]): rows[place] for entry, place in zip(images, places, strict=True)}
    return copied | dict.fromkeys(names, rows[hardest])


def _entry(name: str, label: str, probabilities: NDArray[np.float32]) -> dict[str, object]:
    return {"file": name, "label": label, "probabilities": [round(float(value), 6) for value in probabilities]}


def _write_variants(folder: Path, source: Path) -> list[str]:
    """Write a picture larger and with odd sides, turned by its EXIF, with transparent parts, and as 16 bits of grey."""
    with Image.open(source) as opened:
        image = _middle(opened.convert("RGB"))
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURNED_RIGHT
    as_jpeg: dict[str, Any] = {"quality": 95, "subsampling": 0}  # full chroma, about which decoders differ least
    image.resize(_larger(image.size), FILTER).save(folder / "self_test/large.jpg", **as_jpeg)
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "self_test/turned.jpg", exif=exif, **as_jpeg)
    _transparent(image).save(folder / "self_test/transparent.png")
    _grey(image).save(folder / "self_test/grey16.png")
    return [f"self_test/{name}" for name in ("large.jpg", "turned.jpg", "transparent.png", "grey16.png")]


def _middle(image: Image.Image) -> Image.Image:
    """Return the middle of a picture that is more than twice as long as wide: a larger one might be too large."""
    width, height = (min(side, 2 * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _larger(size: tuple[int, int]) -> tuple[int, int]:
    """Return odd sides of about 7/4, of which the longer one, shrunk again, must be rounded up."""
    shorter, longer = (side * 7 // 4 | 1 for side in sorted(size))
    while longer * min(size) / shorter % 1 <= 0.5:
        longer += 2
    return (longer, shorter) if size[0] > size[1] else (shorter, longer)


def _transparent(image: Image.Image) -> Image.Image:
    """Return the picture, unseen at its top and whole at its bottom."""
    image = image.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _grey(image: Image.Image) -> Image.Image:
    # A little above what 8 bits give, so that rounding, shifting and cutting off lead back to the same 8.
    values = np.asarray(image.convert("L")).astype(np.uint32) * 257 + 1
    return Image.fromarray(np.minimum(values, 65535).astype(np.uint16))


def _answers(folder: Path, names: Sequence[str]) -> NDArray[np.float32]:
    """Return what model.onnx says of pictures that are decoded, resized and cropped as preprocess.json says."""
    how = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    with TemporaryDirectory(dir=folder) as place:
        paths = [Path(place) / f"{count}.png" for count in range(len(names))]
        for name, path in zip(names, paths, strict=True):
            image, _ = decoded((folder / name).read_bytes())
            resized(image, how["resize"]["short_side"]).save(path)
        return probabilities(folder / "model.onnx", paths, Preprocessing(how["crop"]["width"], how["mean"], how["std"]))
