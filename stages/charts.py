"""Draw the report's charts as SVG: pure functions from numbers to markup.

Reads nothing and leaves nothing. Colours, fonts and themes are the style sheet's; sizes are in SVG units, and a chart
340 wide stays readable on a telephone. Every text goes through markupsafe, so a label is never taken for markup.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

WIDTH = 340
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 28, 38

Point = tuple[float, float]
Scale = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One named series of (x, y) points; `kind` picks its look: a, b, c or plain (thin and dashed).

    With `weights`, one a point, the dots grow with them: a heavy one may be trusted more.
    """

    name: str
    points: Sequence[Point]
    kind: str
    dots: bool = True
    weights: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A title with its unit, the range (from the data where None), and how its numbers are spaced and written."""

    title: str
    range: tuple[float, float] | None = None
    logarithmic: bool = False
    percent: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A named share between 0 and 1, with its interval where one is known."""

    name: str
    share: float
    interval: tuple[float, float] | None = None
    kind: str = "plain"


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Vertical lines with a word each: where the phase changes, what was chosen."""

    positions: Sequence[tuple[float, str]] = field(default=())


def line_chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, *, marks: Marks | None = None, height: int = 260
) -> Markup:
    """Return a chart of one or more series over common axes, with a legend above it."""
    marks = marks or Marks()
    xs = [point[0] for line in lines for point in line.points] + [position for position, _ in marks.positions]
    ys = [point[1] for line in lines for point in line.points]
    x_ticks, y_ticks = _ticks(x, xs), _ticks(y, ys)
    across = _scale(x, x_ticks, xs, LEFT, WIDTH - RIGHT)
    up = _scale(y, y_ticks, ys, height - BOTTOM, TOP)
    body = Markup("").join(
        [
            _horizontal_axis(x, x_ticks, across, TOP, height - BOTTOM),
            _vertical_axis(y, y_ticks, up, height),
            *(_mark(across(position), word, height) for position, word in marks.positions),
            *(_line(line, across, up, x, y) for line in lines),
            _legend(lines),
        ]
    )
    return _figure(title, body, height)


def bar_chart(title: str, bars: Sequence[Bar]) -> Markup:
    """Return horizontal bars over an axis from 0 to 100 %, each with its value and its interval as a whisker."""
    row = 40
    bottom = len(bars) * row
    across = _linear((0.0, 1.0), 10, WIDTH - 16)
    axis = Axis(title="share of test images named right (%)", percent=True)
    rows = [_bar(bar, number * row, across) for number, bar in enumerate(bars)]
    scale = _horizontal_axis(axis, [0, 0.25, 0.5, 0.75, 1], across, 0, bottom)
    return _figure(title, scale + Markup("").join(rows), bottom + BOTTOM)


def stacked_bars(title: str, rows: Sequence[tuple[str, Sequence[int]]], names: Sequence[str]) -> Markup:
    """Return one horizontal bar a row, made of a part for each of `names`, with the row's sum behind it."""
    step, left, top = 17, 146, 26
    height = top + len(rows) * step + 6
    most = max(sum(counts) for _, counts in rows)
    across = _linear((0.0, float(most)), left, WIDTH - 40)
    kinds = [Line(name=name, points=(), kind=kind) for name, kind in zip(names, "abc", strict=False)]
    body = [_legend(kinds, boxes=True)]
    for number, (label, counts) in enumerate(rows):
        y = top + number * step
        body.append(_text(left - 6, y + 11, _shortened(label, 22), anchor="end", kind="tick small", tip=label))
        ends = [sum(counts[: index + 1]) for index in range(len(counts))]
        for name, kind, count, end in zip(names, "abc", counts, ends, strict=False):
            body.append(
                _box(
                    across(end - count),
                    y + 1,
                    across(end) - across(end - count),
                    step - 4,
                    f"part {kind}",
                    f"{label}, {name}: {count}",
                )
            )
        body.append(_text(across(ends[-1]) + 5, y + 11, str(ends[-1])))
    return _figure(title, Markup("").join(body), height)


def ticks(low: float, high: float, num: int = 5) -> list[float]:
    """Return about `num` round numbers, evenly apart, the first at or below `low` and the last at or above `high`."""
    if high <= low:
        low, high = low - abs(low) * 0.1 - 1e-9, high + abs(high) * 0.1 + 1e-9
    power = 10.0 ** math.floor(math.log10((high - low) / num))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (power * factor) <= num)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _ticks(axis: Axis, values: Sequence[float]) -> list[float]:
    low, high = axis.range or (min(values), max(values))
    if axis.logarithmic:
        return [
            10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        ]
    found = [tick for tick in ticks(low, high) if axis.range is None or low <= tick <= high]
    return [tick for tick in found if tick == round(tick)] if axis.whole else found


