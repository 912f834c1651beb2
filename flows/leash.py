"""Run a command in a process group of its own, and end the whole group when whoever started this is gone.

`python leash.py COMMAND …`: standard input is the leash, a pipe that its owner holds open and never writes to. The
system closes it when the owner dies, whatever it died of, so that no stage of the pipeline outlives its flow. The
group is asked to end first, so that a stage can leave its folder whole, and killed after a while. Imports nothing of
the project: it starts once a command.
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
    """Run a command; return its exit status, 128 plus the signal's number when a signal ended it."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    ending = threading.Event()
    gone = threading.Thread(target=_end_with_owner, args=(child, ending), daemon=True)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        ending.set()
        _signal(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, terminate)
    gone.start()
    status = child.wait()
    if ending.is_set():
        _end(child)  # the command has ended, what it started may not have
    return status if status >= 0 else 128 - status


def _end_with_owner(child: "subprocess.Popen[bytes]", ending: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ending.set()
    _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + GRACE_SECONDS
    alive = _signal(child, signal.SIGTERM)
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
