"""Colour the coat of an animal of the drawn sample: what each pixel would show if the fur were there.

Reads the tables in stages.breeds and leaves nothing; every choice comes from the caller's generator.
"""

import numpy as np

from stages.breeds import COATS, PALETTE
from stages.drawing_canvas import Frame, Random, noise, step
from stages.drawing_outlines import Array


def textures(breed: str, hair: float, frame: Frame, size: tuple[int, int], rng: Random) -> dict[str, Array]:
    """Return the coat's, the mark's and the trim's colour at each pixel, by role; `size` is (height, width)."""
    coat, unit, (height, width) = COATS[breed], frame.unit, size
    tint = rng.normal(1, 0.025, 3) * rng.normal(1, 0.06)
    names = str(rng.choice(coat.colourings.split("|"))).split("-")
    base, marked, trim = (np.array(PALETTE[name], np.float32) / 255 * np.float32(tint) for name in names)
    share = _pattern(coat.pattern, frame, size, rng)[..., None] * np.float32(rng.uniform(0.75, 1))
    strands = np.float32(0.035 + 0.05 * hair) * noise(rng, height, width, unit * (0.12 + 0.25 * hair), unit * 0.035)
    folds = np.float32(0.03) * noise(rng, height, width, unit * 0.5, unit * 0.25)
    depth = (1 + folds + strands)[..., None]
    return {"coat": (base + share * (marked - base)) * depth, "mark": marked * depth, "trim": trim * depth}


def _pattern(kind: str, frame: Frame, size: tuple[int, int], rng: Random) -> Array:
    """Return how much of the mark's colour each pixel of the coat shows, 0 to 1."""
    unit, (height, width) = frame.unit, size

    def grains(tall: float, wide: float) -> Array:
        return noise(rng, height, width, unit * tall, unit * wide)

    if kind in {"tabby", "brindle"}:
        x, y = frame.grid(height, width)
        along = np.where(y < -0.1, 1.3 * x, np.hypot(x, y))
        fine, rare = (9, 0.0) if kind == "tabby" else (15, 0.4)
        return 0.85 * step(np.sin(fine * along + 1.2 * grains(0.5, 0.5) + rng.uniform(0, 6)) - rare, 0.5)
    if kind == "rosettes":
        dots = grains(0.17, 0.2)
        return step(0.55 - np.abs(dots - 0.9), 0.25) + 0.35 * step(dots - 1.0, 0.3)
    if kind in {"spots", "flecks"}:
        spot = 0.11 if kind == "spots" else 0.05
        return step(grains(spot, 1.2 * spot) - 0.75, 0.3)
    if kind == "patches":
        return step(grains(0.9, 0.9) - rng.uniform(0.1, 0.7), 0.1)
    if kind == "ticked":
        return 0.7 * step(grains(0.06, 0.03), 1.2)
    return np.clip(0.12 * grains(0.6, 0.6), 0, 0.4)
