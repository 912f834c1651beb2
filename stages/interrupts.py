"""End a stage on Ctrl-C or a termination, but not while its main thread holds what others wait for.

Python runs a signal's handler between any two instructions of the main thread, also where that has just taken the lock
of a thread pool; nobody would ever give it back, and the pool's threads and whoever joins them would wait for ever.
Reads nothing; leaves nothing.
"""

import atexit
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# Enough to remove what was half-written.
PATIENCE_SECONDS = 60
# A signal that comes in the instant in which the main thread begins to wait for another one wakes it no more. So it is
# woken now and then, and Python runs what is due.
TICK_SECONDS = 1.0
# What forwards a terminal's Ctrl-C doubles it; nobody presses it twice so fast.
AGAIN_SECONDS = 1.0


class _State:
    """What has come and when, and whether the main thread may be interrupted where it stands."""

    name = ""
    depth = 0
    waiting: int | None = None
    struck: float | None = None


def end_on_signals(name: str) -> None:
    """From now on raise KeyboardInterrupt on Ctrl-C, unless it was ignored, and SystemExit on a termination, once.

    When `PATIENCE_SECONDS` later the stage `name` has still not ended, or Ctrl-C is pressed again, the process ends
    where it stands, as soon as Python runs.
    """
    _State.name = name
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is in the background of a shell's script
            signal.signal(number, _strike)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal that comes in the main thread within this block strike at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if _State.waiting is not None and not _State.depth:
            _end(_State.waiting)


def _strike(number: int, _frame: FrameType | None) -> None:
    if _State.struck is not None:
        # Whoever terminates twice can kill, too; and one who does it to a whole group may do it twice at once.
        if number == signal.SIGINT and time.monotonic() > _State.struck + AGAIN_SECONDS:
            _give_up(number)
        return
    _State.struck = time.monotonic()
    end = _State.struck + PATIENCE_SECONDS
    signal.signal(signal.SIGALRM, lambda *_: _give_up(number) if time.monotonic() > end else None)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    atexit.register(_tick_no_more, end)
    if _State.depth:
        _State.waiting = number
    else:
        _end(number)


def _end(number: int) -> NoReturn:
    _State.waiting = None
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _tick_no_more(end: float) -> None:
    """Let the last signal alone come: at its very end Python handles none, and each would kill the process."""
    signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), TICK_SECONDS))


def _give_up(number: int) -> NoReturn:
    os.write(2, f"{_State.name}: ended where it stood; go on with: dvc repro\n".encode())
    os._exit(128 + number)
