"""What layers give back is there for the next ones: the system clears its pages once, not for each of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="not glibc's malloc")]

NUM_PAGES = 100 * 2**20 // os.sysconf("SC_PAGE_SIZE")  # of one block
BLOCKS = """
import resource, sys, torch
if "keep" in sys.argv:
    from stages.allocation import keep_freed_memory
    keep_freed_memory(torch.device("cpu"))
for _ in range(20):  # some of the first ones miss a freed place by a few bytes
    torch.ones(25 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(25 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_cleared(*arguments: str, **environment: str) -> int:
    """Return how many pages the system hands to ten blocks of 100 MiB, of which each takes the last one's place."""
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-W", "ignore", "-c", BLOCKS, *arguments]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=clean | environment, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def test_a_block_that_was_given_back_is_used_again() -> None:
    assert pages_cleared() >= 10 * NUM_PAGES
    assert pages_cleared("keep") < NUM_PAGES


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_MMAP_MAX_", "65536"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=65536")]
)
def test_who_tells_malloc_how_to_work_is_obeyed(name: str, value: str) -> None:
    assert pages_cleared("keep", **{name: value}) >= 10 * NUM_PAGES


def test_who_tells_it_something_else_gets_the_same() -> None:
    assert pages_cleared("keep", MALLOC_ARENA_MAX="2") < NUM_PAGES
