"""Do one thing for many items in a few threads: transfers wait for the network, not for Python.

What computes instead of waiting gets no more threads than there are cores.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `action` gives for each item, in order; the first failure stops what has not begun and is raised."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(action, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def num_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
