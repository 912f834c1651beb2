"""Measure what the README promises and write docs/benchmarks.md: `python -m tests.benchmarks [subject …]`.

A subject that isn't named keeps its section. Exits with 1 when a target was missed. See `tests.benchmarks.measure`.
"""

import argparse
import importlib
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from tests.benchmarks.measure import REPEATS, Row, machine

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`, or `python -m tests.benchmarks SUBJECT` for one section. Contenders run in turns, forwards
and backwards; figures are medians (with the lowest and highest) after one round that doesn't count.
"""


def subjects() -> dict[str, ModuleType]:
    """Return the modules that measure something, by subject."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    return {name: importlib.import_module(f"tests.benchmarks.bench_{name}") for name in names}


def section(module: ModuleType, rows: list[Row], repeats: int) -> str:
    """Return a subject's part of the page."""
    about = " ".join((module.__doc__ or "").split("\n\n")[0].split())
    marks = {True: "yes", False: "**no**", None: ""}
    lines = [f"| {row.what} | {row.figure} | {row.target} | {marks[row.held]} |" for row in rows]
    table = "\n".join(["| what | figure | target | reached |", "|---|---|---|---|", *lines])
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}, {repeats} rounds: {machine()}."
    return f"## {module.TITLE}\n\n{about}\n\n{table}\n\n{when}\n"


def sections_in(page: str, known: list[str]) -> dict[str, str]:
    """Return the sections of a page by subject; one whose subject is gone is left out."""
    parts = page.split("<!-- subject ")[1:]
    found = {part.partition(" -->")[0]: part.partition(" -->\n")[2].strip() + "\n" for part in parts}
    return {name: found[name] for name in known if name in found}


def measure(name: str, module: ModuleType, repeats: int) -> list[Row]:
    """Return a subject's rows, and print them as they are."""
    print(f"{name}: measuring", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        rows: list[Row] = module.rows(Path(folder), repeats)
    for row in rows:
        mark = {True: "reached", False: "MISSED", None: ""}[row.held]
        print(f"{row.what}: {row.figure}  {row.target}  {mark}".rstrip(), flush=True)
    return rows


def main() -> int:
    """Measure the subjects that were named, or all, and write the page."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # of the peers' loops, too
    known = subjects()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure and write the page.")
    parser.add_argument("subjects", nargs="*", metavar="subject", help=f"one of: {', '.join(known)}")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="rounds that count (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default: docs/benchmarks.md)")
    given = parser.parse_args()
    if odd := set(given.subjects) - set(known):
        parser.error(f"no subject {', '.join(sorted(odd))}; there are: {', '.join(known)}")
    missed = 0
    for name in given.subjects or known:
        rows = measure(name, known[name], given.repeats)
        missed += sum(row.held is False for row in rows)
        page = given.output.read_text(encoding="utf-8") if given.output.exists() else ""
        parts = {**sections_in(page, list(known)), name: section(known[name], rows, given.repeats)}
        text = "\n".join(f"<!-- subject {one} -->\n{parts[one]}" for one in known if one in parts)
        given.output.write_text(f"{HEAD}\n{text}", encoding="utf-8")
    print(f"{missed} targets missed; written: {given.output}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
