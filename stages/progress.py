"""Show how far a long loop has come: a bar on a terminal, elsewhere a line now and then.

Reads nothing; leaves nothing but what it says on stderr, and stops for nothing that can't be said there.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

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


@contextmanager
def heard_or_not() -> Iterator[None]:
    """Let no line of talk fail in the block because stderr is closed, its disk is full, or its reader has left."""
    before: TextIO | None = sys.stderr
    stream = Path(os.devnull).open("w", encoding="utf-8") if before is None else before  # noqa: SIM115 - for the process
    sys.stderr = _Talk(stream)
    try:
        yield
    finally:
        sys.stderr = stream


class _Talk:
    """A stream whose lines are lost from the first on that nobody takes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """Lead what is still to come nowhere; else Python would try again at its end, and fail with another status."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
