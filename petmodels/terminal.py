"""How the command line speaks: data on stdout, talk on stderr, a bar on a terminal and plain lines elsewhere."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from petmodels.hashing import Progress
from petmodels.names import steers

_EVERY_SECONDS = 10.0


def say(text: str) -> None:
    """Print a line of talk."""
    print(_printable(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a line of data."""
    print(_printable(text), flush=True)


def show_json(content: Any) -> None:
    """Print data as JSON that a person can read too."""
    print(json_text(content, indent=2, allow_nan=False, default=str), flush=True)


def json_text(content: Any, **options: Any) -> str:
    r"""Return data as JSON that keeps letters as they are, and escapes what must not reach a terminal as `\uXXXX`.

    `options` are those of json.dumps.
    """
    # A line end is an indentation's: those in strings are escaped already.
    return escaped(json.dumps(content, ensure_ascii=False, **options), keep="\n")


def escaped(text: str, *, keep: str = "\t") -> str:
    r"""Return the text with `\uXXXX` for what steers a terminal, but for the characters to keep."""
    return "".join(json.dumps(one)[1:-1] if steers(one) and one not in keep else one for one in text)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below a header, columns aligned by spaces; nothing but the header when there are no rows."""
    lines = [[_printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), flush=True)


def size_text(num_bytes: int) -> str:
    """Return a size as people read it: 312 B, 14.2 MB (of a million bytes)."""
    if num_bytes < 1000:
        return f"{num_bytes} B"
    for factor, unit in ((10**3, "kB"), (10**6, "MB"), (10**9, "GB")):
        if num_bytes < 999.95 * factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes / 10**12:.1f} TB"


def counted(number: int, noun: str) -> str:
    """Return a number of things as people say it: 1 version, 2 versions."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def progress(what: str, *, is_quiet: bool = False) -> Iterator[Progress]:
    """Yield a function to be told of each number of bytes that was moved."""
    if is_quiet:
        yield lambda _num_bytes: None
    elif sys.stderr.isatty():
        with _bar(what) as told:
            yield told
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda num_bytes: bar.advance(task, num_bytes)


def _lines(what: str) -> Progress:
    moved, last = 0, time.monotonic()

    def told(num_bytes: int) -> None:
        nonlocal moved, last
        moved += num_bytes
        if time.monotonic() - last > _EVERY_SECONDS:
            last = time.monotonic()
            say(f"{what}: {size_text(moved)}")

    return told


def _printable(text: str) -> str:
    """Return the text without control characters: what strangers wrote must not steer somebody's terminal."""
    return "".join(one if one.isprintable() or one == "\t" else "\N{REPLACEMENT CHARACTER}" for one in text)
