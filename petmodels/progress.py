"""How far a transfer is: a bar on a terminal, plain lines now and then elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from petmodels.hashing import Progress
from petmodels.terminal import say, size_text

_EVERY_SECONDS = 10.0


@contextmanager
def progress(what: str, *, total: int | None = None, is_quiet: bool = False) -> Iterator[Progress]:
    """Yield a function to be told of each number of bytes that was moved, of `total` where that is known."""
    if is_quiet:
        yield lambda _num_bytes: None
    elif sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:  # as rich calls them
        with _bar(what, total) as told:
            yield told
    else:
        yield _lines(what, total)


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda num_bytes: bar.advance(task, num_bytes)


def _lines(what: str, total: int | None) -> Progress:
    moved, last = 0, time.monotonic()
    of_all = f" of {size_text(total)}" if total is not None else ""

    def told(num_bytes: int) -> None:
        nonlocal moved, last
        moved += num_bytes
        if time.monotonic() - last > _EVERY_SECONDS:
            last = time.monotonic()
            say(f"{what}: {size_text(moved)}{of_all}")

    return told
