"""Run long-lived programs beside each other, and end them with everything that they have started.

Each program gets a log in a folder, and a mark in its environment that its children inherit: so that also those are
found that left its process group or lost their parent.
"""

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.errors import StackError

MARK = "PETMODELS_STACK"
_SAYS_NOTHING = {"", "An exception occurred.", "ERROR:    Application startup failed. Exiting.", "Server stopped!"}


@dataclass
class Service:
    """One program: what to start, with which variables, and where its output goes."""

    name: str
    command: Sequence[str]
    variables: dict[str, str]
    logs: Path
    folder: Path | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.logs / f"{self.name}.log"

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the program; its output is appended to the log."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                env=self.variables,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the program as a power cut would, and leave what it has started."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 10) -> None:
        """Ask the program to end, and make it end when it takes longer than `seconds`."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Return when `is_ready`. Raises StackError when the program ends before, or takes longer than `seconds`."""
        end = time.monotonic() + seconds
        while not is_ready():
            if not self.is_alive:
                raise StackError(f"{self.name} ended: {self.last_line()}; its log: {self.log}")
            if time.monotonic() > end:
                raise StackError(f"{self.name} isn't ready after {seconds:.0f} seconds; its log: {self.log}")
            time.sleep(0.2)

    def last_line(self) -> str:
        """Return the last line of the log that says something; Prefect's last ones, after a traceback, don't."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = (line.strip() for line in reversed(lines) if line.strip() not in _SAYS_NOTHING)
        return next(telling, "without a word")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` for one stack while the block runs. Raises StackError when another holds it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"a stack runs in this folder already; end it, or give --folder: {folder}") from error
        yield


def check_port(port: int, flag: str) -> None:
    """Raise StackError when somebody listens on `port` of this machine."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(f"port {port} is busy ({error.strerror}); choose another with {flag}") from error


def marked(mark: str, *, but: Collection[int] = ()) -> list[int]:
    """Return the ids of the processes that carry `mark`, without those in `but`; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
        except OSError:
            continue  # it has just ended, or belongs to somebody else
    return [one for one in found if one not in but]


def end_marked(mark: str, *, but: Collection[int] = (), seconds: float = 5) -> int:
    """End every process that carries `mark`, first by asking; return how many there were."""
    asked = _signal(marked(mark, but=but), signal.SIGTERM)
    end = time.monotonic() + seconds
    while marked(mark, but=but) and time.monotonic() < end:
        time.sleep(0.1)
    while left := marked(mark, but=but):
        _signal(left, signal.SIGKILL)
        time.sleep(0.05)
    return asked


def _signal(ids: list[int], number: signal.Signals) -> int:
    for process_id in ids:
        try:
            os.kill(process_id, number)
        except ProcessLookupError:
            continue
    return len(ids)
