"""Paint where an animal of the drawn sample is, what hides a part of it, and how the camera saw it.

Reads nothing; leaves its paint on a canvas. Every choice comes from the caller's generator, in a fixed order.
"""

import numpy as np
from PIL import Image, ImageFilter

from stages.drawing_canvas import Canvas, Random, any_colour, to_image
from stages.drawing_outlines import box, oval, smooth


def paint_place(canvas: Canvas, rng: Random) -> None:
    """Fill the canvas with a room, a garden or a plain backdrop, a little out of focus."""
    horizon = rng.uniform(0.5, 0.8)
    place = rng.choice(["room", "garden", "backdrop"], p=[0.45, 0.4, 0.15])
    {"room": _paint_room, "garden": _paint_garden, "backdrop": _paint_backdrop}[str(place)](canvas, horizon, rng)
    side = min(canvas.width, canvas.height)
    canvas.blur(side * rng.uniform(0.001, 0.012))
    if rng.random() < 0.35:
        size = rng.uniform(0.03, 0.08)
        toy = oval(
            rng.uniform(0.05, 0.95), rng.uniform(horizon + 0.05, 0.98), size, size * canvas.width / canvas.height
        )
        canvas.fill(canvas.whole(toy), any_colour(rng, vivid=0.5), relief=0.5)


def _paint_room(canvas: Canvas, horizon: float, rng: Random) -> None:
    whole, wall, floor, cloth = canvas.whole, any_colour(rng), any_colour(rng) * 0.85, any_colour(rng, vivid=0.2)
    canvas.wash(wall * 1.1, wall * 0.85)
    if rng.random() < 0.35:
        stripe = rng.uniform(0.03, 0.1)
        canvas.fill([whole(box(x, 0, x + stripe / 2, 1)) for x in np.arange(0, 1, stripe)], wall * 0.9)
    left, top = rng.uniform(-0.1, 0.8), rng.uniform(-0.1, 0.2)
    right, low = left + rng.uniform(0.2, 0.45), top + rng.uniform(0.2, 0.4)
    canvas.fill(whole(box(left, top, right, low)), any_colour(rng) * rng.uniform(0.4, 1.3))
    pane = np.array([0.8, 0.88, 0.95]) if rng.random() < 0.5 else any_colour(rng, vivid=0.2)
    middle = (left + right) / 2
    canvas.fill(whole(box(left + 0.02, top + 0.02, middle - 0.01, low - 0.02)), pane)
    canvas.fill(whole(box(middle + 0.01, top + 0.02, right - 0.02, low - 0.02)), pane)
    canvas.fill(whole(box(0, horizon, 1, 1)), floor)
    canvas.fill(whole(box(0, horizon - 0.025, 1, horizon)), wall * 1.2)
    if rng.random() < 0.5:
        seams = np.linspace(-2, 3, 24)
        canvas.fill(
            [whole(np.array([(0.5 + 0.4 * (x - 0.5), horizon), (x, 1), (x + 0.015, 1)])) for x in seams], floor * 0.8
        )
    else:
        canvas.mottle(rng, canvas.height * 0.012, 0.07, top=horizon)
    if rng.random() < 0.6:
        canvas.fill(whole(oval(rng.uniform(0.3, 0.7), 0.93, rng.uniform(0.3, 0.6), 0.1)), any_colour(rng, vivid=0.2))
    if rng.random() < 0.6:
        x, wide = rng.uniform(0, 1), rng.uniform(0.15, 0.4)
        canvas.fill(whole(smooth(box(x - wide, horizon - 0.3, x + wide, horizon + 0.12), 2)), cloth, relief=0.3)
        canvas.fill(whole(smooth(box(x - wide, horizon - 0.05, x + wide, horizon + 0.15), 2)), cloth * 1.08, relief=0.3)


def _paint_garden(canvas: Canvas, horizon: float, rng: Random) -> None:
    whole = canvas.whole
    sky = np.array(((0.45, 0.66, 0.9), (0.76, 0.8, 0.84), (0.93, 0.74, 0.58))[rng.integers(3)])
    ground = np.array(((0.36, 0.52, 0.2), (0.47, 0.5, 0.24), (0.72, 0.62, 0.44), (0.86, 0.89, 0.93))[rng.integers(4)])
    leaves = np.array([0.25, 0.42, 0.18])
    canvas.wash(sky * 0.95, np.minimum(sky * 1.25, 1))
    for _ in range(rng.integers(4, 12)):
        size = rng.uniform(0.06, 0.25)
        tree = oval(rng.uniform(0, 1), horizon - size * rng.uniform(0.2, 1.0), size * rng.uniform(0.5, 1), size)
        canvas.fill(whole(tree), leaves * rng.normal(1, 0.2, 3), relief=0.4)
    if rng.random() < 0.35:
        top, wood, gap = horizon - rng.uniform(0.15, 0.3), any_colour(rng), rng.uniform(0.05, 0.1)
        slats = [whole(box(x, top, x + gap * 0.7, horizon + 0.02)) for x in np.arange(0, 1, gap)]
        canvas.fill([*slats, whole(box(0, top + 0.04, 1, top + 0.07))], wood)
    canvas.fill(whole(box(0, horizon, 1, 1)), ground * rng.normal(1, 0.07, 3))
    canvas.mottle(rng, canvas.height * 0.012, 0.1, top=horizon)
    flowers = zip(rng.uniform(0, 1, 24), rng.uniform(horizon, 1, 24), strict=True)
    if rng.random() < 0.4:
        canvas.fill(
            [whole(oval(x, y, 0.008 + 0.01 * y, 0.008 + 0.01 * y)) for x, y in flowers], any_colour(rng, vivid=0.4)
        )


def _paint_backdrop(canvas: Canvas, horizon: float, rng: Random) -> None:
    colour = any_colour(rng)
    canvas.wash(colour * 1.15, colour * rng.uniform(0.55, 0.9))
    canvas.fill(canvas.whole(oval(0.5, horizon - 0.2, 0.5, 0.4)), colour * 1.2, opacity=0.4)
    canvas.blur(canvas.width * 0.06)
    canvas.mottle(rng, canvas.height * 0.1, 0.03)


def paint_foreground(canvas: Canvas, rng: Random) -> None:
    """Now and then let something near hide a corner."""
    if rng.random() < 0.25:
        corner = oval(rng.choice([0, 1]), 1, rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3))
        canvas.fill(canvas.whole(corner), any_colour(rng, vivid=0.2) * 0.7, relief=0.4)


def photograph(canvas: Canvas, rng: Random) -> Image.Image:
    """Return the canvas as a camera would see it: exposure, the light's colour, a darker side, blur and grain."""
    warmth = rng.normal(0, 0.06)
    gain = rng.normal(1, 0.12) * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    side = np.linspace(-1, 1, canvas.width, dtype=np.float32)[:, None] * np.float32(rng.normal(0, 0.15))
    grain = np.float32(rng.uniform(0.004, 0.03)) * rng.standard_normal((*canvas.alpha.shape, 1), np.float32)
    film = 255 * np.linspace(0, 1, 256) ** rng.uniform(0.85, 1.2)
    image = to_image(canvas.rgb * (gain * (1 + side)) + grain).point(film.round().astype(int).tolist() * 3)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 0.9)))
