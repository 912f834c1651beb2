"""Draw the `sample:` source: stand-ins for photographs of 37 breeds, for a machine without internet.

Reads the tables in stages.breeds; leaves `images/<breed>_<n>.jpg`. A picture hangs on nothing but seed, breed, n and
image_side, so asking for more leaves the others as they were. The module is longer than its neighbours and reads in
the order of one picture: address, files, place, light, animal, face, coat, and at the end the canvas they all use.
"""

import colorsys
import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from stages.breeds import COATS, MARKINGS, PALETTE, SHAPES, Markings, Shape
from stages.errors import SourceError
from stages.threads import in_threads

Array = NDArray[Any]
Random = np.random.Generator

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
    _paint_place(canvas, rng)
    Animal(breed, canvas, rng).paint()
    _paint_foreground(canvas, rng)
    return _photograph(canvas, rng)


def _checked_value(address: str, key: str, value: str) -> int:
    known = [field.name for field in fields(Sample)]
    if key not in known:
        raise SourceError(f"{address}: unknown key '{key}'; known keys: {', '.join(known)}")
    low, high = LIMITS[key]
    if value.isascii() and value.isdigit() and len(value) <= 10 and low <= int(value) <= high:
        return int(value)
    raise SourceError(f"{address}: {key} takes a whole number from {low} to {high}: '{value}'")


# Place and light


def _paint_place(canvas: "Canvas", rng: Random) -> None:
    """Fill the canvas with a room, a garden or a plain backdrop, a little out of focus."""
    horizon = rng.uniform(0.5, 0.8)
    place = rng.choice(["room", "garden", "backdrop"], p=[0.45, 0.4, 0.15])
    {"room": _paint_room, "garden": _paint_garden, "backdrop": _paint_backdrop}[str(place)](canvas, horizon, rng)
    side = min(canvas.width, canvas.height)
    canvas.blur(side * rng.uniform(0.001, 0.012))
    if rng.random() < 0.35:
        size = rng.uniform(0.03, 0.08)
        toy = _oval(
            rng.uniform(0.05, 0.95), rng.uniform(horizon + 0.05, 0.98), size, size * canvas.width / canvas.height
        )
        canvas.fill(canvas.whole(toy), _colour(rng, vivid=0.5), relief=0.5)


def _paint_room(canvas: "Canvas", horizon: float, rng: Random) -> None:
    whole, wall, floor, cloth = canvas.whole, _colour(rng), _colour(rng) * 0.85, _colour(rng, vivid=0.2)
    canvas.wash(wall * 1.1, wall * 0.85)
    if rng.random() < 0.35:
        stripe = rng.uniform(0.03, 0.1)
        canvas.fill([whole(_box(x, 0, x + stripe / 2, 1)) for x in np.arange(0, 1, stripe)], wall * 0.9)
    left, top = rng.uniform(-0.1, 0.8), rng.uniform(-0.1, 0.2)
    right, low = left + rng.uniform(0.2, 0.45), top + rng.uniform(0.2, 0.4)
    canvas.fill(whole(_box(left, top, right, low)), _colour(rng) * rng.uniform(0.4, 1.3))
    pane = np.array([0.8, 0.88, 0.95]) if rng.random() < 0.5 else _colour(rng, vivid=0.2)
    middle = (left + right) / 2
    canvas.fill(whole(_box(left + 0.02, top + 0.02, middle - 0.01, low - 0.02)), pane)
    canvas.fill(whole(_box(middle + 0.01, top + 0.02, right - 0.02, low - 0.02)), pane)
    canvas.fill(whole(_box(0, horizon, 1, 1)), floor)
    canvas.fill(whole(_box(0, horizon - 0.025, 1, horizon)), wall * 1.2)
    if rng.random() < 0.5:
        seams = np.linspace(-2, 3, 24)
        canvas.fill(
            [whole(np.array([(0.5 + 0.4 * (x - 0.5), horizon), (x, 1), (x + 0.015, 1)])) for x in seams], floor * 0.8
        )
    else:
        canvas.mottle(rng, canvas.height * 0.012, 0.07, top=horizon)
    if rng.random() < 0.6:
        canvas.fill(whole(_oval(rng.uniform(0.3, 0.7), 0.93, rng.uniform(0.3, 0.6), 0.1)), _colour(rng, vivid=0.2))
    if rng.random() < 0.6:
        x, wide = rng.uniform(0, 1), rng.uniform(0.15, 0.4)
        canvas.fill(whole(_smooth(_box(x - wide, horizon - 0.3, x + wide, horizon + 0.12), 2)), cloth, relief=0.3)
        canvas.fill(
            whole(_smooth(_box(x - wide, horizon - 0.05, x + wide, horizon + 0.15), 2)), cloth * 1.08, relief=0.3
        )


