"""End a stage on Ctrl-C or a termination: at a place where no lock is held, and in any case.

Python runs a signal's handler between any two instructions of the main thread, also where that has just taken the lock
of a thread pool; nobody would ever give it back, and the pool's threads and whoever joins them would wait for ever.
Reads nothing; leaves nothing.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# Enough to remove what was half-written.
PATIENCE_SECONDS = 60


class _State:
    """What has come, and whether the main thread may be interrupted where it stands."""

    depth = 0
    waiting: int | None = None
    has_struck = False


def end_on_signals() -> None:
    """From now on raise KeyboardInterrupt on Ctrl-C and SystemExit on a termination, once.

    The second signal ends the process on the spot, and so does `PATIENCE_SECONDS` without an end.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _strike)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal that comes in the main thread within this block strike at its end."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if _State.waiting is not None and not _State.depth:
        _end(_State.waiting)


def _strike(number: int, _frame: FrameType | None) -> None:
    if _State.has_struck:
        os._exit(128 + number)
    _State.has_struck = True
    signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number))
    signal.alarm(PATIENCE_SECONDS)
    if _State.depth:
        _State.waiting = number
    else:
        _end(number)


def _end(number: int) -> NoReturn:
    _State.waiting = None
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
