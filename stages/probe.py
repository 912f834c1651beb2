"""Fit a linear head on the features of a frozen body: logistic regression by L-BFGS.

Reads images through features.py; leaves nothing. Where the body is frozen, its features never change: computing them
once and fitting the head to convergence costs seconds where epochs of back-propagation cost minutes, and finds the
optimum (linear probing: Alain and Bengio 2016; as the start of fine-tuning: Kumar et al. 2022). With few images a label
it matters where the penalty pulls the weights: to what the body's own ImageNet classifier says of the same images.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.balance import label_weights

# Of 1e-4 … 1e-2, from the classifier's rows, the best on the valid sides of ten splits of 441 photographs.
PENALTY = 1e-3
MAX_STEPS = 300
# Below so many numbers, threads wait for each other longer than they compute: 303 images took two of them 10 CPU
# seconds, and one of them 0.9.
SMALL = 10_000_000


def linear_head(num_features: int, num_labels: int, *, pools: bool) -> nn.Sequential:
    """Return an averaging, linear head; `pools` where the body leaves maps."""
    pooling = [nn.AdaptiveAvgPool2d(1)] if pools else []
    return nn.Sequential(*pooling, nn.Flatten(), nn.Linear(num_features, num_labels))


def borrowed(
    classifier: tuple[Tensor, Tensor], features: NDArray[np.float32], targets: NDArray[np.int64], num_labels: int
) -> Tensor:
    """Return a row of weights a label, mixed from the classifier's rows: num_labels x features.

    Many a label is a class of ImageNet or resembles some. Which ones is read off the images: the classifier's mean
    probabilities over a label's images, squared so that the likeliest classes lead, are the shares of the mixture.
    """
    weight, bias = classifier
    said = (torch.from_numpy(features) @ weight.T + bias).softmax(dim=1)
    sums = torch.zeros(num_labels, len(weight)).index_add_(0, torch.from_numpy(targets), said)
    shares = sums.square()
    rows = shares / shares.sum(dim=1, keepdim=True) @ weight
    # What all rows have in common tells no label from another.
    return rows - rows.mean(dim=0)


def fit(
    layer: nn.Linear,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    *,
    near: Tensor | None = None,
    balanced: bool = True,
    max_steps: int = MAX_STEPS,
) -> float:
    """Set the layer to the optimum of the cross entropy with an L2 penalty on its weights' distance from `near`.

    If `balanced`, each label counts the same, however many images it has. Without `near` it is the distance from zero;
    with it, the better of the two optima is kept, so rows that mislead cost nothing. Returns the optimum, or what
    `max_steps` come to.
    """
    inputs, wanted = torch.from_numpy(features), torch.from_numpy(targets)
    starts = [torch.zeros_like(layer.weight, device="cpu")] + ([] if near is None else [near])
    with _few_threads(inputs):
        weights = label_weights(wanted, len(layer.bias)) if balanced else torch.ones(len(layer.bias))
        optima = [_optimum(inputs, wanted, start, weights, max_steps) for start in starts]
    value, weight, bias = min(optima, key=lambda optimum: optimum[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return value


@contextmanager
def _few_threads(inputs: Tensor) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if inputs.numel() < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _optimum(
    inputs: Tensor, wanted: Tensor, start: Tensor, weights: Tensor, max_steps: int
) -> tuple[float, Tensor, Tensor]:
    weight, bias = start.detach().clone().requires_grad_(), torch.zeros(len(start), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=max_steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ weight.T + bias
        distance = (weight - start).square().sum()
        value = nn.functional.cross_entropy(logits, wanted, weight=weights) + PENALTY * distance
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return float(loss().detach()), weight.detach(), bias.detach()
