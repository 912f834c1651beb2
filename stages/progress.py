"""Show how far a long loop has come: a bar on a terminal, elsewhere a line now and then.

Reads nothing; leaves nothing but what it says on stderr.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

REPORT_SECONDS = 10.0


def counted(items: Iterable[Item], total: int, name: str) -> Iterator[Item]:
    """Yield the items and say, in the name of a stage, how many of `total` are done."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=name, leave=False)
        return
    last_line = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        if time.monotonic() >= last_line + REPORT_SECONDS:
            last_line = time.monotonic()
            print(f"{name}: {number} of {total}", file=sys.stderr, flush=True)
