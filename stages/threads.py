"""Do one thing for many items on all cores, or in threads that wait for the network, with answers in order.

Threads, not processes: Pillow, numpy and hashlib work outside the interpreter's lock, and nothing is left behind when
the stage is killed. Also here: what all of them together may take of something. Reads nothing; leaves nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Condition, Lock, Thread
from typing import TypeVar

from stages.cores import num_cores
from stages.interrupts import held_back

Item = TypeVar("Item")
Result = TypeVar("Result")
_Jobs = SimpleQueue[tuple[Future[Result], Item] | None]
# Enough that a large picture keeps no core waiting for its turn; what is held are answers.
AHEAD = 256
NUM_WAITING = 8
AHEAD_OF_WAITING = 32


@contextmanager
def in_threads(
    action: Callable[[Item], Result], items: Iterable[Item], *, ahead: int = AHEAD
) -> Iterator[Iterator[Result]]:
    """Give what `action` returns for each item, in order, or raise what it raises.

    Up to `ahead` items are done or being done before their answer is asked for. On leaving, what runs is waited for
    and what has not begun is given up.
    """
    with held_back():
        pool = ThreadPoolExecutor(num_cores())
    try:
        yield _answers(pool, action, items, ahead)
    finally:
        with held_back():
            pool.shutdown(cancel_futures=True)


def _answers(
    pool: ThreadPoolExecutor, action: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    coming: deque[Future[Result]] = deque()
    for item in items:
        with held_back():
            coming.append(pool.submit(action, item))
        if len(coming) > ahead:
            yield _answer(coming.popleft())
    while coming:
        yield _answer(coming.popleft())


def _answer(future: Future[Result]) -> Result:
    with held_back():
        return future.result()


@contextmanager
def in_waiting_threads(action: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Iterator[Result]]:
    """Give what `action`, which waits for others, returns for each item, in order, or raise what it raises.

    `NUM_WAITING` threads are at most `AHEAD_OF_WAITING` items ahead. On leaving nothing is waited for: what has not
    begun is given up, and what runs goes on in threads that keep no process from ending, as a pool's would.
    """
    jobs: _Jobs[Result, Item] = SimpleQueue()
    threads = [Thread(target=_work_off, args=(action, jobs), daemon=True) for _ in range(NUM_WAITING)]
    try:
        with held_back():
            for thread in threads:
                thread.start()
        yield _answers_of(jobs, items)
    finally:
        with suppress(Empty):
            while True:
                jobs.get_nowait()
        for _ in threads:
            jobs.put(None)


def _answers_of(jobs: "_Jobs[Result, Item]", items: Iterable[Item]) -> Iterator[Result]:
    coming: deque[Future[Result]] = deque()
    for item in items:
        coming.append(Future())
        jobs.put((coming[-1], item))
        if len(coming) > AHEAD_OF_WAITING:
            yield coming.popleft().result()  # not held back: a signal ends the wait for a server
    while coming:
        yield coming.popleft().result()


def _work_off(action: Callable[[Item], Result], jobs: "_Jobs[Result, Item]") -> None:
    while job := jobs.get():
        future, item = job
        try:
            future.set_result(action(item))
        except BaseException as error:
            future.set_exception(error)


class Room:
    """As much of something as all threads of this process may hold together, such as pixels in memory."""

    def __init__(self, size: int) -> None:
        self._size, self._taken, self._changed = size, 0, Condition()
        self._turn = Lock()  # without it who asks last overtakes those that wait, for as long as there is work

    @contextmanager
    def holding(self, amount: int) -> Iterator[None]:
        """Wait until there is room for `amount`, and hold it in the block; more than the whole is held alone."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + amount <= self._size)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()
