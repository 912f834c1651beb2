"""Let each label count the same in what a training minimises, however many images it has.

Reads and leaves nothing. An image weighs what its label lacks of an even share, 1 on average over the train side, and a
batch's loss is divided by its number of images: not by its weights, as torch does, for then a batch without a rare
label would count as much as one with some, and several GPUs would make another step than one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# What counts the same in `probe`'s head and in epochs; `auto` keeps what each of them did before there was a choice.
_COUNTED: Mapping[str, tuple[str, str]] = {
    "auto": ("labels", "none"),
    "labels": ("labels", "labels"),
    "none": ("none", "none"),
}

# From here on a model that never names the label is right nearly as often as one that does: of two labels in 90 %.
RARE = 0.2


def in_head(setting: str) -> bool:
    """Say whether each label counts the same in the fit of a head at once."""
    return _COUNTED[setting][0] == "labels"


def in_epochs(setting: str) -> bool:
    """Say whether each label counts the same in epochs."""
    return _COUNTED[setting][1] == "labels"


def is_rare(num_images: int, num_all: int, num_labels: int) -> bool:
    """Say whether a label has less than a fifth of an even share: of two labels, under 10 % of all images."""
    return num_images * num_labels < RARE * num_all


def label_weights(targets: Tensor, num_labels: int) -> Tensor:
    """Return the weight of an image of each label; `targets` are the labels' numbers of all images."""
    counts = torch.bincount(targets, minlength=num_labels).clamp(min=1)
    return len(targets) / (num_labels * counts)


def told(method: str, setting: str, labels: Sequence[str]) -> str:
    """Return a line on what counts the same where labels are so uneven that it matters, else ""."""
    counts = Counter(labels)
    rarest = min(counts, key=lambda label: (counts[label], label))
    is_balanced = in_head(setting) if method == "probe" else in_epochs(setting)
    if is_balanced or not is_rare(counts[rarest], len(labels), len(counts)):
        return ""
    return (
        f"each image counts the same, and {counts[rarest]} of {len(labels)} are of the rarest label; "
        f"train.balance: labels lets each label count the same: {rarest}"
    )


class Balanced:
    """One of fastai's losses, with each image weighed by its label; `fastais` is what a learner may be pickled with."""

    def __init__(self, kind: Callable[..., Any], weights: Tensor) -> None:
        self._of_each, self._weights = kind(reduction="none"), weights
        self.fastais = kind(weight=weights)

    def __call__(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of the weighed losses."""
        plain = targets.as_subclass(Tensor)
        return (self._of_each(answers, targets) * self._weights.to(plain.device)[plain]).mean()  # type: ignore[no-any-return]
