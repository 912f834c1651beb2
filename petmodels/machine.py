"""The border to this machine's system: what it means to a person when it gives no more memory or threads.

Reads and leaves nothing. Also here: which systems petmodels runs on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from petmodels.errors import MachineError

LACKS_MEMORY = "this machine lacks the memory"
NO_THREADS = (
    "this machine lets the process start no more threads; raise its limit (ulimit -u, --pids-limit), or lower "
    "PETMODELS_THREADS"
)


@contextmanager
def memory_to(doing: str, culprit: str) -> Iterator[None]:
    """Turn a lack of memory in the block into MachineError; `doing` completes "this machine lacks the memory to …"."""
    try:
        yield
    except MemoryError as error:
        raise MachineError(f"{LACKS_MEMORY} to {doing}: {culprit}") from error


def check_system() -> None:
    """Raise MachineError where processes can't take turns, and what is held open can't be renamed: on Windows."""
    if find_spec("fcntl") is None:
        raise MachineError("petmodels runs on Linux and macOS; on Windows use WSL")