def _paint_garden(canvas: "Canvas", horizon: float, rng: Random) -> None:
    whole = canvas.whole
    sky = np.array(((0.45, 0.66, 0.9), (0.76, 0.8, 0.84), (0.93, 0.74, 0.58))[rng.integers(3)])
    ground = np.array(((0.36, 0.52, 0.2), (0.47, 0.5, 0.24), (0.72, 0.62, 0.44), (0.86, 0.89, 0.93))[rng.integers(4)])
    leaves = np.array([0.25, 0.42, 0.18])
    canvas.wash(sky * 0.95, np.minimum(sky * 1.25, 1))
    for _ in range(rng.integers(4, 12)):
        size = rng.uniform(0.06, 0.25)
        tree = _oval(rng.uniform(0, 1), horizon - size * rng.uniform(0.2, 1.0), size * rng.uniform(0.5, 1), size)
        canvas.fill(whole(tree), leaves * rng.normal(1, 0.2, 3), relief=0.4)
    if rng.random() < 0.35:
        top, wood, gap = horizon - rng.uniform(0.15, 0.3), _colour(rng), rng.uniform(0.05, 0.1)
        slats = [whole(_box(x, top, x + gap * 0.7, horizon + 0.02)) for x in np.arange(0, 1, gap)]
        canvas.fill([*slats, whole(_box(0, top + 0.04, 1, top + 0.07))], wood)
    canvas.fill(whole(_box(0, horizon, 1, 1)), ground * rng.normal(1, 0.07, 3))
    canvas.mottle(rng, canvas.height * 0.012, 0.1, top=horizon)
    flowers = zip(rng.uniform(0, 1, 24), rng.uniform(horizon, 1, 24), strict=True)
    if rng.random() < 0.4:
        canvas.fill(
            [whole(_oval(x, y, 0.008 + 0.01 * y, 0.008 + 0.01 * y)) for x, y in flowers], _colour(rng, vivid=0.4)
        )


def _paint_backdrop(canvas: "Canvas", horizon: float, rng: Random) -> None:
    colour = _colour(rng)
    canvas.wash(colour * 1.15, colour * rng.uniform(0.55, 0.9))
    canvas.fill(canvas.whole(_oval(0.5, horizon - 0.2, 0.5, 0.4)), colour * 1.2, opacity=0.4)
    canvas.blur(canvas.width * 0.06)
    canvas.mottle(rng, canvas.height * 0.1, 0.03)


def _paint_foreground(canvas: "Canvas", rng: Random) -> None:
    """Now and then let something near hide a corner."""
    if rng.random() < 0.25:
        corner = _oval(rng.choice([0, 1]), 1, rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3))
        canvas.fill(canvas.whole(corner), _colour(rng, vivid=0.2) * 0.7, relief=0.4)


def _photograph(canvas: "Canvas", rng: Random) -> Image.Image:
    """Return the canvas as a camera would see it: exposure, the light's colour, a darker side, blur and grain."""
    warmth = rng.normal(0, 0.06)
    gain = rng.normal(1, 0.12) * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    side = np.linspace(-1, 1, canvas.width, dtype=np.float32)[:, None] * np.float32(rng.normal(0, 0.15))
    grain = np.float32(rng.uniform(0.004, 0.03)) * rng.standard_normal((*canvas.alpha.shape, 1), np.float32)
    film = 255 * np.linspace(0, 1, 256) ** rng.uniform(0.85, 1.2)
    image = _to_image(canvas.rgb * (gain * (1 + side)) + grain).point(film.round().astype(int).tolist() * 3)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 0.9)))


def _colour(rng: Random, *, vivid: float = 0.0) -> Array:
    saturation = rng.uniform(0.05, 0.32) + vivid
    return np.array(colorsys.hsv_to_rgb(rng.uniform(), saturation, rng.uniform(0.45, 0.92)))


# Animal and face: coordinates have their origin in the middle of the head and half the width of a cat's head as unit

