"""What README tells operators to type, word by word: from the stack's start to a promotion, a rollback and Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import pytest

from flows.object_store import free_port, weed
from flows.services import marked
from tests.flows.api import wait
from tests.flows.projects import Project

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]


def typed() -> str:
    """Return the commands of the second terminal."""
    operators = (ROOT / "README.md").read_text(encoding="utf-8").split("## For operators")[1]
    (commands,) = re.findall(r"In another\s+terminal:\n\n```\n(.*?)^```", operators, re.DOTALL | re.MULTILINE)
    return str(commands)


@contextmanager
def terminal_with_the_stack(folder: Path, project: Path) -> Iterator[Path]:
    """Run `make stack` without make; yield its file of variables; then press Ctrl-C."""
    ports = ["--port", str(free_port()), "--s3-port", str(free_port())]
    command = [sys.executable, "-m", "flows.stack", "--folder", str(folder), "--project", str(project), *ports]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        try:
            wait(lambda: "Ctrl-C here ends everything" in started.stdout.readline(), 180, "the stack runs")
            yield folder / "environment"
        finally:
            started.send_signal(signal.SIGINT)
            assert started.wait(90) == 0


def run(script: str) -> str:
    """Run a script as a person's shell would, with this environment's programs, to its end; return what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_screen_for_operators_does_what_it_says(tmp_path: Path, toy: Project) -> None:
    folder = tmp_path / "Ann's stack"  # people's folders have such names
    with terminal_with_the_stack(folder, toy.folder) as file:
        variables = quote(str(file))
        script = typed().replace("source .venv/bin/activate\n", "").replace("build/stack/environment", variables)
        assert script.count("prefect deployment run") == 4
        shown = run(script)
        history = json.loads(run(f"source {variables}; petmodels history pets --json"))

    assert [(step["action"], step["version"]) for step in history] == [("promote", 1), ("promote", 2), ("rollback", 1)]
    notes = [re.sub(r" \(run [0-9a-f]{12}\)$", "", step["note"]) for step in history[1:]]
    assert notes == ["as agreed on Friday", "it mistakes every Bombay"]
    assert re.search(r"^version +pets@1$", shown, re.MULTILINE)
    assert marked(str(folder)) == []
