"""What stages and flows call 100 or 0 per cent is all or none: no rounding hides a mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows import shares as of_flows
from flows.arrivals import Row
from flows.figures import baseline_figures
from flows.newcomers import Answer
from flows.slipping import interval
from flows.watched import Watched
from stages import charts, shares
from stages.axes import Axis
from stages.report import write_report
from tests.stages.evaluated import change_json, write_data

BOTH = pytest.mark.parametrize("percent", [shares.percent, of_flows.percent], ids=["stages", "flows"])


@BOTH
@pytest.mark.parametrize(
    ("share", "digits", "expected"),
    [
        (2099 / 2100, 1, "99.95"),
        (99_999 / 100_000, 1, "99.999"),
        (0.998, 0, "99.8"),
        (0.994, 0, "99"),
        (0.9994, 1, "99.9"),
        (1 / 2100, 1, "0.05"),
        (0.004, 0, "0.4"),
        (0.875, 1, "87.5"),
        (1, 1, "100.0"),
        (1, 0, "100"),
        (0, 1, "0.0"),
    ],
)
def test_only_all_are_100_per_cent_and_only_none_are_0(
    percent: Callable[[float, int], str], share: float, digits: int, expected: str
) -> None:
    assert percent(share, digits) == expected


@BOTH
def test_an_interval_that_reaches_all_or_none_says_so_whatever_its_rounding(
    percent: Callable[[float, int], str],
) -> None:
    shown = {(percent(interval(0, num)[0], 1), percent(interval(num, num)[1], 1)) for num in range(1, 400)}

    assert shown == {("0.0", "100.0")}


def test_a_report_of_one_mistake_among_thousands_does_not_say_100_per_cent(tmp_path: Path) -> None:
    write_data(tmp_path, ["Bengal", "Siamese", "beagle"], num_images=3)
    numbers = {"accuracy": 0.999524, "accuracy_low": 0.997307, "accuracy_high": 0.999916, "num_test": 2100}
    change_json(tmp_path / "eval/metrics.json", numbers)

    folders = {name: tmp_path / name for name in ("prepared", "split", "train")}
    write_report(tmp_path / "eval", **folders)

    page = (tmp_path / "eval/report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert '<span class="big">99.95 %</span> of 2,100 test images' in page
    assert "between 99.7 % and 99.99 %" in page
    assert "<title>resnet18: 99.95 % of 2100 test images right</title>" in page


def test_a_bar_of_all_but_one_is_not_called_100_per_cent() -> None:
    drawn = charts.bar_chart("Accuracy", [charts.Bar(name="this model", share=2099 / 2100)])

    assert drawn.count("99.95 %") == 2
    assert "100.0" not in drawn


def test_a_dot_of_all_but_one_is_not_called_100_per_cent() -> None:
    axis = Axis(title="named right", percent=True)

    drawn = charts.line_chart(
        "Accuracy", [charts.Line(name="valid", points=[(0.5, 2099 / 2100)], kind="a")], axis, axis
    )

    assert "<title>valid: 99.95 % at 50.0 %</title>" in drawn


@pytest.mark.parametrize(("num_right", "told"), [(299, "(99.7 %, 98 to 99.9)"), (300, "(100 %, 99 to 100)")])
def test_the_watch_calls_no_photographs_but_all_100_per_cent(num_right: int, told: str) -> None:
    row = Row("a", "0" * 64, "pug", "2100-01-01")
    answers = [Answer(row, "pug")] * num_right + [Answer(row, "cat")] * (300 - num_right)

    found = Watched(version="pets@1", answers=answers, tallies=[], without={}, lacks="none", fewest=4, limit=0.001)

    assert f"{num_right} of 300 photographs that arrived since rightly {told}" in found.sentence


def test_the_gate_shows_100_per_cent_of_no_model_that_errs() -> None:
    shown = [(its.champion, its.challenger) for its in baseline_figures(2099 / 2100, 0.5, 1.0)]

    assert shown == [("50.0%", "99.95%"), ("100.0%", "99.95%")]


@pytest.mark.parametrize("points", [shares.points, of_flows.points], ids=["stages", "flows"])
@pytest.mark.parametrize(
    ("difference", "expected"),
    [(1 / 2100, "+0.05"), (-1 / 2100, "-0.05"), (0, "+0.0"), (-0.0, "+0.0"), (0.3, "+30.0"), (-1, "-100.0")],
)
def test_only_models_that_are_alike_are_no_point_apart(
    points: Callable[[float], str], difference: float, expected: str
) -> None:
    assert points(difference) == expected
