"""Bare torch loops beside which the stage train is measured, and the stage itself, all on the same network."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.outputs import read_csv as listed
from stages.train import TrainParams

Batches = Sequence[tuple[Tensor, Tensor]]


def training(params: TrainParams, prepared: Path, split: Path, folder: Path) -> Any:
    """Return the stage's Training, ready to run, with nothing kept of an earlier one."""
    from stages.training import Training

    found = {side: listed(split / f"{side}.csv") for side in ("train", "valid")}
    places = {name: folder / name for name in ("checkpoints", "features")}
    return Training(params, found, prepared=prepared, **places, out=folder / "train")


def batches(learn: Any) -> Batches:
    """Return an epoch of the learner's batches as plain tensors on its device."""
    return [(image.as_subclass(Tensor), label.as_subclass(Tensor)) for image, label in learn.dls.train]


def bare_epoch(model: nn.Module, data: Batches) -> None:
    """Train a copy of the network on the batches: forward, backward, a step of AdamW; bf16 on CUDA."""
    network = deepcopy(model).train()
    _steps(network, _adam(network), data)


def recorded_epoch(model: nn.Module, data: Batches) -> Callable[[], None]:
    """Return what does the same, with the passes of the copied network recorded as CUDA graphs beforehand."""
    network = deepcopy(model).train()
    image = data[0][0].to(memory_format=torch.channels_last)
    with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
        torch.cuda.make_graphed_callables(network, (image,))
    return partial(_steps, network, _adam(network), data)


def _adam(network: nn.Module) -> torch.optim.Optimizer:
    weights = list(network.parameters())
    return torch.optim.AdamW(weights, lr=1e-4, fused=weights[0].is_cuda)


def _steps(network: nn.Module, optimizer: torch.optim.Optimizer, data: Batches) -> None:
    for image, label in data:
        channels_last = image.to(memory_format=torch.channels_last)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=image.is_cuda):
            loss = nn.functional.cross_entropy(network(channels_last), label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    now()


def fastai_epoch(learn: Any, data: Batches) -> None:
    """Train the learner for an epoch on batches that are ready: what fastai itself costs."""
    from fastai.data.core import DataLoaders

    ready = learn.dls
    learn.dls = DataLoaders(_Ready(data), _Ready(data[:1]))
    try:
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-4)
    finally:
        learn.dls = ready


def now() -> float:
    """Return the time when a GPU has done all that it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class _Ready(list[tuple[Tensor, Tensor]]):
    """Batches in the form that a learner asks of a loader."""

    dataset: Sequence[Any] = ()
    device = None
    bs = 1
    n = 0
