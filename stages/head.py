"""Fit the head of a network whose body stays as it is, at once and to the optimum: the first phase of method `probe`.

Reads prepared images; leaves what known_outputs.py does. The body sees each of them once, and a mirror's view of those
of the train side.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from fastai.data.load import DataLoader
from numpy.typing import NDArray

from stages import balance, distributed, probe
from stages.architectures import imagenet_classifier, statistics
from stages.errors import ParamsError
from stages.features import Preprocessing
from stages.known_outputs import KnownOutputs

if TYPE_CHECKING:
    from stages.train import TrainParams
    from stages.training import Training

Features = NDArray[np.float32]

# Settings of epochs. README marks them, and the model card of a fitted head leaves them aside.
_OF_EPOCHS = (
    "batch_size", "gpus", "learning_rate", "learning_rate_spread", "weight_decay", "loss", "early_stopping",
    "mixed_precision", "seed",
)  # fmt: skip


def passed_over(params: "TrainParams") -> Sequence[str]:
    """Return the settings that change nothing of the network, because its head is fitted and no epochs follow.

    What params.yaml says of them need not be meant, so that none is an error.
    """
    return () if params.method != "probe" or params.epochs else _OF_EPOCHS


def fit_head(training: "Training") -> dict[str, float]:
    """Set the learner's head to the optimum of cross entropy on the train side.

    Returns both sides' losses, as `train.loss` names them, and the metrics, in order. Raises ParamsError for weights
    that no head can be fitted on.
    """
    layer = training.learn.model.eval()[1][-1]
    features, valid = _features(training)
    if not (np.isfinite(features).all() and np.isfinite(valid).all()):
        told = "with these weights the body's features of the images are no finite numbers"
        raise ParamsError(f"params.yaml: train: weights: {told}: {training.params.weights}")
    targets = np.array([training.labels.index(row["label"]) for row in training.rows["train"]])
    num_views = features.shape[1]
    inputs, wanted = features.reshape(-1, features.shape[2]), np.repeat(targets, num_views)
    classifier = _classifier(training) if training.params.weights == "imagenet" else None
    near = None if classifier is None else probe.borrowed(classifier, inputs, wanted, len(training.labels))
    probe.fit(layer, inputs, wanted, near=near, balanced=balance.in_head(training.params.balance))
    with torch.inference_mode():
        logits = layer(torch.from_numpy(features[:, 0]).to(training.device)).cpu()
        train_loss = float(training.learn.loss_func(logits, torch.from_numpy(targets)))
    return {"train_loss": train_loss, **_validated(training, layer, valid)}


def _classifier(training: "Training") -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the body's own ImageNet classifier, None where its rows don't belong to the features; which is told."""
    name = training.params.architecture
    found = imagenet_classifier(name, training.learn.model[0], sha256=training.weights_sha256)
    if found is None and not distributed.rank():
        told = f"the ImageNet classifier of {name} is no linear layer on its pooled features"
        print(f"train: {told}, so the head begins from zero", file=sys.stderr)
    return found


def _features(training: "Training") -> tuple[Features, Features]:
    """Return the body's features of the train side, images x views x features, and of the valid side.

    The views are the image and, unless augmentation is off, what one sees of it in a mirror.
    """
    params, device = training.params, training.device
    how = Preprocessing(params.image_size, *statistics(params.architecture))
    num_views = 1 if params.augmentation == "none" else 2
    num_train, num_valid = (len(training.rows[side]) for side in ("train", "valid"))
    train, valid = training.images[:num_train], training.images[num_train:]
    known = KnownOutputs(
        training.learn.model[0], how, device, num_images=num_views * num_train + num_valid, folder=training.features
    )
    views = [known.of(train, in_mirror=in_mirror) for in_mirror in (False, True)[:num_views]]
    return np.stack(views, axis=1), known.of(valid)


def _validated(training: "Training", layer: torch.nn.Linear, features: Features) -> dict[str, float]:
    """Return the valid side's loss and metrics, by the features that the body gave once."""
    params, learn = training.params, training.learn
    targets = [training.labels.index(row["label"]) for row in training.rows["valid"]]
    pairs = list(zip(torch.from_numpy(features), torch.tensor(targets), strict=True))
    whole, learn.model = learn.model, layer
    values = learn.validate(dl=DataLoader(pairs, bs=params.batch_size, device=training.device))
    learn.model = whole
    return dict(zip(["valid_loss", *params.metrics], map(float, values), strict=True))
