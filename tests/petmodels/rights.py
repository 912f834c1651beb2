"""Be a user for whom a file's mode counts, in tests that root runs too."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# From linux/capability.h: the version of both calls, and the rights to pass over modes when writing and reading.
_VERSION_3, _PASSES_OVER_MODES = 0x20080522, 1 << 1 | 1 << 2


@contextmanager
def closed(path: Path, mode: int = 0) -> Iterator[None]:
    """Take the rights to a file or folder away, from root too."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with _as_any_user():
            yield
    finally:
        path.chmod(before)


@contextmanager
def _as_any_user() -> Iterator[None]:
    """Have this thread, and those that it starts, give up for a while what root may do with others' files."""
    if os.geteuid():
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root may read everything")
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits
    assert libc.capget(header, rights) == 0
    effective = rights[0]
    rights[0] = effective & ~_PASSES_OVER_MODES
    assert libc.capset(header, rights) == 0
    try:
        yield
    finally:
        rights[0] = effective
        assert libc.capset(header, rights) == 0
