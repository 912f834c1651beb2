"""Do one thing for many items in a few threads: transfers wait for the network, not for Python.

What computes instead of waiting gets no more threads than there are cores. Where the machine lets the process start no
more threads, those that it has go on, and with none the caller's does the work itself.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from math import ceil
from pathlib import Path, PurePosixPath
from threading import Event, Lock, Semaphore, Thread
from typing import TypeVar

from petmodels.errors import MachineError, RequestError
from petmodels.machine import NO_THREADS

THREADS = 8
_WANTED = "PETMODELS_THREADS"
_OLDER = ("quota", "period")
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
        num_started = _num_started([thread for thread, _ in workers])
        if workers and not num_started:
            workers[0][0].run()
        for _, future in workers[: max(num_started, 1)]:
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
    if not _num_started([thread]):
        thread.run()
        if isinstance(error := future.exception(), (KeyboardInterrupt, SystemExit)):
            raise error
    return future


class Pool(ThreadPoolExecutor):
    """A pool of threads that goes on with those it has where the machine lets it start no more.

    With none, MachineError is raised for what is given to it.
    """

    def _adjust_thread_count(self) -> None:
        for pause in (0.01, 0.1, 0):
            try:
                return super()._adjust_thread_count()
            except RuntimeError as error:
                if self._threads:
                    return None
                if not pause:
                    raise MachineError(NO_THREADS) from error
                time.sleep(pause)  # one that has just ended may count for an instant
        return None


def _num_started(threads: Sequence[Thread]) -> int:
    """Start threads, as many as this machine lets; return how many."""
    for number, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:
            return number
    return len(threads)


def _worker(action: Callable[[], Result], *, is_left_when_ended: bool) -> "tuple[Thread, Future[Result]]":
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    return Thread(target=work, name="transfer", daemon=is_left_when_ended), future


def lets_start(num_threads: int) -> bool:
    """Say whether this machine lets the process start that many threads more; they are started, and end."""
    ended = Event()
    threads = [Thread(target=ended.wait, name="tried", daemon=True) for _ in range(num_threads)]
    try:
        num_started = _num_started(threads)
    finally:
        ended.set()
    for thread in threads[:num_started]:
        thread.join()
    return num_started == num_threads


def turn() -> Semaphore:
    """Return what lets num_cores() threads of this process compute at once, whoever started them."""
    key = os.getpid(), os.environ.get(_WANTED)  # a forked child would wait for threads that it doesn't have
    return _turns.get(key) or _turns.setdefault(key, Semaphore(num_cores()))  # which reads files


def num_cores() -> int:
    """Return how many threads may compute: PETMODELS_THREADS, or the cores that this process, or its container, has."""
    from petmodels.storage import number_in  # which needs what hashes, in threads of this module

    if text := os.environ.get(_WANTED):
        wanted = number_in(_WANTED, 1, least=1)
        if wanted != int(wanted):
            raise RequestError(f"{_WANTED} must be a whole number: {text}")
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, quota() or cores)


def quota(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores' time Linux gives this process, rounded up; 0 where it has no limit.

    A container sees its own control group as the root of `groups`; that of a systemd unit lies below it, at the path in
    `own`. The least of the limits on the way counts.
    """
    places = {place for line in _text(own).split("\n") for place in _on_the_way(line)}
    shares = [share for place in {PurePosixPath(), *places} for share in _shares(groups, place)]
    return ceil(min(shares, default=0))


def _on_the_way(line: str) -> tuple[PurePosixPath, ...]:
    """Return the group that a line such as `4:cpu,cpuacct:/a/b` names for the processor, and those that hold it."""
    kinds, _, path = line.partition(":")[2].partition(":")
    if kinds and "cpu" not in kinds.split(","):
        return ()
    group = PurePosixPath(path.lstrip("/"))
    return (group, *group.parents)


def _shares(groups: Path, place: PurePosixPath) -> Iterator[float]:
    older = groups / "cpu" / place
    for text in (_text(groups / place / "cpu.max"), " ".join(_text(older / f"cpu.cfs_{one}_us") for one in _OLDER)):
        numbers = text.split()
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):  # not "max 100000", or -1
            yield int(numbers[0]) / int(numbers[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