def _scale(axis: Axis, its_ticks: Sequence[float], values: Sequence[float], start: float, end: float) -> Scale:
    if axis.logarithmic:
        linear = _linear((math.log10(min(values)), math.log10(max(values))), start, end)
        return lambda value: linear(math.log10(value))
    return _linear(axis.range or (its_ticks[0], its_ticks[-1]), start, end)


def _linear(values: tuple[float, float], start: float, end: float) -> Scale:
    width = (values[1] - values[0]) or 1.0
    return lambda value: start + (value - values[0]) / width * (end - start)


def _horizontal_axis(axis: Axis, its_ticks: Sequence[float], across: Scale, top: int, bottom: int) -> Markup:
    parts = [_segment(across(tick), top, across(tick), bottom, "grid") for tick in its_ticks]
    parts += [_text(across(tick), bottom + 14, _number(axis, tick), anchor="middle") for tick in its_ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 30, axis.title, anchor="middle", kind="axis-title"))
    return Markup("").join(parts)


def _vertical_axis(axis: Axis, its_ticks: Sequence[float], up: Scale, height: int) -> Markup:
    parts = [_segment(LEFT, up(tick), WIDTH - RIGHT, up(tick), "grid") for tick in its_ticks]
    parts += [_text(LEFT - 6, up(tick) + 4, _number(axis, tick), anchor="end") for tick in its_ticks]
    middle = (TOP + height - BOTTOM) / 2
    turned = Markup('<text class="axis-title" text-anchor="middle" transform="translate(11 {}) rotate(-90)">{}</text>')
    return Markup("").join(parts) + turned.format(_size(middle), axis.title)


def _line(line: Line, across: Scale, up: Scale, x: Axis, y: Axis) -> Markup:
    corners = " ".join(f"{_size(across(px))},{_size(up(py))}" for px, py in line.points)
    drawn = Markup('<polyline class="line {}" points="{}"/>').format(line.kind, corners)
    if not line.dots:
        return drawn
    dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    weights = line.weights or [0.0] * len(line.points)
    for (px, py), weight in zip(line.points, weights, strict=True):
        tip = f"{line.name}: {_number(y, py, exact=True)} at {_number(x, px, exact=True)}"
        tip += f", {weight:g} images" if weight else ""
        radius = 2.5 + 6 * math.sqrt(weight / max(weights)) if weight else 3.2
        drawn += dot.format(line.kind, _size(across(px)), _size(up(py)), _size(radius), tip)
    return drawn


def _legend(lines: Sequence[Line], *, boxes: bool = False) -> Markup:
    parts, x = [], float(LEFT)
    for line in lines:
        swatch = _box(x, 6, 16, 10, f"part {line.kind}", line.name) if boxes else None
        parts.append(swatch or _segment(x, 11, x + 16, 11, f"line {line.kind}"))
        parts.append(_text(x + 21, 15, line.name))
        x += 36 + 6.3 * len(line.name)
    return Markup("").join(parts)


def _mark(x: float, word: str, height: int) -> Markup:
    anchor, shift = ("end", -4) if x > WIDTH * 0.6 else ("start", 4)
    return _segment(x, TOP, x, height - BOTTOM, "mark") + _text(
        x + shift, TOP + 12, word, anchor=anchor, kind="mark-word"
    )


def _bar(bar: Bar, y: float, across: Scale) -> Markup:
    value = f"{100 * bar.share:.1f} %"
    parts = [
        _text(across(0), y + 13, bar.name),
        _text(across(1), y + 13, value, anchor="end", kind="value"),
        _box(across(0), y + 18, across(bar.share) - across(0), 14, f"part {bar.kind}", f"{bar.name}: {value}"),
    ]
    if bar.interval:
        low, high = (across(end) for end in bar.interval)
        parts.append(_segment(low, y + 25, high, y + 25, "whisker"))
        parts += [_segment(end, y + 21, end, y + 29, "whisker") for end in (low, high)]
    return Markup("").join(parts)


def _figure(title: str, body: Markup, height: int) -> Markup:
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return opening + body + Markup("</svg>")


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "tick", tip: str = "") -> Markup:
    more = Markup("<title>{}</title>").format(tip) if tip and tip != text else ""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}{}</text>').format(
        kind, _size(x), _size(y), anchor, text, more
    )


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *map(_size, (x1, y1, x2, y2)))


def _box(x: float, y: float, width: float, height: float, kind: str, tip: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        kind, *map(_size, (x, y, width, height)), tip
    )


def _size(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _number(axis: Axis, value: float, *, exact: bool = False) -> str:
    if axis.percent:
        return f"{100 * value:.1f} %" if exact else f"{100 * value:g}"
    if axis.logarithmic:
        return f"{value:.2e}" if exact else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}" if exact else f"{value:g}"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
