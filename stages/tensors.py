"""Open a file of weights as tensors and nothing else, check it by its name, and name what it holds by a hash.

Reads such files; leaves nothing. A pickle can run any program when it is opened, so none is opened as one.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from stages.checksums import sha256_of
from stages.errors import ChecksumError, ParamsError

# `resnet34-b627a593.pth`: torchvision, timm and others name a file by the beginning of its SHA-256.
_NAMED_BY_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
# torch's own: the first has `torch.load` open tensors alone, whatever its caller says; torch refuses both at once.
_FORCES = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": None}


def tensors_of(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a file that `train.weights` names; raises ParamsError where it holds anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ParamsError(f"params.yaml: train: weights: neither imagenet, none, nor a file: {path}") from error
    except IsADirectoryError as error:
        raise ParamsError(f"params.yaml: train: weights: a folder, not a file with weights: {path}") from error
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise ParamsError(f"params.yaml: train: weights: no readable weights in: {path}") from error
    if not isinstance(state, Mapping) or not all(_is_plain(*one) for one in state.items()):
        raise ParamsError(f"params.yaml: train: weights: expected a state dict, tensors by name and no more: {path}")
    return state


def _is_plain(name: object, value: object) -> bool:
    """Say whether this is a tensor by name whose bytes are its numbers, all of them: only of such there is a hash."""
    if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
        return False
    return not (value.is_meta or value.is_quantized or value.is_nested or value.is_conj() or value.is_neg())


@contextmanager
def nothing_but_tensors() -> Iterator[None]:
    """Have torch open no pickle as code in this block, also where a library asks it to, as torchvision does."""
    before = {name: os.environ.get(name) for name in _FORCES}
    _set(_FORCES)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def check_by_name(path: Path) -> None:
    """Raise ChecksumError where a file is there and its name begins the SHA-256 of other bytes.

    It isn't deleted: another process may just be reading it, and a person may want to know what it is.
    """
    named = _NAMED_BY_HASH.search(path.name)
    if named and path.is_file() and not (found := sha256_of(path)).startswith(named[1]):
        raise ChecksumError(
            f"weights that are not what their name says (sha256 {found}); delete the file, it comes anew by the next "
            f"download or installation: {path}"
        )


def sha256_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash over all names, types, shapes and bytes, the same whatever the file's kind and order."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()
