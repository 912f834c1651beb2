"""How a flow ends: what is told on the run, and what never is."""

import ast
import gc
import logging
import subprocess
import traceback
from pathlib import Path

import pytest

from flows.errors import FlowError, StageError
from flows.outcome import settled, without_secrets

PLANTED = "a-value-like-a-key"
FLOWS = Path(__file__).parents[2] / "flows"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)


def caused() -> Exception:
    error = RuntimeError("no answer", 7)
    error.__cause__ = KeyError(f"key {PLANTED}")
    return error


def noted() -> Exception:
    error = ValueError("no answer")
    error.add_note(f"it was asked with {PLANTED}")
    return error


SECRETIVE = {
    "text": ValueError(f"no answer with {PLANTED}"),
    "nested": ValueError({"headers": [PLANTED]}),
    "cause": caused(),
    "note": noted(),
    "command": subprocess.CalledProcessError(1, ["aws", PLANTED]),
    "group": ExceptionGroup("several", [ValueError(PLANTED)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", SECRETIVE.values(), ids=SECRETIVE)
def test_a_bug_stays_one_and_tells_no_secret(bug: Exception) -> None:
    @settled
    def flow() -> str:
        raise bug

    with pytest.raises(RuntimeError) as raised:
        flow()

    told = "".join(traceback.format_exception(raised.value))
    assert PLANTED not in told
    assert f"{type(bug).__name__}, told without a secret:" in told
    assert "in flow" in told


@pytest.mark.slow
def test_a_run_sets_what_is_loaded_apart_from_the_search_for_garbage_once() -> None:
    counts: list[int] = []

    @settled
    def flow() -> str:
        counts.append(gc.get_freeze_count())
        raise ValueError("no answer")

    gc.unfreeze()
    for _ in range(2):
        with pytest.raises(ValueError, match="no answer"):
            flow()

    assert counts[0] > 10_000
    assert counts[1] <= counts[0]  # some of it ends meanwhile


def test_a_bug_without_a_secret_stays_as_it_is() -> None:
    bug = ZeroDivisionError("by nothing")
    with pytest.raises(ZeroDivisionError) as raised, without_secrets():
        raise bug
    assert raised.value is bug


def test_an_expected_error_keeps_its_sentence_but_for_the_secret() -> None:
    with pytest.raises(FlowError, match=r"^denied for \*\*\*$"), without_secrets():
        raise StageError(f"denied for {PLANTED}")


@pytest.mark.parametrize(
    ("error", "is_logged"), [(StageError("no images"), False), (PermissionError(13, "no"), False), (KeyError(7), True)]
)
def test_a_task_logs_a_traceback_for_a_bug_alone(error: Exception, is_logged: bool) -> None:
    with pytest.raises(type(error)) as raised, without_secrets():
        raise error

    record = logging.LogRecord("", logging.ERROR, "", 1, "Task run failed", (), (type(error), raised.value, None))
    assert bool(logging.getLogger("prefect.task_runs").filter(record)) == is_logged


def test_exceptions_that_lead_to_each_other_come_to_an_end() -> None:
    first, second = ValueError("one"), ValueError("two")
    first.__context__, second.__context__ = second, first

    @settled
    def flow() -> str:
        raise first

    with pytest.raises(ValueError, match="one"):
        flow()


@pytest.mark.parametrize("path", sorted(FLOWS.glob("*.py")), ids=lambda path: path.stem)
def test_no_body_of_a_flow_or_task_is_without_its_guard(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            decorators = [ast.unparse(one).split("(")[0] for one in node.decorator_list]
            assert "task" not in decorators or decorators == ["task", "without_secrets"]
            assert "flow" not in decorators or decorators == ["flow", "settled"]
