"""How the benchmarks measure: contenders in turns, medians, whole processes with their memory, and rows for a table.

A subject is a module `tests/benchmarks/bench_<subject>.py` with `TITLE`, a docstring whose first paragraph stands above
its table, and `rows(folder, repeats)`, which returns Rows; `folder` is empty and its own. Nothing else is to be done:
`python -m tests.benchmarks` finds it.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

REPEATS = 5
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table: what was measured, what came out, what was wished for, and whether it was reached.

    `held` is None where nothing was promised.
    """

    what: str
    figure: str
    target: str = ""
    held: bool | None = None


@dataclass(frozen=True)
class Contender:
    """What is to be timed, and what must be done before each time without being timed."""

    action: Callable[[], object]
    prepare: Callable[[], object] | None = None


@dataclass(frozen=True)
class Finished:
    """A process that ended with 0: how long it took from start to end, the most memory it held at once, what it said.

    The memory is 0 unless it was asked for: the system's own figure for a child is at least what its parent held.
    """

    seconds: float
    peak_bytes: int
    output: bytes


def in_turns(contenders: Mapping[str, Contender], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Return the seconds of each contender, `repeats` of them after one that doesn't count.

    All run in each round, forwards and backwards in turn, so that a machine that grows slower does so for all.
    """
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(repeats + 1):
        for name in list(contenders) if number % 2 else reversed(list(contenders)):
            found = _seconds(contenders[name])
            if number:
                samples[name].append(found)
    return samples


def run(
    command: Sequence[object],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    with_peak: bool = False,
) -> Finished:
    """Run a process to its end; raise CalledProcessError, with what it said, when it fails.

    `with_peak` looks at the process's memory every few milliseconds; its seconds should then not be compared.
    """
    words = [str(word) for word in command]
    merged = {**os.environ, **(environment or {})}
    began, peak_bytes = time.perf_counter(), 0
    with subprocess.Popen(words, env=merged, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while with_peak and process.poll() is None:
            peak_bytes = max(peak_bytes, _peak_bytes(process.pid))
            time.sleep(0.003)
        output, _ = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode:
        error = subprocess.CalledProcessError(process.returncode, words)
        error.add_note(output.decode(errors="replace")[-2000:])
        raise error
    return Finished(seconds, peak_bytes, output)


def limit_row(what: str, samples: Sequence[float], limit_seconds: float) -> Row:
    """Return the row that says whether the median stays within a limit of seconds."""
    target = f"≤ {seconds_text(limit_seconds)}"
    return Row(what=what, figure=samples_text(samples), target=target, held=statistics.median(samples) <= limit_seconds)


def ratio_rows(what: str, samples: Mapping[str, Sequence[float]], ours: str, at_least: float) -> list[Row]:
    """Return a row a contender; ours also says its speed over that of the fastest other one, 1 when equally fast."""
    medians = {name: statistics.median(found) for name, found in samples.items()}
    others = {name: median for name, median in medians.items() if name != ours}
    rows = [Row(what=f"{what}: {name}", figure=samples_text(samples[name])) for name in others]
    if not others:
        return [Row(what=f"{what}: {ours}", figure=samples_text(samples[ours]), target="no peer was found")]
    fastest = min(others, key=lambda name: others[name])
    ratio = others[fastest] / medians[ours]
    figure = f"{samples_text(samples[ours])}, {ratio:.2f} × {fastest}"
    return [Row(what=f"{what}: {ours}", figure=figure, target=f"≥ {at_least:.3g} ×", held=ratio >= at_least), *rows]


def samples_text(samples: Sequence[float]) -> str:
    """Return the median and the range as people read them: 0.31 s (0.30 to 0.35)."""
    low, high = seconds_text(min(samples)).removesuffix(" s"), seconds_text(max(samples)).removesuffix(" s")
    return f"{seconds_text(statistics.median(samples))} ({low} to {high})"


def seconds_text(seconds: float) -> str:
    """Return seconds with three digits that count."""
    return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def machine() -> str:
    """Return in one line what the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("botocore", "numpy", "pillow", "torch", "onnxruntime"))
    system = f"{platform.system()} {platform.release()}"
    processors = f"{_gpu()}{_processor()}, {cores} cores"
    return f"{processors}, {memory:.0f} GiB; {system}; Python {platform.python_version()}; {packages}"


def _gpu() -> str:
    """Return the name of the GPU, with a separator, if torch has been imported and sees one."""
    torch = sys.modules.get("torch")
    return f"{torch.cuda.get_device_name()}, " if torch is not None and torch.cuda.is_available() else ""


def _seconds(contender: Contender) -> float:
    if contender.prepare:
        contender.prepare()
    began = time.perf_counter()
    contender.action()
    return time.perf_counter() - began


def _peak_bytes(process: int) -> int:
    """Return the most memory that a process has held so far, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
