"""The charts of a real report stand alone as pictures."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from flows.charts import charts_in
from stages.report import write_report
from tests.stages.evaluated import write_data

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def report(tmp_path: Path) -> str:
    write_data(tmp_path, ["Bengal", "Siamese & <b>Co</b>"])
    folders = {name: tmp_path / name for name in ("prepared", "split", "train")}
    write_report(tmp_path / "eval", **folders)
    return (tmp_path / "eval/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_each_chart_of_a_report_is_a_drawing_of_its_own(report: str) -> None:
    charts = charts_in(report)

    assert len(charts) == report.count('<svg class="chart"') > 3
    assert "Reliability diagram" in charts
    for drawn in charts.values():
        root = ElementTree.fromstring(drawn)  # noqa: S314 - our own drawing
        assert root.tag == f"{SVG}svg"
        assert {child.tag for child in root} > {f"{SVG}style", f"{SVG}text"}
        frame = [float(number) for number in root.get("viewBox", "").split()]
        assert [float(root.get(side, "")) for side in ("width", "height")] == [2 * side for side in frame[2:]]
        assert "--panel:" in root.findtext(f"{SVG}style", "")


def test_a_label_like_markup_stays_a_label(report: str) -> None:
    balance = next(drawn for title, drawn in charts_in(report).items() if title.startswith("Images of each label"))

    words = " ".join(ElementTree.fromstring(balance).itertext())  # noqa: S314 - our own drawing
    assert "Siamese & <b>Co</b>" in words


def test_a_page_without_charts_has_none() -> None:
    assert charts_in("<h1>no charts</h1><svg class='icon'></svg>") == {}
