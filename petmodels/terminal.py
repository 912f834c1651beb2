"""How the command line speaks: data on stdout, talk on stderr, whatever these two can show."""

import codecs
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO
from unicodedata import bidirectional

from petmodels.names import steers

_FROM_THE_RIGHT = {"R", "AL", "AN"}  # Hebrew and its like, Arabic and its like, Arabic digits


def say(text: str) -> None:
    """Print a line of talk; where nobody takes it, it is lost, and what was done stays done."""
    try:
        print(_printable(text), file=sys.stderr, flush=True)
    except OSError:
        lead_nowhere(sys.stderr)


def show(text: str) -> None:
    """Print a line of data."""
    print(_printable(text), flush=True)


def show_parts(parts: Iterable[str]) -> None:
    """Print a line of data from its parts; on a terminal, none that is written from right to left moves the others."""
    print("".join(_set_apart(part) for part in parts), flush=True)


def show_path(path: Path) -> None:
    """Print a path's own bytes, whatever they are, for the program that is given it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()


def show_json(content: Any) -> None:
    """Print data as JSON that a person can read too."""
    print(json_text(content, indent=2, allow_nan=False, default=str), flush=True)


def json_text(content: Any, **options: Any) -> str:
    r"""Return data as JSON that keeps letters as they are, and escapes what must not reach a terminal as `\uXXXX`.

    So are all letters where stdout takes no UTF-8. `options` are those of json.dumps.
    """
    # A line end is an indentation's: those in strings are escaped already.
    return escaped(json.dumps(content, ensure_ascii=not _takes_utf_8(sys.stdout), **options), keep="\n")


def escaped(text: str, *, keep: str = "\t") -> str:
    r"""Return the text with `\uXXXX` for what steers a terminal, but for the characters to keep."""
    return "".join(json.dumps(one)[1:-1] if steers(one) and one not in keep else one for one in text)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below a header, columns aligned by spaces; nothing but the header when there are no rows."""
    from rich.cells import cell_len  # a 猫 takes two cells, a joiner none

    lines = [[_printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (_set_apart(cell) + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip(), flush=True)


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


def lead_nowhere(stream: TextIO | None) -> None:
    """Keep Python from trying once more, at its end, to write what could not be written."""
    if stream:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _takes_utf_8(stream: TextIO) -> bool:
    return codecs.lookup(stream.encoding or "ascii").name == "utf-8"


def _printable(text: str) -> str:
    """Return the text without what steers: what strangers wrote must not do so with somebody's terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if steers(one) and one != "\t" else one for one in text)


def _set_apart(text: str) -> str:
    """Return the text printable, and for a terminal as Unicode isolates what has a direction of its own.

    Otherwise the numbers between two such labels stand beside the wrong one. Programs get no such characters.
    """
    shown = _printable(text)
    if shown.isascii() or all(bidirectional(one) not in _FROM_THE_RIGHT for one in shown):
        return shown
    return f"\u2068{shown}\u2069" if sys.stdout.isatty() and _takes_utf_8(sys.stdout) else shown
