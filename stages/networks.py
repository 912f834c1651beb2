"""Make the network that fastai's `vision_learner` makes, without a learner around it: whole, or its body alone.

Reads weights as `stages.architectures` does; leaves nothing.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stages.architectures import architecture, load_weights
from stages.probe import linear_head

if TYPE_CHECKING:
    from stages.train import TrainParams


def network(name: str, method: str, num_labels: int) -> nn.Sequential:
    """Return body and head of an architecture as the method trains them, with weights that are drawn."""
    from fastai.vision.learner import create_timm_model, create_vision_model

    builder, own_head = architecture(name), head(name, method, num_labels)
    made: nn.Sequential
    with torch.random.fork_rng(devices=[]):
        if isinstance(builder, str):
            made, _ = create_timm_model(builder, num_labels, pretrained=False, **own_head)
        else:
            made = create_vision_model(builder, num_labels, pretrained=False, **own_head)
    return made


def untrained_body(params: "TrainParams") -> nn.Module:
    """Return the architecture's body in evaluation mode, with the weights that params name.

    Where these are `none`, they are drawn from the seed alone: a body like the one that training draws, not that one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        made = body(params.architecture)
    load_weights(made, params.architecture, params.weights, sha256=params.weights_sha256)
    return made.eval()


def body(name: str) -> nn.Module:
    """Return an architecture's body with drawn weights, cut off where `vision_learner` cuts: fastai keeps a table."""
    from fastai.vision.learner import TimmBody, create_body, model_meta

    builder = architecture(name)
    made: nn.Module
    if isinstance(builder, str):
        from timm import create_model

        made = TimmBody(create_model(builder, num_classes=0), pretrained=False)
    else:
        made = create_body(builder(weights=None), pretrained=False, cut=model_meta.get(builder, {}).get("cut"))
    return made


def head(name: str, method: str, num_labels: int) -> dict[str, Any]:
    """Return what `vision_learner` must be told for the head that the method wants, nothing for its own."""
    if method != "probe":
        return {}
    builder = architecture(name)
    import timm

    if isinstance(builder, str):
        whole = timm.create_model(builder, num_classes=0)
        pools = whole.default_cfg.get("pool_size") is not None
        return {"custom_head": linear_head(whole.num_features, num_labels, pools=pools)}
    from fastai.vision.learner import num_features_model

    return {"custom_head": linear_head(num_features_model(body(name)), num_labels, pools=True)}
