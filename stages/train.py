"""Train a pretrained network on the train side, watched on the valid side.

Reads data/prepared and data/split. Leaves data/train: learner.pkl, weights.safetensors, history.csv,
learning_rate.csv, metrics.json, preprocess.json, train.json, and DVCLive's live/ while it runs. After each epoch the
state goes to the checkpoints' folder, from where a killed training goes on.
"""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from stages.errors import NO_THREADS, DataError, ParamsError, ResourceError, is_lack_of_memory, is_lack_of_threads
from stages.imports import import_large
from stages.journal import check_commit
from stages.locks import alone
from stages.outputs import read_csv
from stages.params import STRICT


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """What is trained, on what, and how."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    method: Annotated[
        Literal["fine_tune", "probe"],
        Field(
            description="`fine_tune`: frozen epochs, then unfrozen; `probe`: a head fitted at once, which is the same "
            "whatever the settings with a † are, then `epochs`"
        ),
    ]
    architecture: Annotated[
        str,
        Field(min_length=1, description="name of a torchvision or timm network that fastai can cut into body and head"),
    ]
    weights: Annotated[str, Field(min_length=1, description="`imagenet`, `none` (from scratch), or a file of weights")]
    weights_sha256: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="take no other weights than these, by the hash that data/train/train.json and the card say of "
            "them; null: any, and say it",
        ),
    ]
    image_size: Annotated[int, Field(ge=16, le=4096, description="side of the square the network sees, in pixels")]
    batch_size: Annotated[int, Field(ge=2, description="images a step, over all GPUs †")]
    gpus: Annotated[
        int, Field(ge=1, le=64, description="so many GPUs of this machine share each step, if it has them †")
    ]
    frozen_epochs: Annotated[int, Field(ge=0, description="epochs in which only the head learns; 0 for `probe`")]
    epochs: Annotated[int, Field(ge=0, description="epochs in which the whole network learns")]
    learning_rate: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=10)],
        Field(
            description="highest learning rate of the head, half of it unfrozen; `auto` asks the learning-rate finder †"
        ),
    ]
    learning_rate_spread: Annotated[
        float, Field(ge=1, description="head's learning rate over the first layers', once unfrozen †")
    ]
    weight_decay: Annotated[float, Field(ge=0, le=1, description="decoupled weight decay of Adam †")]
    loss: Annotated[
        Literal["cross_entropy", "label_smoothing", "focal"],
        Field(description="what training minimises, but for `probe`'s head: cross entropy †"),
    ]
    balance: Annotated[
        Literal["auto", "none", "labels"],
        Field(
            description="what counts the same in that: `labels`: each label, however many images it has; `none`: each "
            "image; `auto`: each label in `probe`'s head, each image in epochs"
        ),
    ]
    metrics: Annotated[
        list[Literal["accuracy", "error_rate", "top_5_accuracy", "macro_f1"]],
        Field(min_length=1, description="measured on the valid side after each epoch"),
    ]
    augmentation: Annotated[
        Literal["standard", "flip", "none"],
        Field(description="`standard`: fastai's flips, rotations, zooms, warps and light; `flip`: mirroring only"),
    ]
    early_stopping: Annotated[
        int | None,
        Field(
            ge=1,
            description="stop a phase after so many epochs without a lower valid loss, and keep the best weights; "
            "null: never, and keep the last †",
        ),
    ]
    mixed_precision: Annotated[
        Literal["auto", "none", "bf16", "fp16"],
        Field(description="`auto`: bf16 on a GPU that computes in it, else none †"),
    ]
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], Field(description="`auto`: the best that is there")]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of the head, the order and the augmentation †")]

    def __post_init__(self) -> None:
        if self.method == "probe" and (self.frozen_epochs or self.weights == "none"):
            raise ParamsError(
                "params.yaml: train: method probe needs weights and frozen_epochs: 0 (it fits the head at once); set "
                "all that is quick together, as -S train.method=probe -S train.frozen_epochs=0 -S train.epochs=0 "
                "-S train.augmentation=none"
            )
        if self.method == "fine_tune" and not self.frozen_epochs + self.epochs:
            raise ParamsError("params.yaml: train: nothing to do: frozen_epochs and epochs are both 0")
        if self.weights == "none" and self.weights_sha256:
            raise ParamsError("params.yaml: train: weights_sha256 names weights, and weights is none; set it to null")
        if len(set(self.metrics)) < len(self.metrics):
            raise ParamsError(f"params.yaml: train: metrics: one is named twice: {', '.join(self.metrics)}")


def train(params: TrainParams, *, prepared: Path, split: Path, checkpoints: Path, features: Path, out: Path) -> None:
    """Train on `split`'s train side and leave the learner in `out`; `features` is where a frozen body's are kept.

    Killed at any moment, the next run goes on from the last whole epoch and ends with the weights of an undisturbed
    one on the same machine. Raises ParamsError for an architecture, size, weights or device that can't be had,
    ChecksumError for other weights than were asked for, DataError in a git repository without a commit, and
    ResourceError, naming what to lower, when memory runs out, and while another training uses the same checkpoints.
    """
    check_commit()
    import_large("timm", "torchvision.models")
    from stages.architectures import architecture
    from stages.network_names import check_trained

    architecture(params.architecture)
    if params.weights == "imagenet":
        check_trained(params.architecture)
    rows = {side: read_csv(split / f"{side}.csv") for side in ("train", "valid")}
    if len(labels := {row["label"] for row in rows["train"]}) < 2:
        raise DataError(
            f"all images have one label, so there is nothing to tell apart; look at prepare.labels_from: {min(labels)}"
        )
    _check_size(params, prepared / rows["train"][0]["path"])
    import_large("fastai.vision.all")
    try:
        from stages import distributed
        from stages.together import share_of
        from stages.training import Training

        if (number := distributed.num_processes(params.device, params.gpus)) > 1:
            share_of(min(params.batch_size, len(rows["train"])), len(rows["train"]), number)
            paths = {
                "prepared": prepared,
                "split": split,
                "checkpoints": checkpoints,
                "features": features,
                "out": out,
            }
            distributed.launch(params, paths, number=number)
            return
        with nullcontext() if distributed.rank() else alone(checkpoints, "another training"):
            training = Training(params, rows, prepared=prepared, checkpoints=checkpoints, features=features, out=out)
            training.run()
            if distributed.rank():
                return
            training.write()
    except (MemoryError, RuntimeError) as error:
        if lack := _lack(error, params):
            raise ResourceError(lack) from error
        raise
    print(f"train: {training.told()}, in {out}; next: dvc repro evaluate", file=sys.stderr)


def _lack(error: Exception, params: TrainParams) -> str:
    """Return what this machine lacked, and what to lower or give; "" where the error says of no such thing."""
    text = str(error)
    if is_lack_of_memory(error):
        sizes = f"train.batch_size ({params.batch_size}) or train.image_size ({params.image_size})"
        return f"out of memory; lower {sizes}"
    if is_lack_of_threads(error):
        return NO_THREADS
    if "shared memory" in text:  # of the processes that decode images
        return "no shared memory left; give /dev/shm more, as in: docker run --shm-size=8g"
    # Linux ends one of them where a container's memory is used up, and torch knows no more than that it is gone.
    if "DataLoader worker" in text and ("signal: Killed" in text or "exited unexpectedly" in text):
        more = f"give this machine or container more, or lower train.batch_size ({params.batch_size})"
        return f"a process that decodes images was killed, most likely for want of memory; {more}"
    return ""


def _check_size(params: TrainParams, image: Path) -> None:
    from PIL import Image

    with Image.open(image) as opened:
        short_side = min(opened.size)
    if params.image_size > short_side:
        raise ParamsError(
            f"params.yaml: train: image_size is larger than prepare.short_side ({short_side}): {params.image_size}"
        )


if __name__ == "__main__":
    from stages.entry import run
    from stages.train import train as stage

    run(stage)
