"""Start programs (git, dvc) on the leash, pass on what they say line by line, and keep secrets out of it.

Reads nothing; leaves what the programs leave. A child ends with its owner, see leash.py; what it inherits in `keep`
(a lock) is held until its whole process group is gone.
"""

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.dvc_commands import BEGINS
from flows.environment import inherited
from flows.errors import ChildError
from flows.reasons import Heard, failure
from flows.telling import printable, redacted

Tell = Callable[[str], None]

_LEASH = Path(__file__).with_name("leash.py")
_KEPT_LINES = 2000
# By itself git waits without end for a server that says nothing; a minute below a kilobyte a second is too little.
_NOT_FOR_EVER = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "60"}
# DVC's advice to a person at a keyboard.
_NOISE = re.compile(r"\s*(Generating lock|Updating lock|To track the|To enable auto|git add|dvc config|Use `dvc push`)")


def run(command: Sequence[str], folder: Path, tell: Tell, *, keep: Sequence[int] = ()) -> list[str]:
    """Run a program in a folder until it ends, tell each line it prints; return its last lines.

    Raises StageError with the stage's own line when `dvc` says that a stage failed, else ChildError with the line that
    tells most.
    """
    with started(command, folder, keep=keep) as child:
        assert child.stdout
        found = heard(child.stdout, command, tell)
        child.wait()
    if child.returncode:
        raise failure(found, child.returncode, folder)
    return found.lines


def heard(printed: Iterable[str], command: Sequence[str], tell: Tell) -> Heard:
    """Listen to a program until it has printed all; tell each line, without control characters but for tabs."""
    lines, said = deque[str](maxlen=_KEPT_LINES), deque[str](maxlen=_KEPT_LINES)
    for raw in printed:
        line = printable(redacted(raw.rstrip()))
        lines.append(line)
        if line.startswith(BEGINS):
            command = line.removeprefix("> ").split()
            said.clear()
        else:
            said.append(line)
        if line and not _NOISE.match(line) and not _is_answer(line, command):
            tell(line)
    return Heard(command, list(lines), list(said))


def _is_answer(line: str, command: Sequence[str]) -> bool:
    """Say whether a line is what `dvc status` tells the flow, and nobody else."""
    return command[1:2] == ["status"] and line.startswith("{")


def output(
    command: Sequence[str], folder: Path, *, keep: Sequence[int] = (), timeout_seconds: float | None = None
) -> str:
    """Run a program and return what it prints; raises ChildError with the line of stderr that tells most.

    So it does when the program hasn't ended after `timeout_seconds`, and ends it.
    """
    with started(command, folder, keep=keep, errors=subprocess.PIPE) as child:
        try:
            printed, said = child.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            told = f"{' '.join(command[:2])}: it hasn't ended within {timeout_seconds:g} seconds"
            raise ChildError(told) from error
    if child.returncode:
        lines = [printable(line) for line in redacted(said).splitlines()]
        raise failure(Heard(command, [], lines), child.returncode, folder)
    return printed


@contextmanager
def started(
    command: Sequence[str],
    folder: Path,
    *,
    keep: Sequence[int] = (),
    errors: int = subprocess.STDOUT,
    stdin: int | None = None,
) -> "Iterator[subprocess.Popen[str]]":
    """Start a program and yield it; when the block ends it ends too, because its leash is let go.

    `stdin` is a descriptor that it may read from, instead of nothing.
    """
    leash, held = os.pipe()
    options = [] if stdin is None else [f"--stdin={stdin}"]
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LEASH), *options, *command],
            cwd=folder,
            env=_environment(),
            stdin=leash,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[*keep, *([] if stdin is None else [stdin])],
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(leash)
    with child:
        try:
            yield child
        finally:
            os.close(held)


def _environment() -> dict[str, str]:
    """Put this interpreter first on the path, because dvc.yaml says `python`; nobody can answer a question."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    quiet = {"DVC_IGNORE_ISATTY": "0", "GIT_TERMINAL_PROMPT": "0", "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
    return _NOT_FOR_EVER | inherited() | quiet | {"PATH": folders}
