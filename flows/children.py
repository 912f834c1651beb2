"""Start programs (git, dvc) on the leash, pass on what they say line by line, and keep secrets out of it.

Reads nothing; leaves what the programs leave. A child ends with its owner, see leash.py; what it inherits in `keep`
(a lock) is held until its whole process group is gone.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from flows.dvc_commands import BEGINS
from flows.environment import inherited
from flows.errors import ChildError, RemoteError, StageError
from flows.telling import printable, redacted

Tell = Callable[[str], None]
# What DVC says where it can't bring files to a workspace: nobody has them, or the disk is full.
CHECKOUT_FAILED = "Checkout failed for following targets"

_LEASH = Path(__file__).with_name("leash.py")
_KEPT_LINES = 2000
_LITTLE_ROOM_BYTES = 500_000_000
# By itself git waits without end for a server that says nothing; a minute below a kilobyte a second is too little.
_NOT_FOR_EVER = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "60"}
_FAILED_STAGE = re.compile(r"failed to reproduce '([^']+)'(?:: (.+))?")
_FAILED_RUN = re.compile(r"failed to run: .*, exited with (-?\d+)$")
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


@dataclass(frozen=True)
class Heard:
    """What a program has printed: its last lines, and those `said` by what ran last, itself or a DVC command."""

    command: Sequence[str]
    lines: list[str]
    said: list[str]


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


def output(command: Sequence[str], folder: Path, *, keep: Sequence[int] = ()) -> str:
    """Run a program and return what it prints; raises ChildError with the line of stderr that tells most."""
    with started(command, folder, keep=keep, errors=subprocess.PIPE) as child:
        printed, said = child.communicate()
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


def failure(found: Heard, status: int, folder: Path) -> ChildError:
    """Return the error that a program's failure is: StageError for a stage of DVC's, with the line that tells most."""
    command, said = found.command, [line.strip() for line in found.said if line.strip()]
    if match := next((match for line in reversed(said) if (match := _FAILED_STAGE.search(line))), None):
        return StageError(_why_stage_failed(match, said))
    # Why git's remote refuses stands in a line of its own, before an error that says no more than that it does.
    told = next((line for line in said if line.startswith("! [remote rejected]")), "")
    # DVC says the cause first and what became of it last, git the other way round.
    told = told or _with_list(next((line for line in said if line.startswith("ERROR:")), ""), said)
    told = told or _with_cause(next((line for line in reversed(said) if re.match(r"(fatal|error):", line)), ""), said)
    told = re.sub(r"^(ERROR|fatal|error): ", "", told or "".join(said[-1:])) or f"ended with status {status}"
    kind = RemoteError if _is_remote(command) else ChildError
    return kind(f"{_name(command)}: {told}{_room_left(folder) if CHECKOUT_FAILED in told else ''}")


def _room_left(folder: Path) -> str:
    """Return how little room a disk has; DVC doesn't say why it can't bring what it has fetched to the workspace."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return ""
    return f"; the disk has {free / 1e6:.1f} MB left" if free < _LITTLE_ROOM_BYTES else ""


def _why_stage_failed(found: re.Match[str], said: list[str]) -> str:
    """Return the stage's own line, where it ended as a stage does that knows what is wrong.

    Else that line may be of its progress: what it died of, a bug's last line, or what DVC could not do for it is told.
    """
    stage, cause = found[1], found[2] or ""
    ended = _FAILED_RUN.match(cause)
    if cause and not ended:
        return f"dvc could not do the stage {stage}: {_with_list(found.string, said)[found.start(2) :]}"
    own = next((place for place in reversed(range(len(said))) if said[place].startswith(f"{stage}: ")), None)
    if ended and ended[1] != "1":
        return f"the stage {stage} ended with status {ended[1]}, its last words: {_before_dvc(said)}"
    if own is None or any(line.startswith("Traceback ") for line in said[own:]):
        return f"the stage {stage} failed and said: {_before_dvc(said)}"
    return said[own]


def _with_list(line: str, said: list[str]) -> str:
    """Return a line of DVC's with what it announces: the files that follow it, up to DVC's question about them."""
    if not line.endswith(":"):
        return line
    following = said[said.index(line) + 1 :]
    files = list(takewhile(lambda one: not one.startswith(("Is your cache", "<", "ERROR")), following))
    return f"{line} {', '.join(files[:5])}"


def _with_cause(line: str, said: list[str]) -> str:
    """Return a line of git's; of a remote that it couldn't read, with ssh's reason, which stands before it."""
    place = said.index(line) if "Could not read from remote repository" in line else 0
    return f"{said[place - 1]} {line.removeprefix('fatal: ')}" if place else line


def _before_dvc(said: list[str]) -> str:
    """Return the last line that isn't DVC's own: of a stage that ended without a word for people."""
    own = [line for line in said if not line.startswith(("ERROR", "WARNING", "Running stage", ">"))]
    return own[-1] if own else "nothing"


def _is_remote(command: Sequence[str]) -> bool:
    return any(word in command for word in ("clone", "fetch", "pull", "push", "ls-remote"))


def _name(command: Sequence[str]) -> str:
    words = [word for word in command if not word.startswith("-") and os.sep not in word]
    return " ".join(words[:2]) if words else "a program"
