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
from contextlib import suppress
from types import FrameType

GRACE_SECONDS = 10.0


def main(command: list[str]) -> int:
    """Run a command; return its exit status, 128 plus the signal's number when a signal ended it."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    gone = threading.Thread(target=_end_with_owner, args=(child,), daemon=True)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        _end(child)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, terminate)
    gone.start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _end_with_owner(child: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1024):
        pass
    _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    _signal(child, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    _signal(child, signal.SIGKILL)  # also what the command itself left behind


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
