"""Keep the memory that a network's layers give back for the next ones.

Reads nothing; leaves nothing.
"""

import ctypes
import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# In glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory(device: "torch.device") -> None:
    """Where networks run on the CPU, let malloc serve large blocks from its heap and give none back; see mallopt(3).

    As it comes, glibc asks the system for each block above 32 MB, which the activations of most layers are, and returns
    it at once, so that the system clears all of their pages again and again. On two cores that was two thirds of a
    fine-tuning step, and of an answer in torch; the price is a quarter to a half more memory. Without glibc, and where
    the environment says how malloc shall do this (MALLOC_MMAP_MAX_ and its like), nothing is changed.
    """
    told = " ".join([*os.environ, os.environ.get("GLIBC_TUNABLES", "")])
    is_told = any(name in told for name in ("MALLOC_MMAP_", "MALLOC_TRIM_", "malloc.mmap_", "malloc.trim_"))
    if device.type != "cpu" or is_told or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
