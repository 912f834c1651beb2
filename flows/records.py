"""What a retrain leaves for people in Prefect's UI: decision, numbers, charts, stages, the way to the version.

Reads what the flow knows; leaves artifacts of the run.
"""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prefect.artifacts import create_image_artifact, create_link_artifact

from flows.artifacts import artifact_key, leave_page, leave_table, shown
from flows.charts import charts_in
from flows.gate import Decision
from flows.pipeline import Step
from flows.telling import redacted

_KEY_WORDS = 4


def record_stages(model: str, steps: Sequence[Step]) -> None:
    """Leave a table of the stages: which ran, which another run or machine had computed."""
    rows = [{"stage": step.stage, "what happened": step.what} for step in steps]
    leave_table(rows, artifact_key(model, "stages"), "what became of each stage")


def record_decision(model: str, decision: Decision) -> None:
    """Leave the gate's sentence and table."""
    leave_page(decision_page(decision), artifact_key(model, "decision"), decision.sentence)
    leave_table(
        [asdict(figure) for figure in decision.figures] or [{"what": "nothing was compared"}],
        artifact_key(model, "gate"),
        "what the gate looked at",
    )


def decision_page(decision: Decision) -> str:
    """Return the decision as Markdown."""
    return f"# {decision.outcome}\n\n{shown(decision.sentence)}.\n\n{_table(decision)}"


def record_metrics(model: str, metrics: dict[str, Any], title: str) -> None:
    """Leave the test side's numbers as a table."""
    rows = [{"metric": name, "value": value} for name, value in metrics.items()]
    leave_table(rows, artifact_key(model, "metrics"), f"{title}, on the test side")


def record_charts(model: str, report: str) -> None:
    """Leave each chart of a report.html as a picture; its key is made of the model and its title's first words."""
    for title, drawn in charts_in(report).items():
        address = f"data:image/svg+xml;base64,{base64.b64encode(redacted(drawn).encode()).decode()}"
        key = artifact_key(model, "chart", *title.split()[:_KEY_WORDS])
        create_image_artifact(address, key=key, description=shown(title))


def record_version(model: str, name: str, registry: str) -> None:
    """Leave the way to what was published; addresses hold no credentials."""
    create_link_artifact(
        redacted(f"{registry.rstrip('/')}/{model}/"), link_text=name, key=artifact_key(model, "version"),
        description=f"petmodels show {name}; the report is report.html in it",
    )  # fmt: skip


def _table(decision: Decision) -> str:
    if not decision.figures:
        return ""
    rows = ["| | champion | challenger | |", "|---|---|---|---|"]
    for one in decision.figures:
        cells = (one.what, one.champion, one.challenger, one.meaning)
        rows.append(f"| {' | '.join(shown(cell) for cell in cells)} |")
    return "\n".join(rows)
