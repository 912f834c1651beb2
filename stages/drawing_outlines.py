"""Make the outlines of which the drawn sample consists: closed polygons and lines, as points of shape (n, 2).

Reads nothing and leaves nothing. Coordinates are those of the frame that maps the points to pixels, y down.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def oval(x: float, y: float, wide: float, high: float) -> Array:
    """Return an ellipse around (x, y); `wide` and `high` are its half axes."""
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + wide * np.cos(turn), y + high * np.sin(turn)], 1)


def box(left: float, top: float, right: float, low: float) -> Array:
    """Return a rectangle."""
    return np.array([(left, top), (right, top), (right, low), (left, low)])


def moved(points: Array, x: float, y: float) -> Array:
    """Return points moved by (x, y)."""
    return np.asarray(points + np.array([x, y]))


def mirrored(half: Array) -> Array:
    """Return a closed outline from its right half, top to bottom."""
    return np.concatenate([half, half[::-1] * [-1, 1]])


def smooth(points: Array, times: int = 3) -> Array:
    """Return a closed outline with its corners cut off (Chaikin's curve)."""
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def curve(points: Array, count: int) -> Array:
    """Return `count` points of the Catmull-Rom curve through `points`."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = np.linspace(0, len(points) - 1, count)
    index = np.minimum(at.astype(int), len(points) - 2)
    t = (at - index)[:, None]
    p0, p1, p2, p3 = (padded[index + offset] for offset in range(4))
    bend = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.asarray(p1 + 0.5 * ((p2 - p0) * t + bend))


def rotation(angle: float) -> Array:
    """Return the matrix that turns points by `angle` radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
