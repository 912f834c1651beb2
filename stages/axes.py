"""Lay numbers out along the axes of a chart: where they fall, which of them are named, and how they are written.

Reads nothing and leaves nothing. Places are in SVG units; the margins below leave room for numbers and titles.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stages import svg
from stages.shares import percent

LEFT, RIGHT, TOP, BOTTOM = 50, 12, 28, 38

Scale = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A title with its unit, the range (from the data where None), and how its numbers are spaced and written."""

    title: str
    range: tuple[float, float] | None = None
    logarithmic: bool = False
    percent: bool = False
    whole: bool = False


def ticks(low: float, high: float, num: int = 5) -> list[float]:
    """Return about `num` round numbers, evenly apart, the first at or below `low` and the last at or above `high`."""
    if high <= low:
        low, high = low - abs(low) * 0.1 - 1e-9, high + abs(high) * 0.1 + 1e-9
    power = 10.0 ** math.floor(math.log10((high - low) / num))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (power * factor) <= num)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def ticks_on(axis: Axis, values: Sequence[float]) -> list[float]:
    """Return the numbers that the axis names, within its range or around the values."""
    low, high = axis.range or (min(values), max(values))
    if axis.logarithmic:
        return [
            10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        ]
    if axis.percent and axis.range is None:
        low, high = (low - 0.05, high + 0.05) if low == high else (low, high)
        return [tick for tick in ticks(low, high) if 0 <= tick <= 1]
    found = [tick for tick in ticks(low, high) if axis.range is None or low <= tick <= high]
    return [tick for tick in found if tick == round(tick)] if axis.whole else found


def scale_of(axis: Axis, its_ticks: Sequence[float], values: Sequence[float], start: float, end: float) -> Scale:
    """Return the function from a number on the axis to its place between `start` and `end`."""
    if axis.logarithmic:
        powers = linear((math.log10(min(values)), math.log10(max(values))), start, end)
        return lambda value: powers(math.log10(value))
    return linear(axis.range or (its_ticks[0], its_ticks[-1]), start, end)


def linear(values: tuple[float, float], start: float, end: float) -> Scale:
    """Return the function that takes the first of the values to `start` and the last to `end`, evenly."""
    width = (values[1] - values[0]) or 1.0
    return lambda value: start + (value - values[0]) / width * (end - start)


def horizontal(axis: Axis, its_ticks: Sequence[float], across: Scale, top: int, bottom: int) -> Markup:
    """Return the axis along `bottom`: a line up to `top` and a number for each tick, and its title below."""
    parts = [svg.segment(across(tick), top, across(tick), bottom, "grid") for tick in its_ticks]
    parts += [svg.text(across(tick), bottom + 14, number_on(axis, tick), anchor="middle") for tick in its_ticks]
    parts.append(svg.text((LEFT + svg.WIDTH - RIGHT) / 2, bottom + 30, axis.title, anchor="middle", kind="axis-title"))
    return Markup("").join(parts)


def room(axis: Axis, its_ticks: Sequence[float]) -> float:
    """Return where a chart begins, right of its title and of the longest number: LEFT, or more where one is long."""
    longest = max(len(number_on(axis, tick).replace(".", "")) for tick in its_ticks)
    return max(LEFT, 26 + 8 * longest)  # a digit is up to 7.7 wide, and a point half of it


def vertical(axis: Axis, its_ticks: Sequence[float], up: Scale, left: float, height: int) -> Markup:
    """Return the axis along `left`, as `room` gives it, of a chart of this height, with its title turned."""
    parts = [svg.segment(left, up(tick), svg.WIDTH - RIGHT, up(tick), "grid") for tick in its_ticks]
    parts += [svg.text(left - 6, up(tick) + 4, number_on(axis, tick), anchor="end") for tick in its_ticks]
    middle = (TOP + height - BOTTOM) / 2
    turned = Markup('<text class="axis-title" text-anchor="middle" transform="translate(11 {}) rotate(-90)">{}</text>')
    return Markup("").join(parts) + turned.format(svg.size(middle), axis.title)


def number_on(axis: Axis, value: float, *, exact: bool = False) -> str:
    """Return a number as the axis writes it; `exact`: with more digits, for a tip."""
    if axis.percent:
        return f"{percent(value)} %" if exact else f"{100 * value:g}"
    if axis.logarithmic:
        return f"{value:.2e}" if exact else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}" if exact else f"{value:g}"
