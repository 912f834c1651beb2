"""Name the device that networks run on.

Reads what this machine has; leaves nothing.
"""

import torch

from stages.errors import ParamsError


def device_named(name: str) -> torch.device:
    """Return the device, for `auto` the best of CUDA, MPS and CPU that is there."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def checked_device(name: str, precision: str) -> torch.device:
    """Return the device that training shall run on, in the precision that is wished for.

    Raises ParamsError where this machine lacks the device, or the device the precision.
    """
    device = device_named(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ParamsError("params.yaml: train: device: no CUDA on this machine; use auto or cpu: cuda")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ParamsError("params.yaml: train: device: no MPS on this machine; use auto or cpu: mps")
    if device.type != "cuda" and precision in {"bf16", "fp16"}:
        raise ParamsError(
            f"params.yaml: train: mixed_precision: needs a CUDA device, this is {device.type}; use auto or none: "
            f"{precision}"
        )
    return device
