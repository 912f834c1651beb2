"""Compose the report's charts from the files that train and evaluate left.

Reads data/train and data/eval; leaves nothing itself. A chart whose data isn't there (no finder ran, fewer
than two epochs were trained) is None.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from stages.axes import Axis
from stages.charts import Bar, Line, Marks, bar_chart, line_chart, stacked_bars
from stages.shares import percent

Row = dict[str, str]

BASELINES = {
    "baseline_majority": "always the commonest label",
    "baseline_logistic": "logistic regression, frozen features",
    "baseline_scratch": "the same network from scratch",
}
SIDES = ("train", "valid", "test")
CONFIDENCE = Axis(title="confidence (%)", range=(0.0, 1.0), percent=True)


def readable(label: str) -> str:
    """Return a label as a person would write it: file names know no spaces."""
    return label.replace("_", " ")


def against_baselines(metrics: Mapping[str, Any]) -> Markup:
    """Return the accuracies of the model, with its 95 % interval, and of the baselines that were computed."""
    interval = (metrics["accuracy_low"], metrics["accuracy_high"])
    bars = [Bar(name="this model", share=metrics["accuracy"], interval=interval, kind="a")]
    bars += [Bar(name=name, share=metrics[key]) for key, name in reversed(BASELINES.items()) if key in metrics]
    return bar_chart("Accuracy of the model and of the baselines on the same test images", bars)


def reliability(calibration: Mapping[str, Any]) -> Markup:
    """Return the reliability diagram: what the model claims against how often it is right, before and after."""
    lines = [Line(name="ideal", points=[(0, 0), (1, 1)], kind="plain", dots=False)]
    for name, kind in (("uncalibrated", "b"), ("calibrated", "a")):
        points = [(b["confidence"], b["accuracy"]) for b in calibration[f"bins_{name}"]]
        weights = [b["count"] for b in calibration[f"bins_{name}"]]
        lines.append(Line(name=name, points=points, kind=kind, weights=weights))
    truth = Axis(title="named right (%)", range=(0.0, 1.0), percent=True)
    return line_chart("Reliability diagram", lines, CONFIDENCE, truth, height=300)


def believed(predictions: Sequence[Row], unsure_below: float) -> Markup:
    """Return how many test images stay, and how many of them are right, if the model may decline to answer."""
    order = sorted(predictions, key=lambda row: -float(row["probability"]))
    right = [row["label"] == row["predicted"] for row in order]
    points, hits = [], 0
    for number, hit in enumerate(right, start=1):
        hits += hit
        points.append((number / len(order), hits / number))
    kept = sum(float(row["probability"]) >= unsure_below for row in order) / len(order)
    shares = Axis(title="images answered, the surest first (%)", range=(0.0, 1.0), percent=True)
    truth = Axis(title="of these named right (%)", percent=True)
    line = Line(name="test side", points=_thinned(points), kind="a", dots=False)
    chosen = Marks(positions=[(kept, f"unsure below {percent(unsure_below, 0)} %")] if unsure_below > 0 else [])
    return line_chart(
        "Share of right answers against share of images answered", [line], shares, truth, marks=chosen, height=300
    )


def losses(history: Sequence[Row]) -> Markup | None:
    """Return the train and valid loss an epoch, so that over- and underfitting show."""
    lines = [
        Line(name="train loss", points=_column(history, "train_loss"), kind="b"),
        Line(name="valid loss", points=_column(history, "valid_loss"), kind="a"),
    ]
    return _over_epochs("Loss of the train and the valid side in each epoch", lines, history, Axis(title="loss (nats)"))


def metrics(history: Sequence[Row]) -> Markup | None:
    """Return the metrics of the valid side an epoch."""
    known = {"epoch", "phase", "train_loss", "valid_loss", "learning_rate"}
    names = [name for name in (history[0] if history else {}) if name not in known]
    lines = [
        Line(name=name.replace("_", " "), points=_column(history, name), kind=kind)
        for name, kind in zip(names, "abcd", strict=False)
    ]
    return _over_epochs(
        "Metrics of the valid side in each epoch", lines, history, Axis(title="valid side (%)", percent=True)
    )


def finder(curve: Sequence[Row], suggestion: float | None) -> Markup | None:
    """Return the learning-rate finder's curve with the rate that was taken; None where no finder ran."""
    points = [(float(row["learning_rate"]), float(row["loss"])) for row in curve]
    if len(points) < 2:
        return None
    start, least = points[0][1], min(loss for _, loss in points)
    shown = [
        point for point in points if point[1] <= start + 0.5 * (start - least) + 1e-9
    ]  # the blow-up hides the rest
    marks = Marks(positions=[(suggestion, f"taken: {suggestion:.2e}")] if suggestion else [])
    line = Line(name="smoothed loss", points=shown, kind="a", dots=False)
    rate = Axis(title="learning rate (logarithmic)", logarithmic=True)
    return line_chart("Learning-rate finder", [line], rate, Axis(title="loss (nats)"), marks=marks)


def balance(counts: Mapping[str, Sequence[int]]) -> Markup:
    """Return the images of each label on the three sides, the commonest label first."""
    return stacked_bars("Images of each label on the train, valid and test side", _commonest_first(counts), SIDES)


def balance_table(counts: Mapping[str, Sequence[int]]) -> list[tuple[str, list[int]]]:
    """Return the numbers of the balance, with each label's sum behind them."""
    return [(label, [*parts, sum(parts)]) for label, parts in _commonest_first(counts)]


def reliability_table(calibration: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the numbers of the reliability diagram's dots: what is claimed, what is true, and of how many images."""
    return [
        (name, [f"{percent(b['confidence'])} %", f"{percent(b['accuracy'])} %", f"{b['count']:,}"])
        for name in ("uncalibrated", "calibrated")
        for b in calibration[f"bins_{name}"]
    ]


def _commonest_first(counts: Mapping[str, Sequence[int]]) -> list[tuple[str, Sequence[int]]]:
    ordered = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
    return [(readable(label), parts) for label, parts in ordered]


def _over_epochs(title: str, lines: Sequence[Line], history: Sequence[Row], y: Axis) -> Markup | None:
    lines = [line for line in lines if len(line.points) > 1]
    if not lines:
        return None
    first, last = float(history[0]["epoch"]), float(history[-1]["epoch"])
    changes = [b for a, b in pairwise(history) if a["phase"] != b["phase"]]
    marks = Marks(positions=[(float(row["epoch"]), f"{row['phase']} from here") for row in changes])
    epochs = Axis(title="epoch", range=(first, max(last, first + 1)), whole=True)
    return line_chart(title, lines, epochs, y, marks=marks)


def _column(history: Sequence[Row], name: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[name])) for row in history if row[name]]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(1, len(points) // 200)
    return [*points[:-1:step], points[-1]]
