"""Draw the `sample:` source: stand-ins for photographs of 37 breeds, for a machine without internet.

Reads the tables in stages.breeds; leaves `images/<breed>_<n>.jpg`. A picture hangs on nothing but seed, breed, n and
image_side, so asking for more leaves the others as they were. What a picture
consists of is in the modules named after this one: scenery and camera, animal, face, coat, and the canvas below.
"""

import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from stages.breeds import SHAPES
from stages.drawing_animal import Animal
from stages.drawing_canvas import Canvas, Random
from stages.drawing_scenery import paint_foreground, paint_place, photograph
from stages.errors import SourceError
from stages.threads import in_threads

LIMITS = {"images_per_breed": (1, 1_000), "seed": (0, 2**32 - 1), "image_side": (64, 2048)}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a `sample:` address asks for; `image_side` is the longer side of a middling picture, in pixels."""

    images_per_breed: int = 16
    seed: int = 1
    image_side: int = 320


def parse_sample(address: str) -> Sample:
    """Read `sample:` or `sample:images_per_breed=20,seed=3,image_side=320`; what isn't named keeps its default.

    Raises SourceError for another scheme, an unknown key, one that stands twice, and a value that is not a whole
    number in range.
    """
    scheme, _, settings = address.partition(":")
    if scheme != "sample":
        raise SourceError(f"not an address of the drawn sample; write sample: or sample:seed=2: {address}")
    values: dict[str, int] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = (part.strip() for part in setting.partition("="))
        if key in values:
            raise SourceError(f"{address}: key stands twice: {key}")
        values[key] = _checked_value(address, key, value)
    return Sample(**values)


def draw_sample(folder: Path, *, images_per_breed: int, seed: int, image_side: int) -> None:
    """Write `images/<breed>_<n>.jpg`, n from 1, for each of the 37 breeds; the same bytes for the same arguments."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)

    def draw(one: tuple[str, int]) -> None:
        breed, number = one
        rng = np.random.default_rng([seed, zlib.crc32(breed.encode()), number])
        picture(breed, image_side, rng).save(images / f"{breed}_{number}.jpg", quality=int(rng.integers(70, 95)))

    pictures = [(breed, number + 1) for breed in SHAPES for number in range(images_per_breed)]
    with in_threads(draw, pictures) as drawn:
        for _ in tqdm(drawn, total=len(pictures), desc="draw", unit=" images", disable=None):
            pass


def picture(breed: str, image_side: int, rng: Random) -> Image.Image:
    """Return one picture of one animal; every choice comes from `rng`, in a fixed order."""
    aspect = rng.choice([0.7, 0.8, 1.0, 1.25, 1.4]) * rng.uniform(0.94, 1.06)
    longer = image_side * rng.uniform(0.82, 1.18)
    light = np.array([rng.choice([-1, 1]) * rng.uniform(0.3, 0.9), -rng.uniform(0.4, 0.9)])
    canvas = Canvas(round(longer * min(1, aspect)), round(longer * min(1, 1 / aspect)), light)
    paint_place(canvas, rng)
    Animal(breed, canvas, rng).paint()
    paint_foreground(canvas, rng)
    return photograph(canvas, rng)


def _checked_value(address: str, key: str, value: str) -> int:
    known = [field.name for field in fields(Sample)]
    if key not in known:
        raise SourceError(f"{address}: unknown key '{key}'; known keys: {', '.join(known)}")
    low, high = LIMITS[key]
    if value.isascii() and value.isdigit() and len(value) <= 10 and low <= int(value) <= high:
        return int(value)
    raise SourceError(f"{address}: {key} takes a whole number from {low} to {high}: '{value}'")
