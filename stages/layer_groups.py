"""Cut a network's body in two groups of layers, so that the first ones can learn more slowly than the last.

Reads and leaves nothing. fastai's table has such a cut for some of torchvision's networks; of all others it makes one
group of the body, all of which `learning_rate_spread` would slow down as it should slow the first layers.
"""

from collections.abc import Callable
from itertools import accumulate

from torch import nn

from stages.architectures import architecture

Groups = list[list[nn.Parameter]]
Splitter = Callable[[nn.Sequential], Groups]

# A smaller part than this of the body's layers is no group of its own: a longer list of layers is opened first. The
# first two stages of a resnet152, after which fastai cuts, have 0.23 of its layers.
LEAST_SHARE = 0.2


def splitter(name: str) -> Splitter:
    """Return what a learner gets its groups of parameters from: fastai's own where its table has one, else ours."""
    from fastai.vision.learner import model_meta

    own: Splitter | None = model_meta.get(architecture(name), {}).get("split")
    return own or layer_groups


def layer_groups(network: nn.Sequential) -> Groups:
    """Return the parameters of body and head, in order: of the body's first and last layers, and of the head.

    The cut is the border nearest to half of the body's layers: for a resnet the one that fastai has for it, after its
    second stage. A body that has no border is one group.
    """
    body, head = network[0], network[1:]
    first, last = _halves(body)
    early, late = ({id(one) for part in parts for one in part.parameters()} for parts in (first, last))
    # What belongs to no part, such as the embedding of places, is added to the input: it is early.
    moved = late - early
    groups = [[one for one in body.parameters() if (id(one) in moved) == is_late] for is_late in (False, True)]
    return [group for group in groups if group] + [list(head.parameters())]


def _halves(body: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the body's parts before and after the cut; a block, whose layers are not in a list, is never torn."""
    parts = [body]
    while True:
        place, share = _border(parts)
        if share >= LEAST_SHARE or not (opened := _opened(parts)):
            return (parts[:place], parts[place:]) if share > 0 else (parts, [])
        parts = opened


def _border(parts: list[nn.Module]) -> tuple[int, float]:
    """Return how many parts come before the border nearest to half of the layers, and the smaller side's share.

    Among equals it is the last, so that a norm or an activation stays with the layer before it.
    """
    *before, total = accumulate(map(_depth, parts))
    place = min(range(len(before)), key=lambda number: (abs(2 * before[number] - total), -number), default=None)
    if place is None or not total:
        return len(parts), 0.0
    return place + 1, min(before[place], total - before[place]) / total


def _opened(parts: list[nn.Module]) -> list[nn.Module]:
    """Return the parts with those of the deepest one in its place; nothing where that is a block."""
    deepest = max(parts, key=_depth)
    is_list = isinstance(deepest, nn.Sequential | nn.ModuleList)
    is_alone = _depth(deepest) == sum(map(_depth, parts))
    inner = list(deepest.children()) if is_list or is_alone else []
    if not inner:
        return []
    place = next(number for number, part in enumerate(parts) if part is deepest)
    return [*parts[:place], *inner, *parts[place + 1 :]]


def _depth(part: nn.Module) -> int:
    """Return how many layers have weights; a norm is none."""
    return sum(one.ndim > 1 for one in part.parameters())
