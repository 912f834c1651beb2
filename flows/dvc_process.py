"""DVC in a process of its own that is begun before its commands are known and takes one list of them after the other.

DVC and what it needs for S3 take a second to be imported: here that goes by while git fetches or a training waits for
its worker, and once for several lists. Reads nothing; leaves what DVC leaves.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flows.children import Tell, heard, started
from flows.dvc_commands import MARK
from flows.reasons import Heard, failure
from flows.telling import redacted

_PROGRAM = str(Path(__file__).with_name("dvc_commands.py"))


class DvcProcess:
    """At most one process at a time; it ends with its owner, and with `end`."""

    def __init__(
        self, folder: Path, modules: Sequence[str], tell: Tell, *, remote: str = "", keep: Sequence[int] = ()
    ) -> None:
        """Know where the commands will run, which `modules` they will need that DVC imports late, and their remote."""
        self._folder, self._modules, self._tell, self._keep = folder, modules, tell, keep
        self._remote = remote
        self._open = ExitStack()
        self._running: _Running | None = None

    def begin(self) -> None:
        """Start the process ahead, unless it runs; the folder need not be there yet. `run` does what this can't."""
        with suppress(OSError):
            self._begun()

    def run(self, commands: Sequence[str]) -> list[str]:
        """Run DVC's commands, such as "repro --pull", until one fails; tell their lines, and return the last ones.

        Raises StageError with the stage's own line, RemoteError where the command wants a remote, else ChildError.
        """
        try:
            answer = self._asked(commands)
            if not answer.has_begun:  # the process has died idle
                self.end()
                answer = self._asked(commands)
        except BaseException:
            self.end()
            raise
        assert answer.heard
        if answer.status:
            raise failure(answer.heard, answer.status, self._folder, dvc_remote=redacted(self._remote))
        return answer.heard.lines

    def end(self) -> None:
        """End the process and what it has started, whatever they do, and wait until they are gone."""
        self._running = None
        self._open.close()

    def _begun(self) -> "_Running":
        if self._running and self._running.child.poll() is None:
            return self._running
        self.end()
        command = [sys.executable, "-P", _PROGRAM, *self._modules]
        read, write = os.pipe()
        with os.fdopen(read, "rb"), ExitStack() as until_begun:
            lists = until_begun.enter_context(os.fdopen(write, "wb", buffering=0))
            child = started(command, self._folder.parent, keep=self._keep, stdin=read)
            running = _Running(self._open.enter_context(child), self._open.enter_context(lists))
            until_begun.pop_all()
        self._running = running
        return running

    def _asked(self, commands: Sequence[str]) -> "_Answer":
        running, answer = self._begun(), _Answer(secrets.token_hex(8))
        assert running.child.stdout
        with suppress(BrokenPipeError):  # it has ended, and says why
            running.lists.write(json.dumps([answer.mark, str(self._folder), *commands]).encode() + b"\n")
        answer.heard = heard(answer.lines(running.child.stdout), ["dvc"], self._tell)
        if answer.status is None:
            answer.status = running.child.wait() or 1
        return answer


@dataclass(frozen=True)
class _Running:
    child: "subprocess.Popen[str]"
    lists: IO[bytes]


@dataclass
class _Answer:
    """What is printed between two lines with a mark, and the status that the second one tells, None without it."""

    mark: str
    status: int | None = None
    has_begun: bool = False
    heard: Heard | None = None

    def lines(self, printed: Iterable[str]) -> Iterator[str]:
        """Yield the answer's lines; of a process that ends before it has begun, all that it says."""
        early = []
        ends = re.compile(rf"{MARK}{self.mark} (-?\d+)")
        for line in printed:
            if match := ends.fullmatch(line.rstrip()):
                self.status = int(match[1])
                return
            if self.has_begun:
                yield line
            elif line.rstrip() == f"{MARK}{self.mark} begins":
                self.has_begun = True
            else:
                early.append(line)
        if not self.has_begun:
            yield from early