TAILS = {
    "whip": [(0, 0), (0.5, 0.1), (1.0, -0.3), (1.15, -1.0), (1.0, -1.6)],
    "plume": [(0, 0), (0.6, 0.0), (1.0, -0.5), (1.0, -1.2), (0.7, -1.7)],
    "curl": [(0, 0), (0.15, -0.6), (-0.1, -1.0), (-0.55, -0.95), (-0.6, -0.55)],
    "stub": [(0, 0), (0.15, -0.1), (0.28, -0.25)],
}
UPRIGHT_EARS = {
    "pointed": [(-0.42, 0.1), (-0.36, -0.4), (0.02, -0.95), (0.34, -0.35), (0.42, 0.15)],
    "tufted": [(-0.42, 0.1), (-0.36, -0.4), (0.05, -1.0), (0.08, -1.25), (0.3, -0.4), (0.42, 0.15)],
    "bat": [(-0.4, 0.1), (-0.48, -0.4), (-0.05, -0.98), (0.4, -0.5), (0.42, 0.15)],
}
HANGING_EARS = {
    "button": [(-0.35, -0.05), (0.1, -0.3), (0.42, -0.05), (0.3, 0.42), (-0.05, 0.2)],
    "rose": [(-0.38, -0.02), (0.02, -0.32), (0.48, -0.28), (0.4, 0.08), (0.0, 0.14)],
    "drop": [(-0.3, -0.1), (0.2, -0.18), (0.5, 0.3), (0.42, 0.95), (0.02, 0.8), (-0.1, 0.3)],
    "long": [(-0.3, -0.1), (0.25, -0.15), (0.55, 0.5), (0.6, 1.4), (0.15, 1.55), (-0.12, 0.6)],
}
POSES = {"sitting": 0.36, "standing": 0.24, "lying": 0.14, "bust": 0.26}
DARK = np.array([0.1, 0.08, 0.08])
PINK = np.array([0.82, 0.56, 0.54])


