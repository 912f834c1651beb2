"""Make the fastai learner that is trained.

Reads prepared images; leaves nothing. What the learner pickles is fastai's and torch's own, so that `load_learner`
needs no file of this project.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stages.architectures import architecture, load_weights, statistics
from stages.balance import Balanced, in_epochs, label_weights
from stages.errors import ParamsError
from stages.layer_groups import splitter
from stages.metrics import metric
from stages.network_names import config, kin
from stages.networks import head

if TYPE_CHECKING:
    from fastai.learner import Learner

    from stages.train import TrainParams

# What fastai and a network raise that doesn't fit them, or images of this size.
_UNFIT = (StopIteration, RuntimeError, AssertionError, AttributeError, IndexError, TypeError, ValueError)


def learner(
    params: "TrainParams", images: Sequence[Path], *, valid: Sequence[int], labels: Sequence[str], device: torch.device
) -> "tuple[Learner, str | None]":
    """Return a learner over the images, whose folders name their labels; those at the places `valid` are validation.

    The body has its weights, whose hash comes second, and is frozen; unless they are `none`, which have no hash.
    """
    from fastai.vision.all import vision_learner

    from stages.optimizer import FusedAdam

    dls = _loaders(params, images, valid=valid, labels=labels, device=device)
    builder = architecture(params.architecture)
    try:
        learn = vision_learner(
            dls,
            builder,
            normalize=False,
            pretrained=False,
            loss_func=_loss(params, images, valid=valid, labels=labels),
            opt_func=FusedAdam,
            metrics=[metric(name, len(labels)) for name in params.metrics],
            wd=params.weight_decay,
            splitter=splitter(params.architecture),
            **head(params.architecture, params.method, len(labels)),
        )
        _check_layout(learn.model[0], params.architecture)
        _try_out(learn.model, params.image_size, len(labels))
    except _UNFIT as error:
        if "memory" in str(error):
            raise
        _check_fixed_size(params.architecture, params.image_size)
        alike = f"timm's {found}" if callable(builder) and (found := kin(params.architecture)) else "resnet34"
        raise ParamsError(
            f"params.yaml: train: architecture: fastai can't make a classifier of it for image_size "
            f"{params.image_size} ({_reason(error)}); {alike} for one it can: {params.architecture}"
        ) from error
    begun_with = load_weights(learn.model[0], params.architecture, params.weights, sha256=params.weights_sha256)
    if params.weights != "none":
        learn.freeze()
    return learn, begun_with


def _reason(error: Exception) -> str:
    if isinstance(error, StopIteration):  # what fastai looks for from the end, and doesn't find
        return "it has no pooling layer to cut it at"
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _check_layout(body: nn.Module, name: str) -> None:
    """Raise ParamsError for a body of one layer, or maps with their channels last: fastai's heads want them first.

    Of torchvision's shufflenets, fastai takes for the body what comes before the last pooling: one layer. Some of
    timm's networks leave the other maps; at no size does a head fit them, unless they pool those themselves.
    """
    if sum(one.ndim > 1 for one in body.parameters()) < 2:
        raise ParamsError(
            "params.yaml: train: architecture: fastai cuts it off after its first layer; resnet34 for one that it cuts "
            f"before its last: {name}"
        )
    if getattr(getattr(body, "model", None), "output_fmt", "") == "NHWC" and body.needs_pool:
        raise ParamsError(
            "params.yaml: train: architecture: its features come as NHWC, fastai's head wants NCHW; convnext_tiny for "
            f"one gives them so: {name}"
        )


def _check_fixed_size(name: str, side: int) -> None:
    """Raise ParamsError where timm says that this network takes one other size only; some do take more."""
    found = config(name) if isinstance(architecture(name), str) else None
    if found is not None and found.fixed_input_size and found.input_size[-1] != side:
        raise ParamsError(f"params.yaml: train: image_size: {name} wants {found.input_size[-1]}: {side}")


def _try_out(model: nn.Module, side: int, num_labels: int) -> None:
    """Raise one of _UNFIT where the network gives no answer a label for images of this size."""
    was_training, device = model.training, next(model.parameters()).device
    with torch.no_grad():  # not in inference mode: what a network keeps from it could never be trained through
        shape = tuple(model.eval()(torch.zeros(2, 3, side, side, device=device)).shape)
    model.train(was_training)
    if shape != (2, num_labels):
        raise ValueError(f"two images give {shape}")


def _loaders(
    params: "TrainParams", images: Sequence[Path], *, valid: Sequence[int], labels: Sequence[str], device: torch.device
) -> Any:
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Normalize,
        RandomCrop,
        Resize,
        parent_label,
    )

    mean, std = statistics(params.architecture)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(labels))),
        get_y=parent_label,
        splitter=IndexSplitter(valid),
        # A prepared image passes Resize as it is but for its long side; others are brought to the same size by it.
        item_tfms=[Resize(short_side(images[0])), RandomCrop(params.image_size)],
        batch_tfms=[*_augmentation(params.augmentation), Normalize.from_stats(mean, std)],
    )
    # Workers pay only where the accelerator outruns the loading; on a CPU they take its cores.
    workers = 0 if device.type == "cpu" else min(8, torch.get_num_threads())
    return block.dataloaders(
        list(images), bs=min(params.batch_size, len(images) - len(valid)), device=device, num_workers=workers
    )


def short_side(image: Path) -> int:
    """Return the shorter side of a stored image, in pixels."""
    from PIL import Image

    with Image.open(image) as opened:
        return min(opened.size)


def _augmentation(name: str) -> list[Any]:
    from fastai.vision.augment import Flip, aug_transforms

    if name == "none":
        return []
    return [Flip()] if name == "flip" else list(aug_transforms())


def _loss(params: "TrainParams", images: Sequence[Path], *, valid: Sequence[int], labels: Sequence[str]) -> Any:
    from fastai.losses import CrossEntropyLossFlat, FocalLossFlat, LabelSmoothingCrossEntropyFlat

    losses = {
        "cross_entropy": CrossEntropyLossFlat,
        "label_smoothing": LabelSmoothingCrossEntropyFlat,
        "focal": FocalLossFlat,
    }
    kind = losses[params.loss]
    if not in_epochs(params.balance):
        return kind()
    watched, place = set(valid), {label: number for number, label in enumerate(labels)}
    targets = [place[image.parent.name] for number, image in enumerate(images) if number not in watched]
    return Balanced(kind, label_weights(torch.tensor(targets), len(labels)))
