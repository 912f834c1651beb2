"""Do one thing for many items in a few threads: transfers wait for the network, not for Python.

What computes instead of waiting gets no more threads than there are cores.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from threading import Lock, Semaphore
from typing import TypeVar

from petmodels.errors import RequestError
from petmodels.storage import number_in

THREADS = 8
_WANTED = "PETMODELS_THREADS"
Item = TypeVar("Item")
Result = TypeVar("Result")
_locks: dict[int, Lock] = {}
_turns: dict[tuple[int, str | None], Semaphore] = {}


def process_lock() -> Lock:
    """Return a lock of this process, for what it makes once: a forked child inherits one as somebody else holds it."""
    return _locks.setdefault(os.getpid(), Lock())


def at_once(action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `action` gives for each item, in order; the first failure stops what has not begun and is raised."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(action, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def turn() -> Semaphore:
    """Return what lets num_cores() threads of this process compute at once, whoever started them."""
    key = os.getpid(), os.environ.get(_WANTED)  # a forked child would wait for threads that it doesn't have
    return _turns.get(key) or _turns.setdefault(key, Semaphore(num_cores()))  # which reads files


def num_cores() -> int:
    """Return how many threads may compute: PETMODELS_THREADS, or the cores that this process, or its container, has."""
    if text := os.environ.get(_WANTED):
        wanted = number_in(_WANTED, 1, least=1)
        if wanted != int(wanted):
            raise RequestError(f"{_WANTED} must be a whole number: {text}")
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, quota() or cores)


def quota(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores' time Linux gives the control group of a container, rounded up; 0 where it has no limit."""
    numbers = _words(group / "cpu.max") or [
        word for name in ("cfs_quota_us", "cfs_period_us") for word in _words(group / f"cpu/cpu.{name}")
    ]
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):  # such as "max 100000", or -1
        return 0
    allowed, period = map(int, numbers)
    return ceil(allowed / period)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