class Animal:
    """One animal of a breed, painted part by part from the back to the front."""

    def __init__(self, breed: str, canvas: "Canvas", rng: Random) -> None:
        self.canvas, self.rng = canvas, rng
        self.cat = breed[0].isupper()
        self.shape = _individual(SHAPES[breed], rng)
        self.markings = MARKINGS.get(breed, Markings())
        self.eyes = np.array(PALETTE[f"{COATS[breed].eyes} eyes"]) / 255
        self.pose = str(rng.choice(list(POSES), p=list(POSES.values())))
        self.frame = self._frame()
        self.fur = Canvas(canvas.width, canvas.height, canvas.light)
        self.textures = _textures(breed, self)

    def paint(self) -> None:
        """Paint the fur apart, so that its hair can be ruffled, then the face's bare parts on top."""
        {"sitting": self._sit, "standing": self._stand, "lying": self._lie, "bust": self._bust}[self.pose]()
        face = Face(self)
        face.paint_fur()
        self.fur.ruffle((0.015 + 0.09 * self.shape.hair) * self.frame.unit, self.rng)
        self.canvas.shade(self.fur.alpha, 0.35 * self.frame.unit)
        self.canvas.lay(self.fur)
        face.paint_features()

    def part(self, name: str, outline: "Array | list[Array]", *, relief: float = 0.34) -> None:
        """Fill an outline, in pixels, with the texture that this breed's `name` wears."""
        self.fur.fill(outline, self.textures[self.markings.role(name)], relief=relief)

    def _frame(self) -> "Frame":
        """Place the animal: as large as its pose allows, somewhat off the middle, tilted, perhaps mirrored."""
        rng, canvas, legs = self.rng, self.canvas, self.shape.legs
        tall = {"sitting": 4.5 + 0.6 * legs, "standing": 3.3 + 1.5 * legs, "lying": 4.4, "bust": 3.1}[self.pose]
        wide = {"sitting": 4.0, "standing": 6.0, "lying": 4.6, "bust": 2.6}[self.pose]
        unit = min(canvas.height / tall, canvas.width / wide) * rng.uniform(0.75, 1.06)
        flip = int(rng.choice([-1, 1]))
        x = {"sitting": 0.0, "standing": -1.6, "lying": -0.3, "bust": 0.0}[self.pose] * flip
        y = 1.35 if self.pose != "bust" else 1.5
        left = canvas.width * rng.normal(0.5, 0.05) + x * unit
        top = y * unit + max(0.0, canvas.height - tall * unit) * rng.uniform(0.3, 0.95)
        frame = Frame(np.diag([unit, unit]), np.array([left, top]))
        return frame.sub(0, 0, angle=rng.normal(0, 0.08), flip=flip)

    def _sit(self) -> None:
        build, hair, feet = self.shape.build, self.shape.hair, 2.3 + 0.9 * self.shape.legs
        wide = 0.95 * build + 0.14 * hair
        self._stand_on(feet, 0, wide * 1.3)
        self._tail(wide * 0.8, feet - 0.5)
        half = np.array([(0.5, 0.4), (0.85, 1.3), (1.0, feet - 0.9), (0.95, feet)]) * [wide, 1]
        self.part("back", self.frame(_smooth(_mirrored(half))))
        for side in (-1, 1):
            self.part("back", self.frame(_oval(side * 0.85 * wide, feet - 0.45, 0.5 * build, 0.62)))
            self.part("paws", self.frame(_oval(side * 0.95 * wide, feet, 0.4, 0.17)))
        self.part("chest", self.frame(_oval(0, 1.35, 0.56 * build + 0.15 * hair, 0.8 + 0.25 * hair)))
        for side in (-1, 1):
            self._leg(side * (0.24 + 0.14 * build), 1.5, feet + 0.1)

    def _stand(self) -> None:
        deep = 0.62 * self.shape.build + 0.16 * self.shape.hair
        belly = 1.25 + deep
        feet = belly + 1.25 * self.shape.legs
        self._stand_on(feet, 1.6, 2.2)
        self._tail(3.3, 0.95)
        for x in (1.03, 3.03):
            self._leg(x, belly - 0.5, feet - 0.12)
        top = 1.25 - 0.9 * deep
        body = [(-0.2, 0.5), (0.5, 0.55), (1.6, top), (2.9, 0.75), (3.4, 1.3), (3.1, belly), (1.8, belly - 0.1)]
        self.part("body", self.frame(_smooth(np.array([*body, (0.4, belly + 0.1), (-0.2, 1.4)]))))
        if self.markings.role("back") != "coat":
            saddle = [(0.6, 0.6), (1.6, top + 0.03), (2.9, 0.77), (3.35, 1.2), (2.6, 1.4), (1.2, 1.5)]
            self.part("back", self.frame(_smooth(np.array(saddle))), relief=0.1)
        self.part("chest", self.frame(_oval(0.1, 1.25, 0.5 + 0.1 * self.shape.hair, 0.7 * self.shape.build)))
        for x in (0.3, 2.8):
            self._leg(x, belly - 0.6, feet)

    def _lie(self) -> None:
        build, hair = self.shape.build, self.shape.hair
        self._stand_on(2.25, 0.5, 1.9 * build)
        self._tail(1.9 * build, 1.7)
        self.part("back", self.frame(_oval(0.75 * build, 1.4, 1.45 * build + 0.1 * hair, 0.85)))
        self.part("back", self.frame(_oval(1.5 * build, 1.65, 0.65 * build, 0.6)))
        self.part("chest", self.frame(_oval(0, 1.25, 0.7 * build + 0.15 * hair, 0.9)))
        for side in (-1, 1):
            self.part("legs", self.frame(_oval(side * 0.5 * build, 1.9, 0.3, 0.4)))
            self.part("paws", self.frame(_oval(side * 0.5 * build, 2.15, 0.32, 0.2)))

    def _bust(self) -> None:
        wide = 0.8 + 0.55 * self.shape.build + 0.2 * self.shape.hair
        half = np.array([(0.5, 0.4), (0.8, 1.0), (1.0, 1.9), (1.1, 3)]) * [wide, 1]
        self.part("back", self.frame(_smooth(_mirrored(half))))
        self.part("chest", self.frame(_oval(0, 1.9, 0.55 * wide, 1.1 + 0.2 * self.shape.hair)))

    def _stand_on(self, feet: float, x: float, wide: float) -> None:
        reach = 0.5 * self.frame.unit
        self.canvas.shade(self.canvas.covered(self.frame(_oval(x, feet, wide, 0.3))), reach, shift=0.0)

    def _leg(self, x: float, top: float, low: float) -> None:
        thick = 0.17 + 0.1 * self.shape.build + 0.05 * self.shape.hair
        half = np.array([(1, 0), (0.85, 0.6), (0.9, 1)]) * [thick, low - top] + [0, top]
        self.part("legs", self.frame(_moved(_smooth(_mirrored(half)), x, 0)))
        self.part("paws", self.frame(_oval(x, low, thick * 1.15, 0.17)))

    def _tail(self, x: float, y: float) -> None:
        kind, root = self.shape.tail, self.frame.sub(x, y, angle=self.rng.normal(0, 0.25))
        thick = {"whip": 0.13, "plume": 0.22, "curl": 0.17, "stub": 0.14}[kind] * (1 + 1.3 * self.shape.hair)
        line = _curve(np.array(TAILS[kind], float), 30)
        sizes = thick * np.sin(np.linspace(0.9, 2.6, len(line)))
        discs = [root(_moved(_oval(0, 0, size, size), *at)) for at, size in zip(line, sizes, strict=True)]
        self.part("tail", discs, relief=0.4)


