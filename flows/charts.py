"""The charts of a report, each as a picture of its own, which a page of Prefect's can show.

Reads the text of a report.html: a chart is an `<svg class="chart">` whose `aria-label` is its title; the page's style
sheet gives it its colours. Leaves nothing.
"""

import re
from html import unescape

_CHART = re.compile(
    r'<svg class="chart" (?P<frame>viewBox="0 0 (?P<width>\d+) (?P<height>\d+)")[^>]* aria-label="(?P<title>[^"]*)">'
    r"(?P<body>.*?)</svg>",
    re.DOTALL,
)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
# What a chart has of its page, and a picture of nobody.
_ALONE = ".chart { background: var(--panel); font-family: system-ui, sans-serif }"
_SCALE = 2


def charts_in(report: str) -> dict[str, str]:
    """Return each chart's title and SVG document, in the report's order."""
    style = f"<style><![CDATA[{''.join(_STYLE.findall(report))}{_ALONE}]]></style>"
    return {unescape(chart["title"]): _picture(chart, style) for chart in _CHART.finditer(report)}


def _picture(chart: re.Match[str], style: str) -> str:
    width, height = (_SCALE * int(chart[side]) for side in ("width", "height"))
    size = f'width="{width}" height="{height}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {chart["frame"]} {size}>'
    return f"{opening}{style}{chart['body']}</svg>"
