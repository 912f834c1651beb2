"""Hold a picture of the drawn sample while it is painted: frames of coordinates, and a canvas of floats.

Reads nothing and leaves nothing; what chance decides comes from the caller's generator.
"""

import colorsys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from stages.drawing_outlines import Array, rotation

Random = np.random.Generator


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
        return Frame(self.matrix @ rotation(angle) @ np.diag([flip * scale, scale]), self(np.array([x, y])))

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
        ground *= 1 + np.float32(strength) * noise(rng, len(ground), self.width, grain, 1.5 * grain)[..., None]

    def blur(self, radius: float) -> None:
        """Blur everything by `radius` pixels."""
        self.rgb[:] = np.asarray(to_image(self.rgb).filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255

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
        down = noise(rng, self.height, self.width, reach * 1.6, reach * 0.3) * np.float32(reach * 0.6)
        across = noise(rng, self.height, self.width, reach * 0.3, reach * 1.6) * np.float32(reach * 0.6)
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


def to_image(rgb: Array) -> Image.Image:
    """Return floats from 0 to 1, height x width x 3, as a picture; what is beyond is cut."""
    return Image.fromarray(np.uint8(np.clip(rgb, 0, 1) * 255))


def any_colour(rng: Random, *, vivid: float = 0.0) -> Array:
    """Return any colour, as three floats from 0 to 1; `vivid` is added to its saturation."""
    saturation = rng.uniform(0.05, 0.32) + vivid
    return np.array(colorsys.hsv_to_rgb(rng.uniform(), saturation, rng.uniform(0.45, 0.92)))


def noise(rng: Random, height: int, width: int, tall: float, wide: float) -> Array:
    """Return smooth noise of about unit deviation in grains of `tall` by `wide` pixels."""
    rows, columns = (max(2, int(np.ceil(side / max(grain, 1)))) for side, grain in ((height, tall), (width, wide)))
    grains = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(grains.resize((width, height), Image.Resampling.BICUBIC))


def step(value: Array, soft: float) -> Array:
    """Return 0 below and 1 above zero, with a slope `soft` wide."""
    return np.asarray(np.clip(value / soft + 0.5, 0, 1), np.float32)
