"""Name the device that networks run on, and keep torch to the cores that are this process's own.

Reads what this machine has; leaves nothing.
"""

import re
import sys

import torch

from stages.cores import num_cores
from stages.errors import ParamsError


def keep_to_own_cores() -> None:
    """Have torch compute with no more threads than there are cores for this process.

    By itself it takes one for each core that it sees, which in a container with a limit are all of the machine's: they
    use the container's time up while they wait for each other.
    """
    if torch.get_num_threads() > num_cores():
        torch.set_num_threads(num_cores())


def device_named(name: str) -> torch.device:
    """Return the device, for `auto` the best of CUDA, MPS and CPU that is there and that torch can use."""
    if name != "auto":
        return torch.device(name)
    missing = missing_cuda()
    if not missing:
        return torch.device("cuda")
    if torch.cuda.device_count():
        print(f"the GPU can't be used: {missing}", file=sys.stderr)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def missing_cuda() -> str:
    """Return why CUDA can't be used on this machine, "" where it can."""
    if not torch.cuda.is_available():
        # The driver counts its cards even for a torch that is too new for it.
        too_old = f"its driver is too old for torch {torch.__version__}, made for CUDA {torch.version.cuda}"
        return too_old if torch.cuda.device_count() else "no CUDA on this machine"
    made_for = [int(found[1]) for name in torch.cuda.get_arch_list() if (found := re.match(r"sm_(\d+)", name))]
    major, minor = torch.cuda.get_device_capability()
    if made_for and 10 * major + minor < min(made_for):
        oldest = "{}.{}".format(*divmod(min(made_for), 10))
        return f"torch {torch.__version__} has code from compute capability {oldest} on, this card has {major}.{minor}"
    return ""


def checked_device(name: str, precision: str) -> torch.device:
    """Return the device that training shall run on, in the precision that is wished for.

    Raises ParamsError where this machine lacks the device, or the device the precision.
    """
    device = device_named(name)
    if device.type == "cuda" and (missing := missing_cuda()):
        raise ParamsError(f"params.yaml: train: device: {missing}; use auto or cpu: cuda")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ParamsError("params.yaml: train: device: no MPS on this machine; use auto or cpu: mps")
    if device.type != "cuda" and precision in {"bf16", "fp16"}:
        raise ParamsError(
            f"params.yaml: train: mixed_precision: needs a CUDA device, this is {device.type}; use auto or none: "
            f"{precision}"
        )
    return device


def precision(wanted: str, device: torch.device) -> str:
    """Return the precision of training on this device, for `auto` bf16 on a GPU that computes in it, else none.

    An older GPU emulates it, and takes longer than in whole floats.
    """
    if wanted != "auto":
        return wanted
    is_quick = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if is_quick else "none"
