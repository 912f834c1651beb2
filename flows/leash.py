"""Run a command in a process group of its own, and end the whole group with it, or with whoever started this.

`python leash.py [--stdin=N] COMMAND …`: standard input is the leash, a pipe that its owner holds open and never writes
to. The system closes it when the owner dies, whatever it died of, so that no stage of the pipeline outlives its flow.
The group is asked to end first, so that a stage can leave its folder whole, and killed after a while. Imports nothing
of the project: it starts once a command.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

GRACE_SECONDS = 10.0


def main(command: list[str]) -> int:
    """Run a command; return its exit status, 128 plus the signal's number when a signal ended it.

    With `--stdin=N` before it, it reads from that descriptor instead of from nothing.
    """
    stdin = subprocess.DEVNULL
    if command[0].startswith("--stdin="):
        stdin = int(command.pop(0).removeprefix("--stdin="))
    child = subprocess.Popen(command, stdin=stdin, start_new_session=True)
    if stdin >= 0:
        os.close(stdin)
    asked = threading.Lock()
    gone = threading.Thread(target=_end_with_owner, args=(child, asked), daemon=True)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        _ask(child, asked)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, terminate)
    gone.start()
    status = child.wait()
    _end(child, asked)  # the command has ended, what it started may not have: it may have been killed
    return status if status >= 0 else 128 - status


def _end_with_owner(child: "subprocess.Popen[bytes]", asked: threading.Lock) -> None:
    while os.read(0, 1024):
        pass
    _end(child, asked)


def _ask(child: "subprocess.Popen[bytes]", asked: threading.Lock) -> None:
    """Ask the group to end, once, for some take a second time for impatience; a lock that nobody waits for says so."""
    if asked.acquire(blocking=False):
        _signal(child, signal.SIGTERM)


def _end(child: "subprocess.Popen[bytes]", asked: threading.Lock) -> None:
    _ask(child, asked)
    end = time.monotonic() + GRACE_SECONDS
    alive = _signal(child, 0)
    while alive and time.monotonic() < end:
        time.sleep(0.05)
        child.poll()
        alive = _signal(child, 0)
    _signal(child, signal.SIGKILL)


def _signal(child: "subprocess.Popen[bytes]", number: int) -> bool:
    """Send a signal to the whole group; say whether anybody was there."""
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