class Face:
    """An animal's head: its furry parts, then eyes, nose and mouth; `turn` moves what stands out to the side."""

    def __init__(self, animal: Animal) -> None:
        self.animal, self.shape, self.rng = animal, animal.shape, animal.rng
        self.turn = float(np.clip(self.rng.normal(0, 0.45), -0.9, 0.9))
        self.frame = animal.frame.sub(0, 0, angle=self.rng.normal(0, 0.12))
        self.eye_x, self.eye_y = 0.4 * self.shape.skull, -0.08
        self.nose_x, self.nose_y = self.turn * (0.16 + 0.32 * self.shape.muzzle), 0.3 + 0.12 * self.shape.muzzle

    def paint_fur(self) -> None:
        """Paint collar, ears, skull, markings and muzzle."""
        shape, upright = self.shape, self.shape.ears in UPRIGHT_EARS
        if self.rng.random() < 0.25:
            self.animal.fur.fill(
                self.frame(_oval(0, 0.8, 0.66 * shape.jaw, 0.36)), _colour(self.rng, vivid=0.5), relief=0.4
            )
        if upright:
            self._paint_ears()
        if shape.hair > 0.6:
            self._part("chest", _oval(0, 0.45, shape.jaw * (0.9 + 0.25 * shape.hair), 0.85), relief=0.2)
        else:
            self.animal.fur.fill(self.frame(_oval(0, 0.22, 0.85 * shape.jaw, 0.86)), DARK, opacity=0.22)
        jaw, cheek = shape.jaw * (0.86 + 0.12 * shape.hair), (shape.skull + shape.jaw * 0.9) / 2
        half = [
            (0, -0.93),
            (0.5 * shape.skull, -0.86),
            (0.92 * shape.skull, -0.42),
            (0.96 * cheek, 0.15),
            (0.66 * jaw, 0.72),
        ]
        self._part("head", _smooth(_mirrored(np.array([*half, (0, 0.95)]))))
        self._paint_markings()
        self._paint_muzzle()
        if not upright:
            self._paint_ears()

    def paint_features(self) -> None:
        """Paint eyes, whiskers, mouth and nose on the finished fur."""
        gaze, canvas, unit = self.rng.normal(0, 0.25, 2), self.animal.canvas, self.frame.unit
        nose = self.frame.sub(self.nose_x, self.nose_y + 0.02)
        for side in (-1, 1):
            self._paint_eye(side, gaze)
            mouth = _curve(np.array([(0, 0.1), (0.0, 0.2), (side * 0.1, 0.27), (side * 0.24, 0.24)]), 10)
            canvas.stroke(nose(mouth), DARK, 0.03 * unit)
            for y in (0.1, 0.17, 0.24) if self.animal.cat else ():
                whisker = np.array([(side * 0.22, y), (side * 0.7, 2 * y - 0.25), (side * 1.15, 3 * y - 0.35)])
                canvas.stroke(nose(_curve(whisker, 8)), np.array([0.92, 0.91, 0.88]), 0.013 * unit, opacity=0.65)
        if not self.animal.cat and self.rng.random() < 0.35:
            canvas.fill(nose(_oval(0.02, 0.38, 0.11, 0.17)), PINK * [1.05, 0.8, 0.85], relief=0.4)
        wide = 0.1 if self.animal.cat else 0.15 + 0.06 * self.shape.muzzle
        half = np.array([(wide, -0.06), (0.6 * wide, 0.07), (0, 0.12)])
        pink = self.animal.cat and float(self.animal.textures["mark"].mean()) > 0.5
        canvas.fill(nose(_smooth(_mirrored(half))), PINK if pink else DARK, relief=0.5)
        canvas.fill(nose(_oval(-0.3 * wide, -0.03, 0.25 * wide, 0.018)), np.ones(3), opacity=0.45)

    def _part(self, name: str, points: Array, *, relief: float = 0.3) -> None:
        self.animal.part(name, self.frame(points), relief=relief)

    def _paint_ears(self) -> None:
        shape, upright = self.shape, self.shape.ears in UPRIGHT_EARS
        outline = np.array((UPRIGHT_EARS | HANGING_EARS)[shape.ears])
        tilt, (x, y) = self.rng.normal(0.0, 0.12), (0.58, -0.62) if upright else (0.84, -0.5)
        for side in (-1, 1):
            narrow = 1 - 0.3 * max(0.0, side * self.turn)
            ear = self.frame.sub(side * x * shape.skull - 0.14 * self.turn, y, scale=shape.ear)
            points = outline @ _rotation(tilt + (0.28 if upright else 0.0)).T * [side * narrow, 1]
            self.animal.part("ears", ear(_smooth(points)))
            if upright:
                inner = ear(_smooth(points * 0.58 + [0, -0.06]))
                self.animal.fur.fill(inner, PINK, opacity=0.5 - 0.25 * shape.hair, relief=0.3)

    def _paint_markings(self) -> None:
        skull, turn, worn = self.shape.skull, self.turn, self.animal.markings.role
        if worn("cap") != "coat":
            half = np.array([(0, -0.92), (0.5, -0.84), (0.8, -0.5), (0, -0.3)])
            self._part("cap", _smooth(_mirrored(half * [skull, 1])), relief=0.1)
        if worn("face") != "coat":
            self._part("face", _oval(0.12 * turn, 0.12, 0.66 * skull, 0.62), relief=0.08)
        if worn("blaze") != "coat":
            wide = self.rng.uniform(0.12, 0.26)
            half = np.array([(0.6, -0.86), (1, -0.2), (2, 0.5)]) * [wide, 1]
            self._part("blaze", _moved(_smooth(_mirrored(half)), 0.1 * turn, 0), relief=0.05)
        if worn("brows") != "coat":
            for side in (-1, 1):
                self._part(
                    "brows", _oval(side * self.eye_x * 0.85 + 0.12 * turn, self.eye_y - 0.26, 0.12, 0.08), relief=0.05
                )

    def _paint_muzzle(self) -> None:
        shape, x, y = self.shape, self.nose_x, self.nose_y
        wide = (0.36 if self.animal.cat else 0.4) * shape.jaw + 0.04 * shape.muzzle
        self._part("muzzle", _oval(x * 0.7, y, wide, 0.3 + 0.14 * shape.muzzle), relief=0.24)
        lip = _oval(0, 0.14 + 0.1 * shape.muzzle, 0.27 * shape.jaw, 0.2 + 0.05 * shape.muzzle)
        for side in (-1, 1):
            self._part("muzzle", _moved(lip, x + side * 0.2 * shape.jaw, y))
        if self.animal.markings.role("beard") != "coat":
            half = np.array([(0.5, 0.35), (0.55, 0.95), (0.2, 1.35)])
            self._part("beard", _moved(_smooth(_mirrored(half)), x, 0))

    def _paint_eye(self, side: int, gaze: Array) -> None:
        canvas, cat = self.animal.canvas, self.animal.cat
        size = (0.19 if cat else 0.145) * self.rng.uniform(0.94, 1.06)
        eye = self.frame.sub(side * self.eye_x + 0.14 * self.turn, self.eye_y, angle=side * (0.22 if cat else 0.1))
        pupil = np.array((0.32, 0.72) if cat else (0.55, 0.55)) * size
        canvas.fill(eye(_oval(0, 0, size * 1.18, size)), DARK)
        canvas.fill(eye(_oval(0, 0.02 * size, size, size * 0.84)), self.animal.eyes, relief=0.4)
        canvas.fill(eye(_oval(*(gaze * size * 0.4), *pupil)), DARK)
        canvas.fill(eye(_oval(-0.3 * size, -0.35 * size, size * 0.22, size * 0.2)), np.ones(3))


