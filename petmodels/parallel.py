"""Do one thing for many items in a few threads: transfers wait for the network, not for Python.

What computes instead of waiting gets no more threads than there are cores.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from math import ceil
from pathlib import Path
from threading import Lock, Semaphore, Thread
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


def at_once(
    action: Callable[[Item], Result], items: Iterable[Item], *, is_left_when_ended: bool = False
) -> list[Result]:
    """Return what `action` gives for each item, in order; the first failure stops what has not begun and is raised.

    When a signal ends this thread, what is under way is waited for, unless `is_left_when_ended`: then it goes on in
    threads that keep no process from ending.
    """
    todo, done, failures = deque(enumerate(items)), dict[int, Result](), list[BaseException]()
    work = partial(_work_off, action, todo, done, failures)
    workers = [_worker(work, is_left_when_ended=is_left_when_ended) for _ in range(min(THREADS, len(todo)))]
    try:
        for thread, _ in workers:
            thread.start()
        for _, future in workers:
            future.result()  # not the thread's join: a handler that raises has that take the thread for ended
    except BaseException as error:
        failures.append(error)  # now no thread begins anything more
        wait([future for thread, future in workers if thread.ident and not is_left_when_ended])
        raise
    if failures:
        raise failures[0]
    return [done[place] for place in range(len(done))]


def _work_off(
    action: Callable[[Item], Result],
    todo: deque[tuple[int, Item]],
    done: dict[int, Result],
    failures: list[BaseException],
) -> None:
    while todo and not failures:
        try:
            place, item = todo.popleft()
        except IndexError:  # another thread was quicker
            return
        try:
            done[place] = action(item)
        except BaseException as error:
            failures.append(error)


def begun(action: Callable[[], Result]) -> "Future[Result]":
    """Begin something in a thread of its own, which keeps no process from ending, as a pool's would."""
    thread, future = _worker(action, is_left_when_ended=True)
    thread.start()
    return future


def _worker(action: Callable[[], Result], *, is_left_when_ended: bool) -> "tuple[Thread, Future[Result]]":
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    return Thread(target=work, name="transfer", daemon=is_left_when_ended), future


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
