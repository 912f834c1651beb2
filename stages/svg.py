"""Write the elements of an SVG drawing as markup.

Reads nothing and leaves nothing. Colours, fonts and themes are the style sheet's; sizes are in SVG units, and a drawing
340 wide stays readable on a telephone. Every text goes through markupsafe, so a label is never taken for markup.
"""

from markupsafe import Markup

WIDTH = 340


def figure(title: str, body: Markup, height: int) -> Markup:
    """Return the whole drawing, WIDTH wide; a screen reader says its title."""
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return opening + body + Markup("</svg>")


def text(x: float, y: float, word: str, *, anchor: str = "start", kind: str = "tick", tip: str = "") -> Markup:
    """Return words at their place, where they start, are centred or end by `anchor`; `tip` shows on hovering."""
    more = Markup("<title>{}</title>").format(tip) if tip and tip != word else ""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}{}</text>').format(
        kind, size(x), size(y), anchor, word, more
    )


def segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line from one point to another."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *map(size, (x1, y1, x2, y2)))


def box(x: float, y: float, width: float, height: float, kind: str, tip: str) -> Markup:
    """Return a rectangle by its upper left corner; `tip` shows on hovering."""
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        kind, *map(size, (x, y, width, height)), tip
    )


def size(value: float) -> str:
    """Return a number of SVG units as markup has it: to a tenth, without a needless zero."""
    return f"{value:.1f}".removesuffix(".0")