def _individual(shape: Shape, rng: Random) -> Shape:
    """Return the shape of one animal: no two of a breed are built alike."""
    values = {name: value * rng.normal(1, 0.05) for name, value in vars(shape).items() if isinstance(value, float)}
    return Shape(**{**vars(shape), **values})


# Coat


def _textures(breed: str, animal: Animal) -> dict[str, Array]:
    """Return the coat's, the mark's and the trim's colour at each pixel, by role."""
    coat, rng, unit, hair = COATS[breed], animal.rng, animal.frame.unit, animal.shape.hair
    tint = rng.normal(1, 0.025, 3) * rng.normal(1, 0.06)
    names = str(rng.choice(coat.colourings.split("|"))).split("-")
    base, marked, trim = (np.array(PALETTE[name], np.float32) / 255 * np.float32(tint) for name in names)
    share = _pattern(coat.pattern, animal)[..., None] * np.float32(rng.uniform(0.75, 1))
    height, width = animal.fur.alpha.shape
    strands = np.float32(0.035 + 0.05 * hair) * _noise(rng, height, width, unit * (0.12 + 0.25 * hair), unit * 0.035)
    folds = np.float32(0.03) * _noise(rng, height, width, unit * 0.5, unit * 0.25)
    depth = (1 + folds + strands)[..., None]
    return {"coat": (base + share * (marked - base)) * depth, "mark": marked * depth, "trim": trim * depth}


