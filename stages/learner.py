"""Make the fastai learner that is trained, and open one that was.

Reads prepared images and data/train; leaves nothing. What the learner pickles is fastai's and torch's own, so that
`load_learner` needs no file of this project.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.architectures import architecture, load_weights, statistics
from stages.features import Preprocessing, outputs
from stages.probe import linear_head

if TYPE_CHECKING:
    from fastai.learner import Learner

    from stages.train import TrainParams


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network as evaluate and export use it: `network` gives logits, in the order of `labels`."""

    network: nn.Sequential
    labels: Sequence[str]
    preprocessing: Preprocessing
    device: torch.device

    @property
    def body(self) -> nn.Module:
        """The network without its head."""
        return self.network[0]

    def logits(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """Return one row of logits a prepared image, in the order of `paths`."""
        return outputs(self.network, paths, self.preprocessing, self.device)


def load(train: Path) -> Model:
    """Open the learner that the stage train left in the folder `train`, ready to predict on this machine's device."""
    from fastai.learner import load_learner

    about = json.loads((train / "train.json").read_text(encoding="utf-8"))
    how = json.loads((train / "preprocess.json").read_text(encoding="utf-8"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*insecure pickle")  # the stage before made this file
        learn = load_learner(train / "learner.pkl", cpu=True)
    device = device_named("auto")
    return Model(
        network=learn.model.eval().to(device),
        labels=about["labels"],
        preprocessing=Preprocessing(about["image_size"], how["mean"], how["std"]),
        device=device,
    )


def device_named(name: str) -> torch.device:
    """Return the device, for `auto` the best of CUDA, MPS and CPU that is there."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def untrained_body(params: "TrainParams") -> nn.Module:
    """Return the architecture's body in evaluation mode, with the weights that training starts from."""
    body: nn.Module
    builder = architecture(params.architecture)
    if isinstance(builder, str):
        from fastai.vision.learner import TimmBody
        from timm import create_model

        body = TimmBody(create_model(builder, num_classes=0), pretrained=False)
    else:
        from fastai.vision.learner import create_body

        body = create_body(builder(weights=None), pretrained=False)
    load_weights(body, params.architecture, params.weights)
    return body.eval()


def learner(
    params: "TrainParams", images: Sequence[Path], *, valid: Sequence[int], labels: Sequence[str], device: torch.device
) -> "Learner":
    """Return a learner over the images, whose folders name their labels; those at the places `valid` are validation.

    The body has its weights and, unless they are `none`, is frozen.
    """
    from fastai.optimizer import Adam
    from fastai.vision.all import vision_learner

    dls = _loaders(params, images, valid=valid, labels=labels, device=device)
    learn = vision_learner(
        dls,
        architecture(params.architecture),
        normalize=False,
        pretrained=False,
        loss_func=_loss(params.loss),
        opt_func=Adam,
        metrics=[_METRICS[name]() for name in params.metrics],
        wd=params.weight_decay,
        **_head(params, len(labels)),
    )
    load_weights(learn.model[0], params.architecture, params.weights)
    if params.weights != "none":
        learn.freeze()
    return learn


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


def _loss(name: str) -> Any:
    from fastai.losses import CrossEntropyLossFlat, FocalLossFlat, LabelSmoothingCrossEntropyFlat

    losses = {
        "cross_entropy": CrossEntropyLossFlat,
        "label_smoothing": LabelSmoothingCrossEntropyFlat,
        "focal": FocalLossFlat,
    }
    return losses[name]()


def _head(params: "TrainParams", num_labels: int) -> dict[str, Any]:
    if params.method != "probe":
        return {}
    builder = architecture(params.architecture)
    import timm

    if isinstance(builder, str):
        whole = timm.create_model(builder, num_classes=0)
        pools = whole.default_cfg.get("pool_size") is not None
        return {"custom_head": linear_head(whole.num_features, num_labels, pools=pools)}
    from fastai.vision.learner import create_body, num_features_model

    return {"custom_head": linear_head(num_features_model(create_body(builder(weights=None))), num_labels, pools=True)}


def _accuracy() -> Any:
    from fastai.metrics import accuracy

    return accuracy


def _error_rate() -> Any:
    from fastai.metrics import error_rate

    return error_rate


def _top_5_accuracy() -> Any:
    return top_5_accuracy


def _macro_f1() -> Any:
    from fastai.metrics import F1Score

    return F1Score(average="macro")


def top_5_accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of targets among the five largest logits (fewer where there are fewer labels)."""
    best = logits.topk(min(5, logits.shape[-1]), dim=-1).indices
    return (best == targets.unsqueeze(-1)).any(dim=-1).float().mean()


_METRICS: dict[str, Callable[[], Any]] = {
    "accuracy": _accuracy,
    "error_rate": _error_rate,
    "top_5_accuracy": _top_5_accuracy,
    "macro_f1": _macro_f1,
}
