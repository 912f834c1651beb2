"""Draw the report's charts as SVG: pure functions from numbers to markup.

Reads nothing and leaves nothing. The look is the style sheet's.
"""

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from unicodedata import east_asian_width

from markupsafe import Markup

from stages import axes, svg
from stages.axes import BOTTOM, LEFT, RIGHT, TOP, Axis, Scale
from stages.shares import percent

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One named series of (x, y) points; `kind` picks its look: a, b, c, d or plain (thin and dashed).

    With `weights`, one a point, the dots grow with them: a heavy one may be trusted more.
    """

    name: str
    points: Sequence[Point]
    kind: str
    dots: bool = True
    weights: Sequence[float] = ()


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
    x_ticks, y_ticks = axes.ticks_on(x, xs), axes.ticks_on(y, ys)
    left = axes.room(y, y_ticks)
    across = axes.scale_of(x, x_ticks, xs, left, svg.WIDTH - RIGHT)
    up = axes.scale_of(y, y_ticks, ys, height - BOTTOM, TOP)
    body = Markup("").join(
        [
            axes.horizontal(x, x_ticks, across, TOP, height - BOTTOM),
            axes.vertical(y, y_ticks, up, left, height),
            *(_mark(across(position), word, height) for position, word in marks.positions),
            *(_line(line, across, up, x, y) for line in lines),
            _legend(lines),
        ]
    )
    return svg.figure(title, body, height)


def bar_chart(title: str, bars: Sequence[Bar]) -> Markup:
    """Return horizontal bars over an axis from 0 to 100 %, each with its value and its interval as a whisker."""
    row = 40
    bottom = len(bars) * row
    across = axes.linear((0.0, 1.0), 10, svg.WIDTH - 16)
    axis = Axis(title="share of test images named right (%)", percent=True)
    rows = [_bar(bar, number * row, across) for number, bar in enumerate(bars)]
    scale = axes.horizontal(axis, [0, 0.25, 0.5, 0.75, 1], across, 0, bottom)
    return svg.figure(title, scale + Markup("").join(rows), bottom + BOTTOM)


def stacked_bars(title: str, rows: Sequence[tuple[str, Sequence[int]]], names: Sequence[str]) -> Markup:
    """Return one horizontal bar a row, made of a part for each of `names`, with the row's sum behind it."""
    step, left, top = 17, 146, 26
    height = top + len(rows) * step + 6
    most = max(sum(counts) for _, counts in rows)
    across = axes.linear((0.0, float(most)), left, svg.WIDTH - 40)
    kinds = [Line(name=name, points=(), kind=kind) for name, kind in zip(names, "abc", strict=False)]
    body = [_legend(kinds, boxes=True)]
    for number, (label, counts) in enumerate(rows):
        y = top + number * step
        body.append(svg.text(left - 6, y + 11, _shortened(label, 22), anchor="end", kind="tick small", tip=label))
        ends = [sum(counts[: index + 1]) for index in range(len(counts))]
        for name, kind, count, end in zip(names, "abc", counts, ends, strict=False):
            body.append(
                svg.box(
                    across(end - count),
                    y + 1,
                    across(end) - across(end - count),
                    step - 4,
                    f"part {kind}",
                    f"{label}, {name}: {count}",
                )
            )
        body.append(svg.text(across(ends[-1]) + 5, y + 11, str(ends[-1])))
    return svg.figure(title, Markup("").join(body), height)


def _line(line: Line, across: Scale, up: Scale, x: Axis, y: Axis) -> Markup:
    corners = " ".join(f"{svg.size(across(px))},{svg.size(up(py))}" for px, py in line.points)
    drawn = Markup('<polyline class="line {}" points="{}"/>').format(line.kind, corners)
    if not line.dots:
        return drawn
    dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    weights = line.weights or [0.0] * len(line.points)
    for (px, py), weight in zip(line.points, weights, strict=True):
        tip = f"{line.name}: {axes.number_on(y, py, exact=True)} at {axes.number_on(x, px, exact=True)}"
        tip += f", {weight:g} images" if weight else ""
        radius = 2.5 + 6 * math.sqrt(weight / max(weights)) if weight else 3.2
        drawn += dot.format(line.kind, svg.size(across(px)), svg.size(up(py)), svg.size(radius), tip)
    return drawn


def _legend(lines: Sequence[Line], *, boxes: bool = False) -> Markup:
    """Name the series from left to right; those that the drawing is too narrow for stand in a second row."""
    parts, x, y = [], float(LEFT), 0
    for line in lines:
        width = 36 + 6.3 * len(line.name)
        if x + width > svg.WIDTH and y == 0:
            x, y = float(LEFT), 12
        swatch = svg.box(x, y + 6, 16, 10, f"part {line.kind}", line.name) if boxes else None
        parts.append(swatch or svg.segment(x, y + 11, x + 16, y + 11, f"line {line.kind}"))
        parts.append(svg.text(x + 21, y + 15, line.name))
        x += width
    return Markup("").join(parts)


def _mark(x: float, word: str, height: int) -> Markup:
    anchor, shift = ("end", -4) if x > svg.WIDTH * 0.6 else ("start", 4)
    return svg.segment(x, TOP, x, height - BOTTOM, "mark") + svg.text(
        x + shift, TOP + 12, word, anchor=anchor, kind="mark-word"
    )


def _bar(bar: Bar, y: float, across: Scale) -> Markup:
    value = f"{percent(bar.share)} %"
    parts = [
        svg.text(across(0), y + 13, bar.name),
        svg.text(across(1), y + 13, value, anchor="end", kind="value"),
        svg.box(across(0), y + 18, across(bar.share) - across(0), 14, f"part {bar.kind}", f"{bar.name}: {value}"),
    ]
    if bar.interval:
        low, high = (across(end) for end in bar.interval)
        parts.append(svg.segment(low, y + 25, high, y + 25, "whisker"))
        parts += [svg.segment(end, y + 21, end, y + 29, "whisker") for end in (low, high)]
    return Markup("").join(parts)


def _shortened(text: str, most: int) -> str:
    """Return the text, or of one that is wider than `most` letters its beginning; a 猫 is as wide as two."""
    ends = list(accumulate(2 if east_asian_width(one) in "WF" else 1 for one in text))
    return text if not ends or ends[-1] <= most else f"{text[: bisect(ends, most - 1)]}…"