def _pattern(kind: str, animal: Animal) -> Array:
    """Return how much of the mark's colour each pixel of the coat shows, 0 to 1."""
    rng, unit, (height, width) = animal.rng, animal.frame.unit, animal.fur.alpha.shape

    def grains(tall: float, wide: float) -> Array:
        return _noise(rng, height, width, unit * tall, unit * wide)

    if kind in {"tabby", "brindle"}:
        x, y = animal.frame.grid(height, width)
        along = np.where(y < -0.1, 1.3 * x, np.hypot(x, y))
        fine, rare = (9, 0.0) if kind == "tabby" else (15, 0.4)
        return 0.85 * _step(np.sin(fine * along + 1.2 * grains(0.5, 0.5) + rng.uniform(0, 6)) - rare, 0.5)
    if kind == "rosettes":
        dots = grains(0.17, 0.2)
        return _step(0.55 - np.abs(dots - 0.9), 0.25) + 0.35 * _step(dots - 1.0, 0.3)
    if kind in {"spots", "flecks"}:
        size = 0.11 if kind == "spots" else 0.05
        return _step(grains(size, 1.2 * size) - 0.75, 0.3)
    if kind == "patches":
        return _step(grains(0.9, 0.9) - rng.uniform(0.1, 0.7), 0.1)
    if kind == "ticked":
        return 0.7 * _step(grains(0.06, 0.03), 1.2)
    return np.clip(0.12 * grains(0.6, 0.6), 0, 0.4)


# Canvas


@dataclass(frozen=True)
class Frame:
    """A place on the canvas; maps its own coordinates, y down, to pixels."""

    matrix: Array
    origin: Array

    def __call__(self, points: Array) -> Array:
        return np.asarray(points @ self.matrix.T + self.origin)

    @cached_property
    def unit(self) -> float:
        """Pixels a unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def sub(self, x: float, y: float, *, scale: float = 1, angle: float = 0, flip: int = 1) -> "Frame":
        """Return a frame at (x, y) of this one, turned by `angle` radians and mirrored when `flip` is -1."""
        return Frame(self.matrix @ _rotation(angle) @ np.diag([flip * scale, scale]), self(np.array([x, y])))

    def grid(self, height: int, width: int) -> Array:
        """Return this frame's coordinates of each pixel, as an array of shape (2, height, width)."""
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height))).reshape(2, -1)
        return np.asarray(np.linalg.inv(self.matrix) @ (pixels - self.origin[:, None])).reshape(2, height, width)


