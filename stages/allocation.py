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

    As it comes, glibc asks the system for each block above 32 MB and returns it at once, as the activations of most
    layers are, and the system clears each of their pages every time. On two cores that was more than half of a
    fine-tuning step and two thirds of a network's answer in torch; the price is about a quarter more memory. Without
    glibc, and where the environment says how malloc shall work (MALLOC_…, GLIBC_TUNABLES), nothing is changed.
    """
    is_told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if device.type != "cpu" or is_told or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
