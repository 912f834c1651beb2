"""Why a program (git, dvc) has failed: of all that it printed the line that tells most, and what people need besides.

Reads what was printed, and how much room the disk has; leaves nothing.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from flows.errors import ChildError, RemoteError, StageError

# What DVC and its SQLite say where they can't bring files to a workspace: nobody has them, or the disk is full.
CHECKOUT_FAILED = "Checkout failed for following targets"
NO_ROOM = "; the disk has "

_FULL = ("No space left", "disk is full", "disk I/O error")
_NOT_BROUGHT = (CHECKOUT_FAILED, "failed to download", "failed to transfer", *_FULL)
_LITTLE_ROOM_BYTES, _FEW_FILES = 500_000_000, 1000
_MOST_HINTS = 5
# What makes a stage need less memory.
_LOWER = {
    "prepare": ", or let it use fewer cores by LOKY_MAX_CPU_COUNT",
    "train": ", or lower train.batch_size or train.image_size",
    "evaluate": ", or lower train.image_size",
    "export": ", or lower train.image_size",
}
_FAILED_STAGE = re.compile(r"failed to reproduce '([^']+)'(?:: (.+))?")
_FAILED_RUN = re.compile(r"failed to run: .*, exited with (-?\d+)$")
_WRONG_FILE = re.compile(r"'[^']+' (is invalid|validation failed)")
_NOT_OWN = re.compile(r"detected dubious ownership in repository at '(.+)'")
_HINT = re.compile(r"remote:\s*(.*\w.*)")
_NO_HINT = re.compile(r"\d% \(\d|done\.$|error: hook declined")


@dataclass(frozen=True)
class Heard:
    """What a program has printed: its last lines, and those `said` by what ran last, itself or a DVC command."""

    command: Sequence[str]
    lines: list[str]
    said: list[str]


def failure(found: Heard, status: int, folder: Path, *, dvc_remote: str = "") -> ChildError:
    """Return the error that a program's failure is: StageError for a stage of DVC's, with the line that tells most."""
    command, said = found.command, [line.strip() for line in found.said if line.strip()]
    if match := next((match for line in reversed(said) if (match := _FAILED_STAGE.search(line))), None):
        told = _why_stage_failed(match, said, dvc_remote)
        return StageError(told + _room_left(folder, told))
    # Why git's remote refuses stands in a line of its own, before an error that says no more than that it does.
    told = next((line for line in said if line.startswith("! [remote rejected]")), "")
    told = told or _not_own(said, folder) or _wrong_file(said)
    # DVC says the cause first and what became of it last, git the other way round.
    told = told or _with_list(next((line for line in said if line.startswith("ERROR:")), ""), said)
    told = told or _with_cause(next((line for line in reversed(said) if re.match(r"(fatal|error):", line)), ""), said)
    told = re.sub(r"^(ERROR|fatal|error): ", "", told or "".join(said[-1:])) or f"ended with status {status}"
    if command[:1] == ["git"]:
        told += _hints(said)
    elif _is_remote(command) or "unexpected error" in told:
        told += _of_remote(told, dvc_remote)
    kind = RemoteError if _is_remote(command) else ChildError
    return kind(f"{_name(command)}: {told}{_room_left(folder, told)}")


def _room_left(folder: Path, told: str) -> str:
    """Return how little room a disk has, for bytes or for files, where that may be why DVC could not bring some."""
    if not any(words in told for words in _NOT_BROUGHT):
        return ""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    if disk.f_files and disk.f_favail < _FEW_FILES:  # some disks don't count them
        return f"{NO_ROOM}room for {disk.f_favail} more files (inodes), however many bytes are free: {folder}"
    free = disk.f_bavail * disk.f_frsize
    return f"{NO_ROOM}{free / 1e6:.1f} MB left" if free < _LITTLE_ROOM_BYTES else ""


def _why_stage_failed(found: re.Match[str], said: list[str], dvc_remote: str) -> str:
    """Return the stage's own line, where it ended as a stage does that knows what is wrong.

    Else that line may be of its progress: what it died of, a bug's last line, or what DVC could not do for it is told.
    """
    stage, cause = found[1], found[2] or ""
    ended = _FAILED_RUN.match(cause)
    if cause and not ended:
        told = f"dvc could not do the stage {stage}: {_with_list(found.string, said)[found.start(2) :]}"
        return told + (_not_transferred(said, dvc_remote) if "failed to download" in told else "")
    own = next((place for place in reversed(range(len(said))) if said[place].startswith(f"{stage}: ")), None)
    if ended and ended[1] != "1":
        told = f"the stage {stage} ended with status {ended[1]}{_ended_by(stage, ended[1])}"
        return f"{told}, its last words: {_before_dvc(said)}"
    if own is None or any(line.startswith("Traceback ") for line in said[own:]):
        return f"the stage {stage} failed and said: {_before_dvc(said)}"
    return said[own]


def _ended_by(stage: str, status: str) -> str:
    """Return what a signal to a stage means; by a shell or its own handler its number comes as 128 and more."""
    if status in {"-9", "137"}:
        lower = _LOWER.get(stage, "")
        return (
            f" (killed, most likely for want of memory: give the worker more{lower}; as it is, it would end so again)"
        )
    return " (it was asked to end)" if status in {"-15", "143"} else ""


def _not_transferred(said: list[str], dvc_remote: str) -> str:
    """Return which file DVC's remote could not give, and why: "failed to download" sounds like the internet."""
    first = next((line for line in said if line.startswith("ERROR: failed to transfer ")), "")
    told = f", the first: {first.removeprefix('ERROR: failed to transfer ')}" if first else ""
    return f" from the DVC remote{told}{_of_remote(told, dvc_remote)}"


def _of_remote(told: str, dvc_remote: str) -> str:
    return "" if not dvc_remote or CHECKOUT_FAILED in told else f"; the DVC remote is {dvc_remote}"


def _not_own(said: list[str], folder: Path) -> str:
    """Return what git says of a repository that is another user's, and the way out, which differs for a workspace."""
    found = next((match for line in said if (match := _NOT_OWN.search(line))), None)
    if not found:
        return ""
    if Path(found[1]) == folder:
        return f"{found[0]}; give it to the user of this worker, or empty it"
    return f"{found[0]}; {next((line for line in said if line.startswith('git config ')), 'give it to this user')}"


def _wrong_file(said: list[str]) -> str:
    """Return what DVC says of a file of its own that it can't read, and where; an excerpt of the file ends it."""
    place = next((place for place, line in enumerate(said) if _WRONG_FILE.match(line)), None)
    return "" if place is None else " ".join(said[place : place + 2])


def _hints(said: list[str]) -> str:
    """Return what a server of git's tells people, such as why a hook of its owner's refuses."""
    hints = [match[1] for line in said if (match := _HINT.match(line)) and not _NO_HINT.search(line)]
    return f"; the remote says: {' '.join(hints[:_MOST_HINTS])[:500]}" if hints else ""


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