class Canvas:
    """A picture of floats, 0 to 1, and how far each pixel is covered; `light` points to where the light comes from."""

    def __init__(self, width: int, height: int, light: Array) -> None:
        self.width, self.height, self.light = width, height, light
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.whole = Frame(np.diag([width, height]), np.zeros(2))

    def fill(self, outline: Array | list[Array], colour: Array, *, relief: float = 0, opacity: float = 1) -> None:
        """Paint polygons as one shape, in one colour or a texture of the canvas' size, rounded as `relief` says."""
        outlines = outline if isinstance(outline, list) else [outline]
        points = np.concatenate(outlines)
        low, high = np.floor(points.min(0)).astype(int) - 1, np.ceil(points.max(0)).astype(int) + 2
        first, last = np.maximum(low, 0), np.minimum(high, [self.width, self.height])
        if (first >= last).any():
            return
        mask = Image.new("L", tuple(2 * (high - low)))
        for one in outlines:
            ImageDraw.Draw(mask).polygon(((one - low) * 2).ravel().tolist(), fill=255)
        mask = mask.reduce(2)
        window = np.s_[first[1] : last[1], first[0] : last[0]]
        inside = np.s_[first[1] - low[1] : last[1] - low[1], first[0] - low[0] : last[0] - low[0]]
        cover = np.asarray(mask, np.float32)[inside] * np.float32(opacity / 255)
        paint = colour[window] if colour.ndim == 3 else np.float32(colour)
        if relief:
            paint = paint * self._relief(mask, relief)[inside][..., None]
        self.rgb[window] += cover[..., None] * (paint - self.rgb[window])
        self.alpha[window] += cover * (1 - self.alpha[window])

    def stroke(self, line: Array, colour: Array, thick: float, *, opacity: float = 1) -> None:
        """Paint a line of `thick` pixels."""
        along = np.gradient(line, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / np.linalg.norm(along, axis=1, keepdims=True) * thick / 2
        self.fill(np.concatenate([line + across, (line - across)[::-1]]), colour, opacity=opacity)

    def wash(self, above: Array, below: Array) -> None:
        """Cover everything with a colour that changes from top to bottom."""
        down = np.linspace(0, 1, self.height, dtype=np.float32)[:, None, None]
        self.rgb[:] = above + down * (below - above)

    def mottle(self, rng: Random, grain: float, strength: float, *, top: float = 0.0) -> None:
        """Vary the lightness below `top` (0 to 1) in grains of `grain` pixels."""
        ground = self.rgb[int(top * self.height) :]
        ground *= 1 + np.float32(strength) * _noise(rng, len(ground), self.width, grain, 1.5 * grain)[..., None]

    def blur(self, radius: float) -> None:
        """Blur everything by `radius` pixels."""
        self.rgb[:] = np.asarray(_to_image(self.rgb).filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255

    def covered(self, outline: Array) -> Array:
        """Return which pixels an outline holds, as a coverage like `alpha`."""
        mask = Image.new("L", (self.width, self.height))
        ImageDraw.Draw(mask).polygon(outline.ravel().tolist(), fill=255)
        return np.asarray(mask, np.float32) / 255

    def shade(self, alpha: Array, reach: float, *, shift: float = 1.0) -> None:
        """Darken what lies behind `alpha`, away from the light and softened over `reach` pixels."""
        shadow = Image.new("L", (self.width, self.height))
        away = (int(-shift * reach * np.sign(self.light[0])), int(shift * reach * 0.7))
        shadow.paste(Image.fromarray(np.uint8(alpha * 255)), away)
        soft = (
            shadow.reduce(4).filter(ImageFilter.GaussianBlur(reach / 6)).resize(shadow.size, Image.Resampling.BILINEAR)
        )
        self.rgb *= 1 - np.asarray(soft, np.float32)[..., None] * np.float32(0.42 / 255)

    def ruffle(self, reach: float, rng: Random) -> None:
        """Pull the picture out into strands of about `reach` pixels."""
        down = _noise(rng, self.height, self.width, reach * 1.6, reach * 0.3) * np.float32(reach * 0.6)
        across = _noise(rng, self.height, self.width, reach * 0.3, reach * 1.6) * np.float32(reach * 0.6)
        y = np.clip(np.arange(self.height)[:, None] + down, 0, self.height - 1).astype(np.intp)
        x = np.clip(np.arange(self.width) + across, 0, self.width - 1).astype(np.intp)
        self.rgb, self.alpha = self.rgb[y, x], self.alpha[y, x]

    def lay(self, other: "Canvas") -> None:
        """Lay another canvas of the same size on top."""
        self.rgb += other.alpha[..., None] * (other.rgb - self.rgb)

    def _relief(self, mask: Image.Image, strength: float) -> Array:
        """Return the light on a shape that bulges towards the viewer, about 1."""
        small = mask.reduce(max(1, min(4, min(mask.size) // 4)))
        radius = 0.16 * min(small.size) + 0.5
        height = np.asarray(small.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
        down, across = np.gradient(height)
        towards = (across * self.light[0] + down * self.light[1]) * -radius * 2.2
        light = np.float32(1 + strength * (height - 0.8 + 0.8 * towards))
        return np.asarray(Image.fromarray(light).resize(mask.size, Image.Resampling.BILINEAR))


def _to_image(rgb: Array) -> Image.Image:
    return Image.fromarray(np.uint8(np.clip(rgb, 0, 1) * 255))


def _oval(x: float, y: float, wide: float, high: float) -> Array:
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + wide * np.cos(turn), y + high * np.sin(turn)], 1)


def _box(left: float, top: float, right: float, low: float) -> Array:
    return np.array([(left, top), (right, top), (right, low), (left, low)])


def _moved(points: Array, x: float, y: float) -> Array:
    return np.asarray(points + np.array([x, y]))


def _mirrored(half: Array) -> Array:
    """Return a closed outline from its right half, top to bottom."""
    return np.concatenate([half, half[::-1] * [-1, 1]])


def _smooth(points: Array, times: int = 3) -> Array:
    """Return a closed outline with its corners cut off (Chaikin's curve)."""
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def _curve(points: Array, count: int) -> Array:
    """Return `count` points of the Catmull-Rom curve through `points`."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = np.linspace(0, len(points) - 1, count)
    index = np.minimum(at.astype(int), len(points) - 2)
    t = (at - index)[:, None]
    p0, p1, p2, p3 = (padded[index + offset] for offset in range(4))
    bend = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.asarray(p1 + 0.5 * ((p2 - p0) * t + bend))


def _noise(rng: Random, height: int, width: int, tall: float, wide: float) -> Array:
    """Return smooth noise of about unit deviation in grains of `tall` by `wide` pixels."""
    rows, columns = (max(2, int(np.ceil(side / max(grain, 1)))) for side, grain in ((height, tall), (width, wide)))
    grains = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(grains.resize((width, height), Image.Resampling.BICUBIC))


def _step(value: Array, soft: float) -> Array:
    """Return 0 below and 1 above zero, with a slope `soft` wide."""
    return np.asarray(np.clip(value / soft + 0.5, 0, 1), np.float32)


def _rotation(angle: float) -> Array:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
