"""Paint one animal of the drawn sample, part by part from the back to the front.

Reads the tables in stages.breeds; leaves its paint on a canvas. Coordinates have their origin in the middle of the
head and half the width of a cat's head as unit.
"""

import numpy as np

from stages.breeds import COATS, MARKINGS, PALETTE, SHAPES, Markings, Shape
from stages.drawing_canvas import Canvas, Frame, Random
from stages.drawing_coat import textures
from stages.drawing_face import Face
from stages.drawing_outlines import Array, curve, mirrored, moved, oval, smooth

TAILS = {
    "whip": [(0, 0), (0.5, 0.1), (1.0, -0.3), (1.15, -1.0), (1.0, -1.6)],
    "plume": [(0, 0), (0.6, 0.0), (1.0, -0.5), (1.0, -1.2), (0.7, -1.7)],
    "curl": [(0, 0), (0.15, -0.6), (-0.1, -1.0), (-0.55, -0.95), (-0.6, -0.55)],
    "stub": [(0, 0), (0.15, -0.1), (0.28, -0.25)],
}
POSES = {"sitting": 0.36, "standing": 0.24, "lying": 0.14, "bust": 0.26}


class Animal:
    """One animal of a breed, painted part by part from the back to the front."""

    def __init__(self, breed: str, canvas: Canvas, rng: Random) -> None:
        self.canvas, self.rng = canvas, rng
        self.cat = breed[0].isupper()
        self.shape = _individual(SHAPES[breed], rng)
        self.markings = MARKINGS.get(breed, Markings())
        self.eyes = np.array(PALETTE[f"{COATS[breed].eyes} eyes"]) / 255
        self.pose = str(rng.choice(list(POSES), p=list(POSES.values())))
        self.frame = self._frame()
        self.fur = Canvas(canvas.width, canvas.height, canvas.light)
        self.textures = textures(breed, self.shape.hair, self.frame, (canvas.height, canvas.width), rng)

    def paint(self) -> None:
        """Paint the fur apart, so that its hair can be ruffled, then the face's bare parts on top."""
        {"sitting": self._sit, "standing": self._stand, "lying": self._lie, "bust": self._bust}[self.pose]()
        face = Face(self)
        face.paint_fur()
        self.fur.ruffle((0.015 + 0.09 * self.shape.hair) * self.frame.unit, self.rng)
        self.canvas.shade(self.fur.alpha, 0.35 * self.frame.unit)
        self.canvas.lay(self.fur)
        face.paint_features()

    def part(self, name: str, outline: Array | list[Array], *, relief: float = 0.34) -> None:
        """Fill an outline, in pixels, with the texture that this breed's `name` wears."""
        self.fur.fill(outline, self.textures[self.markings.role(name)], relief=relief)

    def _frame(self) -> Frame:
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
        self.part("back", self.frame(smooth(mirrored(half))))
        for side in (-1, 1):
            self.part("back", self.frame(oval(side * 0.85 * wide, feet - 0.45, 0.5 * build, 0.62)))
            self.part("paws", self.frame(oval(side * 0.95 * wide, feet, 0.4, 0.17)))
        self.part("chest", self.frame(oval(0, 1.35, 0.56 * build + 0.15 * hair, 0.8 + 0.25 * hair)))
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
        self.part("body", self.frame(smooth(np.array([*body, (0.4, belly + 0.1), (-0.2, 1.4)]))))
        if self.markings.role("back") != "coat":
            saddle = [(0.6, 0.6), (1.6, top + 0.03), (2.9, 0.77), (3.35, 1.2), (2.6, 1.4), (1.2, 1.5)]
            self.part("back", self.frame(smooth(np.array(saddle))), relief=0.1)
        self.part("chest", self.frame(oval(0.1, 1.25, 0.5 + 0.1 * self.shape.hair, 0.7 * self.shape.build)))
        for x in (0.3, 2.8):
            self._leg(x, belly - 0.6, feet)

    def _lie(self) -> None:
        build, hair = self.shape.build, self.shape.hair
        self._stand_on(2.25, 0.5, 1.9 * build)
        self._tail(1.9 * build, 1.7)
        self.part("back", self.frame(oval(0.75 * build, 1.4, 1.45 * build + 0.1 * hair, 0.85)))
        self.part("back", self.frame(oval(1.5 * build, 1.65, 0.65 * build, 0.6)))
        self.part("chest", self.frame(oval(0, 1.25, 0.7 * build + 0.15 * hair, 0.9)))
        for side in (-1, 1):
            self.part("legs", self.frame(oval(side * 0.5 * build, 1.9, 0.3, 0.4)))
            self.part("paws", self.frame(oval(side * 0.5 * build, 2.15, 0.32, 0.2)))

    def _bust(self) -> None:
        wide = 0.8 + 0.55 * self.shape.build + 0.2 * self.shape.hair
        half = np.array([(0.5, 0.4), (0.8, 1.0), (1.0, 1.9), (1.1, 3)]) * [wide, 1]
        self.part("back", self.frame(smooth(mirrored(half))))
        self.part("chest", self.frame(oval(0, 1.9, 0.55 * wide, 1.1 + 0.2 * self.shape.hair)))

    def _stand_on(self, feet: float, x: float, wide: float) -> None:
        reach = 0.5 * self.frame.unit
        self.canvas.shade(self.canvas.covered(self.frame(oval(x, feet, wide, 0.3))), reach, shift=0.0)

    def _leg(self, x: float, top: float, low: float) -> None:
        thick = 0.17 + 0.1 * self.shape.build + 0.05 * self.shape.hair
        half = np.array([(1, 0), (0.85, 0.6), (0.9, 1)]) * [thick, low - top] + [0, top]
        self.part("legs", self.frame(moved(smooth(mirrored(half)), x, 0)))
        self.part("paws", self.frame(oval(x, low, thick * 1.15, 0.17)))

    def _tail(self, x: float, y: float) -> None:
        kind, root = self.shape.tail, self.frame.sub(x, y, angle=self.rng.normal(0, 0.25))
        thick = {"whip": 0.13, "plume": 0.22, "curl": 0.17, "stub": 0.14}[kind] * (1 + 1.3 * self.shape.hair)
        line = curve(np.array(TAILS[kind], float), 30)
        sizes = thick * np.sin(np.linspace(0.9, 2.6, len(line)))
        discs = [root(moved(oval(0, 0, size, size), *at)) for at, size in zip(line, sizes, strict=True)]
        self.part("tail", discs, relief=0.4)


def _individual(shape: Shape, rng: Random) -> Shape:
    """Return the shape of one animal: no two of a breed are built alike."""
    values = {name: value * rng.normal(1, 0.05) for name, value in vars(shape).items() if isinstance(value, float)}
    return Shape(**{**vars(shape), **values})
