"""Count what this process may use of its machine: processor cores, and threads.

Reads Linux's control groups and the environment; leaves OPENBLAS_NUM_THREADS in it. Imports no numpy, which begins its
threads as it is imported.
"""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath
from threading import Event, Thread

from stages.errors import NO_THREADS, ParamsError, ResourceError

_WANTED = "LOKY_MAX_CPU_COUNT"  # joblib's, which scikit-learn heeds too
_HEEDED_BY_OPENBLAS = {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"}
_OLDER = ("quota", "period")


def num_cores() -> int:
    """Return how many processor cores this process may use: fewer than there are under Slurm or in a container.

    What counts is its affinity, the time that Linux gives its control group, and LOKY_MAX_CPU_COUNT.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get(_WANTED, "").strip()
    if wanted and not (wanted.isdecimal() and int(wanted)):
        raise ParamsError(f"{_WANTED} must be a whole number from 1 up: {wanted}")
    return min(there, quota() or there, int(wanted or there))


def quota(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores' time Linux gives this process, rounded up; 0 where it has no limit.

    A container sees its own group as the root of `groups`; that of a systemd unit lies below it, at the path in `own`.
    The least of the limits on the way counts. petmodels/parallel.py does the same, and neither may import the other.
    """
    places = {place for line in _text(own).split("\n") for place in _on_the_way(line)}
    shares = [share for place in {PurePosixPath(), *places} for share in _shares(groups, place)]
    return ceil(min(shares, default=0))


def _on_the_way(line: str) -> tuple[PurePosixPath, ...]:
    """Return the group that a line such as `4:cpu,cpuacct:/a/b` names for the processor, and those that hold it."""
    kinds, _, path = line.partition(":")[2].partition(":")
    if kinds and "cpu" not in kinds.split(","):
        return ()
    group = PurePosixPath(path.lstrip("/"))
    return (group, *group.parents)


def _shares(groups: Path, place: PurePosixPath) -> Iterator[float]:
    older = groups / "cpu" / place
    for text in (_text(groups / place / "cpu.max"), " ".join(_text(older / f"cpu.cfs_{one}_us") for one in _OLDER)):
        numbers = text.split()
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):  # not "max 100000", or -1
            yield int(numbers[0]) / int(numbers[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def settle_threads() -> None:
    """Have numpy, when it comes, begin as many threads as there are cores for this process, not as the machine has.

    A number that is given already, by whichever name, stays.
    """
    number = num_cores()
    if not _HEEDED_BY_OPENBLAS & os.environ.keys():
        os.environ["OPENBLAS_NUM_THREADS"] = str(number)


def check_threads() -> None:
    """Raise ResourceError where what computes, numpy or torch, could not start its threads and as many for the work.

    OpenBLAS would interrupt the stage, as Ctrl-C does, and others end it in words of their own, or wait for ever.
    """
    number = num_cores()
    if not _lets_start(2 * number):
        raise ResourceError(f"{NO_THREADS} (cores: {number})")


def _lets_start(num_threads: int) -> bool:
    ended, started = Event(), list[Thread]()
    try:
        for _ in range(num_threads):
            thread = Thread(target=ended.wait, name="tried", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        ended.set()
        for thread in started:
            thread.join()
    return True
