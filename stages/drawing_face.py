"""Paint the head of an animal of the drawn sample: its furry parts, then eyes, nose and mouth.

Reads nothing; leaves its paint on the animal's fur and canvas. Coordinates are the animal's.
"""

from typing import TYPE_CHECKING

import numpy as np

from stages.drawing_canvas import any_colour
from stages.drawing_outlines import Array, curve, mirrored, moved, oval, rotation, smooth

if TYPE_CHECKING:
    from stages.drawing_animal import Animal

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
DARK = np.array([0.1, 0.08, 0.08])
PINK = np.array([0.82, 0.56, 0.54])


class Face:
    """An animal's head: its furry parts, then eyes, nose and mouth; `turn` moves what stands out to the side."""

    def __init__(self, animal: "Animal") -> None:
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
                self.frame(oval(0, 0.8, 0.66 * shape.jaw, 0.36)), any_colour(self.rng, vivid=0.5), relief=0.4
            )
        if upright:
            self._paint_ears()
        if shape.hair > 0.6:
            self._part("chest", oval(0, 0.45, shape.jaw * (0.9 + 0.25 * shape.hair), 0.85), relief=0.2)
        else:
            self.animal.fur.fill(self.frame(oval(0, 0.22, 0.85 * shape.jaw, 0.86)), DARK, opacity=0.22)
        jaw, cheek = shape.jaw * (0.86 + 0.12 * shape.hair), (shape.skull + shape.jaw * 0.9) / 2
        half = [
            (0, -0.93),
            (0.5 * shape.skull, -0.86),
            (0.92 * shape.skull, -0.42),
            (0.96 * cheek, 0.15),
            (0.66 * jaw, 0.72),
        ]
        self._part("head", smooth(mirrored(np.array([*half, (0, 0.95)]))))
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
            mouth = curve(np.array([(0, 0.1), (0.0, 0.2), (side * 0.1, 0.27), (side * 0.24, 0.24)]), 10)
            canvas.stroke(nose(mouth), DARK, 0.03 * unit)
            for y in (0.1, 0.17, 0.24) if self.animal.cat else ():
                whisker = np.array([(side * 0.22, y), (side * 0.7, 2 * y - 0.25), (side * 1.15, 3 * y - 0.35)])
                canvas.stroke(nose(curve(whisker, 8)), np.array([0.92, 0.91, 0.88]), 0.013 * unit, opacity=0.65)
        if not self.animal.cat and self.rng.random() < 0.35:
            canvas.fill(nose(oval(0.02, 0.38, 0.11, 0.17)), PINK * [1.05, 0.8, 0.85], relief=0.4)
        wide = 0.1 if self.animal.cat else 0.15 + 0.06 * self.shape.muzzle
        half = np.array([(wide, -0.06), (0.6 * wide, 0.07), (0, 0.12)])
        pink = self.animal.cat and float(self.animal.textures["mark"].mean()) > 0.5
        canvas.fill(nose(smooth(mirrored(half))), PINK if pink else DARK, relief=0.5)
        canvas.fill(nose(oval(-0.3 * wide, -0.03, 0.25 * wide, 0.018)), np.ones(3), opacity=0.45)

    def _part(self, name: str, points: Array, *, relief: float = 0.3) -> None:
        self.animal.part(name, self.frame(points), relief=relief)

    def _paint_ears(self) -> None:
        shape, upright = self.shape, self.shape.ears in UPRIGHT_EARS
        outline = np.array((UPRIGHT_EARS | HANGING_EARS)[shape.ears])
        tilt, (x, y) = self.rng.normal(0.0, 0.12), (0.58, -0.62) if upright else (0.84, -0.5)
        for side in (-1, 1):
            narrow = 1 - 0.3 * max(0.0, side * self.turn)
            ear = self.frame.sub(side * x * shape.skull - 0.14 * self.turn, y, scale=shape.ear)
            points = outline @ rotation(tilt + (0.28 if upright else 0.0)).T * [side * narrow, 1]
            self.animal.part("ears", ear(smooth(points)))
            if upright:
                inner = ear(smooth(points * 0.58 + [0, -0.06]))
                self.animal.fur.fill(inner, PINK, opacity=0.5 - 0.25 * shape.hair, relief=0.3)

    def _paint_markings(self) -> None:
        skull, turn, worn = self.shape.skull, self.turn, self.animal.markings.role
        if worn("cap") != "coat":
            half = np.array([(0, -0.92), (0.5, -0.84), (0.8, -0.5), (0, -0.3)])
            self._part("cap", smooth(mirrored(half * [skull, 1])), relief=0.1)
        if worn("face") != "coat":
            self._part("face", oval(0.12 * turn, 0.12, 0.66 * skull, 0.62), relief=0.08)
        if worn("blaze") != "coat":
            wide = self.rng.uniform(0.12, 0.26)
            half = np.array([(0.6, -0.86), (1, -0.2), (2, 0.5)]) * [wide, 1]
            self._part("blaze", moved(smooth(mirrored(half)), 0.1 * turn, 0), relief=0.05)
        if worn("brows") != "coat":
            for side in (-1, 1):
                self._part(
                    "brows", oval(side * self.eye_x * 0.85 + 0.12 * turn, self.eye_y - 0.26, 0.12, 0.08), relief=0.05
                )

    def _paint_muzzle(self) -> None:
        shape, x, y = self.shape, self.nose_x, self.nose_y
        wide = (0.36 if self.animal.cat else 0.4) * shape.jaw + 0.04 * shape.muzzle
        self._part("muzzle", oval(x * 0.7, y, wide, 0.3 + 0.14 * shape.muzzle), relief=0.24)
        lip = oval(0, 0.14 + 0.1 * shape.muzzle, 0.27 * shape.jaw, 0.2 + 0.05 * shape.muzzle)
        for side in (-1, 1):
            self._part("muzzle", moved(lip, x + side * 0.2 * shape.jaw, y))
        if self.animal.markings.role("beard") != "coat":
            half = np.array([(0.5, 0.35), (0.55, 0.95), (0.2, 1.35)])
            self._part("beard", moved(smooth(mirrored(half)), x, 0))

    def _paint_eye(self, side: int, gaze: Array) -> None:
        canvas, cat = self.animal.canvas, self.animal.cat
        size = (0.19 if cat else 0.145) * self.rng.uniform(0.94, 1.06)
        eye = self.frame.sub(side * self.eye_x + 0.14 * self.turn, self.eye_y, angle=side * (0.22 if cat else 0.1))
        pupil = np.array((0.32, 0.72) if cat else (0.55, 0.55)) * size
        canvas.fill(eye(oval(0, 0, size * 1.18, size)), DARK)
        canvas.fill(eye(oval(0, 0.02 * size, size, size * 0.84)), self.animal.eyes, relief=0.4)
        canvas.fill(eye(oval(*(gaze * size * 0.4), *pupil)), DARK)
        canvas.fill(eye(oval(-0.3 * size, -0.35 * size, size * 0.22, size * 0.2)), np.ones(3))
