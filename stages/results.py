"""Write what a training leaves in data/train when it is over: the learner, its weights, and what describes them.

Reads a finished Training; leaves learner.pkl, weights.safetensors, history.csv, learning_rate.csv, preprocess.json,
metrics.json and train.json.
"""

import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fastai.learner import Learner
from fastai.optimizer import Adam

from stages.architectures import statistics
from stages.devices import precision
from stages.fingerprints import versions
from stages.images import FILTER_NAME
from stages.layer_groups import layer_groups
from stages.learner import short_side
from stages.metrics import metric
from stages.outputs import new_file, write_csv, write_json

if TYPE_CHECKING:
    from stages.training import Training


def write_results(training: "Training") -> None:
    """Leave the learner and all that describes it; the network moves to the CPU for it."""
    from safetensors.torch import save_file

    out, history = training.out, training.progress.history
    model = training.learn.model.to("cpu", memory_format=torch.contiguous_format)
    with new_file(out / "weights.safetensors") as path:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    columns = list(history[-1])
    # By way of new files: an older one of this name may be a link into DVC's cache.
    with new_file(out / "history.csv") as path:
        write_csv(path, columns, ([row[column] for column in columns] for row in history))
    with new_file(out / "learning_rate.csv") as path:
        write_csv(path, ["learning_rate", "loss"], training.progress.curve)
    for name, content in (("preprocess", _preprocess), ("metrics", _metrics), ("train", _about)):
        with new_file(out / f"{name}.json") as path:
            write_json(path, content(training))
    _export(training, out / "learner.pkl")


def _preprocess(training: "Training") -> dict[str, Any]:
    mean, std = statistics(training.params.architecture)
    size = training.params.image_size
    return {
        "format": 1,
        "color": "RGB",
        "orientation": "exif",
        "resize": {"short_side": short_side(training.images[0]), "filter": FILTER_NAME},
        "crop": {"kind": "center", "width": size, "height": size},
        "divide_by": 255,
        "mean": mean,
        "std": std,
        "layout": "NCHW",
        "dtype": "float32",
    }


def _metrics(training: "Training") -> dict[str, Any]:
    """Return the kept epoch's numbers, by names that no metric of the test side has: `dvc exp show` has both."""
    params = training.params
    rate = {"learning_rate": _rate(training)} if params.frozen_epochs + params.epochs > 0 else {}
    row = training.kept_row().items()
    numbers = {name: value for name, value in row if isinstance(value, float) and name != "learning_rate"}
    return (
        {"epochs": training.num_epochs()}
        | rate
        | {_of_valid_side(name): round(value, 6) for name, value in numbers.items()}
    )


def _of_valid_side(name: str) -> str:
    return name if name in {"train_loss", "valid_loss"} else f"valid_{name}"


def _rate(training: "Training") -> float | None:
    given = training.params.learning_rate
    return training.progress.learning_rate if given == "auto" else given


def _about(training: "Training") -> dict[str, Any]:
    params = training.params
    return {
        "architecture": params.architecture,
        "weights": params.weights,
        "weights_sha256": training.weights_sha256,
        "method": params.method,
        "image_size": params.image_size,
        "labels": training.labels,
        "seed": params.seed,
        "num_train": len(training.rows["train"]),
        "num_valid": len(training.rows["valid"]),
        "learning_rate": _rate(training),
        "device": training.device.type,
        "precision": precision(params.mixed_precision, training.device)
        if params.frozen_epochs + params.epochs
        else "none",
        "params": asdict(params),
        "versions": versions() | {"python": platform.python_version()},
    }


def _export(training: "Training", final: Path) -> None:
    from fastai.vision.learner import default_split

    # A new learner with new metrics, because the old ones keep their last batch (larger than many a network) and
    # answers, and the time of day; nothing in this one depends on how often training was interrupted.
    learn = training.learn
    bare = Learner(
        training.unused_loaders,
        learn.model.eval().requires_grad_(True),
        loss_func=getattr(learn.loss_func, "fastais", learn.loss_func),
        opt_func=Adam,
        # load_learner has no files of this project, so that our groups stay here.
        splitter=default_split if learn.splitter is layer_groups else learn.splitter,
        metrics=[metric(name, len(training.labels)) for name in training.params.metrics],
        wd=learn.wd,
        path=Path(),
    )
    # By way of an open file: torch writes a path's last part, here a temporary one, into the archive.
    with new_file(final) as path, path.open("wb") as file:
        torch.save(bare, file, pickle_protocol=2)
