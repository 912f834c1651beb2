"""Do one thing for many items on all cores, with answers in order.

Threads, not processes: Pillow, numpy and hashlib work outside the interpreter's lock, and nothing is left behind when
the stage is killed. Reads nothing; leaves nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from stages.interrupts import held_back

Item = TypeVar("Item")
Result = TypeVar("Result")
# Enough that a large picture keeps no core waiting for its turn; what is held are answers.
AHEAD = 256


def num_cores() -> int:
    """Return how many processor cores this process may use: fewer than there are under Slurm or in a container.

    What counts is its affinity, the time that Linux gives its container (rounded up to cores), and LOKY_MAX_CPU_COUNT.
    """
    from joblib import cpu_count  # not above: a stage that waits for the network needs none of it

    found: int = cpu_count()
    return found


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
