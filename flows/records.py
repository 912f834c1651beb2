"""What a retrain leaves for people in Prefect's UI: the decision, its numbers, a picture, the stages, where to look.

Reads what the flow knows; leaves artifacts of the run.
"""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from prefect.artifacts import create_image_artifact, create_link_artifact

from flows.artifacts import artifact_key, leave_page, leave_table
from flows.children import redacted
from flows.gate import Decision
from flows.pipeline import Step

_BAR, _ROW = 420, 34


def record_stages(model: str, steps: Sequence[Step]) -> None:
    """Leave a table of the stages: which ran, which another run or machine had computed."""
    rows = [{"stage": step.stage, "what happened": step.what} for step in steps]
    leave_table(rows, artifact_key(model, "stages"), "what became of each stage")


def record_decision(model: str, decision: Decision) -> None:
    """Leave the gate's sentence and table."""
    page = f"# {decision.outcome}\n\n{decision.sentence}.\n\n{_table(decision)}"
    leave_page(page, artifact_key(model, "decision"), decision.sentence)
    leave_table(
        [asdict(figure) for figure in decision.figures] or [{"what": "nothing was compared"}],
        artifact_key(model, "gate"),
        "what the gate looked at",
    )


def record_metrics(model: str, metrics: dict[str, Any], title: str) -> None:
    """Leave the test side's numbers as a table, and accuracy against the baselines as a picture."""
    rows = [{"metric": name, "value": value} for name, value in metrics.items()]
    leave_table(rows, artifact_key(model, "metrics"), f"{title}, on the test side")
    bars = {name: float(metrics[key]) for name, key in _BARS.items() if key in metrics}
    drawn = base64.b64encode(bar_chart(bars, title).encode()).decode()
    create_image_artifact(
        f"data:image/svg+xml;base64,{drawn}", key=artifact_key(model, "accuracy"), description=f"accuracy of {title}"
    )


def record_version(model: str, name: str, registry: str) -> None:
    """Leave the way to what was published; addresses hold no credentials."""
    create_link_artifact(
        redacted(f"{registry.rstrip('/')}/{model}/"), link_text=name, key=artifact_key(model, "version"),
        description=f"petmodels show {name}; the report is report.html in it",
    )  # fmt: skip


_BARS = {
    "this model": "accuracy",
    "logistic regression": "baseline_logistic",
    "the network from scratch": "baseline_scratch",
    "commonest label": "baseline_majority",
}


def bar_chart(shares: dict[str, float], title: str) -> str:
    """Return an SVG of horizontal bars, one a share from 0 to 1, readable on light and dark."""
    rows = [
        f'<text x="0" y="{y + 16}">{escape(name)}</text>'
        f'<rect x="180" y="{y}" width="{_BAR}" height="22" rx="3" fill="#8884"/>'
        f'<rect x="180" y="{y}" width="{share * _BAR:.1f}" height="22" rx="3" fill="#2f7d6d"/>'
        f'<text x="{190 + _BAR}" y="{y + 16}">{share:.1%}</text>'
        for y, (name, share) in ((40 + _ROW * place, item) for place, item in enumerate(shares.items()))
    ]
    height = 50 + _ROW * len(shares)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {height}" width="680" height="{height}">'
        f'<g font-family="system-ui, sans-serif" font-size="14" fill="#777">'
        f'<text x="0" y="20" font-size="16">{escape(title)}</text>{"".join(rows)}</g></svg>'
    )


def _table(decision: Decision) -> str:
    if not decision.figures:
        return ""
    rows = ["| | champion | challenger | |", "|---|---|---|---|"]
    rows += [f"| {one.what} | {one.champion} | {one.challenger} | {one.meaning} |" for one in decision.figures]
    return "\n".join(rows)
