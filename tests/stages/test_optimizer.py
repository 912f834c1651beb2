"""The fused Adam moves as fastai's own."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.usefixtures("fastai")


def moved(make: Callable[..., Any], *, num_steps: int = 5) -> tuple[dict[str, torch.Tensor], Any]:
    """Return a little network's weights after some steps, the first layer's slower, no decay for its bias."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    groups = [list(layer.parameters()) for layer in network]
    optimizer = make(groups, lr=0.01, wd=0.1)
    optimizer.set_hyper("lr", [0.001, 0.01])
    optimizer.state[network[0].bias]["do_wd"] = False
    images = torch.randn(8, 4)
    for number in range(num_steps):
        optimizer.set_hyper("mom", 0.95 - 0.01 * number)
        network(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.state_dict(), optimizer


def test_it_moves_as_fastais_does() -> None:
    from fastai.optimizer import Adam

    from stages.optimizer import FusedAdam

    wanted, _ = moved(Adam)
    found, _ = moved(FusedAdam)

    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


def test_what_is_frozen_stays() -> None:
    from stages.optimizer import FusedAdam

    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = network[0].weight.clone()
    optimizer = FusedAdam([list(layer.parameters()) for layer in network], lr=0.1)
    optimizer.freeze()
    network(torch.ones(2, 4)).sum().backward()
    optimizer.step()

    assert torch.equal(network[0].weight, before)
    assert network[0].weight.grad is None


def test_its_state_can_be_kept_and_gone_on_with() -> None:
    from stages.optimizer import FusedAdam

    weights, optimizer = moved(FusedAdam)
    kept = deepcopy(optimizer.state_dict())
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    network.load_state_dict(weights)
    another = FusedAdam([list(layer.parameters()) for layer in network], lr=1.0)

    another.load_state_dict(kept)

    for parameters in (network.parameters(), [one for group in optimizer.param_lists for one in group]):
        for one in parameters:
            one.grad = torch.full_like(one, 0.1)
    optimizer.step()
    another.step()
    of_first = [one for group in optimizer.param_lists for one in group]
    assert all(torch.equal(one, other) for one, other in zip(of_first, network.parameters(), strict=True))
