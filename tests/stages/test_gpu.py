"""What holds on a GPU; skipped where there is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from stages.errors import ResourceError
from stages.export import ExportParams, export
from stages.features import network_inputs
from stages.model import load
from stages.train import TrainParams, train
from tests.stages.settings import EXPORT, TRAIN
from tests.stages.test_distributed import PLAIN, assert_two_are_as_one, paths, plain_weights
from tests.stages.test_training import table

pytestmark = [
    pytest.mark.usefixtures("fastai"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning"),  # fastai's finder still names it
]
GPU: dict[str, Any] = {"device": "cuda", "mixed_precision": "auto", "learning_rate": "auto"}


def run(folder: Path, sides: Path, **changes: Any) -> Path:
    train(TrainParams(**(TRAIN | GPU | changes)), **paths(folder, sides))
    return folder / "train"


def test_auto_is_the_gpu_and_bfloat16(sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(tmp_path, sides, device="auto")

    said = capsys.readouterr().err
    assert "train: test_resnet, fine_tune, on the GPU (cuda)" in said
    assert "can't be recorded" not in said
    assert len(table(out / "history.csv")) == 3


def test_two_trainings_end_with_the_same_weights(sides: Path, tmp_path: Path) -> None:
    one, two = (load_file(run(tmp_path / name, sides) / "weights.safetensors") for name in ("one", "two"))

    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.training import Training

    undisturbed = load_file(run(tmp_path / "one", sides) / "weights.safetensors")
    end_epoch = Training.end_epoch

    def stopped(self: Training, row: Any, *, phase: str, epoch: int) -> None:
        end_epoch(self, row, phase=phase, epoch=epoch)
        if (phase, epoch) == ("unfrozen", 1):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "end_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "two", sides)

    resumed = load_file(run(tmp_path / "two", sides) / "weights.safetensors")

    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_a_recorded_training_ends_about_where_another_does(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    changes = {"learning_rate": 0.001, "mixed_precision": "none"}
    recorded = load_file(run(tmp_path / "one", sides, **changes) / "weights.safetensors")
    monkeypatch.setattr("stages.phases._faster", lambda _training: [])

    told = load_file(run(tmp_path / "two", sides, **changes) / "weights.safetensors")

    assert all(torch.allclose(recorded[name].float(), told[name].float(), atol=1e-3) for name in told)


def test_the_learner_of_a_gpu_answers_on_a_cpu_and_as_onnx(sides: Path, tmp_path: Path, judged: Path) -> None:
    out = run(tmp_path, sides)
    rows = table(sides / "split/test.csv")
    images = [sides / "prepared" / row["path"] for row in rows]

    export(
        ExportParams(**EXPORT),
        prepared=sides / "prepared",
        split=sides / "split",
        train=out,
        eval=judged,
        out=tmp_path / "bundle",
    )

    model = load(out)
    on_gpu = model.logits(images)
    model.network.cpu()
    with torch.inference_mode():
        on_cpu = model.network(network_inputs(images, model.preprocessing)).numpy()
    assert np.abs(on_gpu - on_cpu).max() < 1e-3
    assert json.loads((tmp_path / "bundle/labels.json").read_text(encoding="utf-8"))["labels"] == model.labels


def test_two_processes_on_one_card_end_with_the_weights_of_one(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whole floats, because what TF32 rounds off grows."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    changes = {"image_size": 40, "weights": str(plain_weights(tmp_path)), "device": "cuda"}

    assert_two_are_as_one(TrainParams(**(TRAIN | PLAIN | changes)), sides, tmp_path, within=1e-3)


def test_too_little_memory_names_what_to_lower(sides: Path, tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        with pytest.raises(ResourceError, match=r"out of memory; lower train\.batch_size \(8\) or train\.image_size"):
            run(tmp_path, sides)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_network_of_which_fastai_leaves_a_part_out_is_recorded(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, sides, architecture="convnext_atto")

    assert "can't be recorded" not in capsys.readouterr().err


class _Looks(nn.Module):
    """Lets the CPU see a number, which no CUDA graph can replay."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values if float(values.detach().abs().max()) < 1e30 else values * 0


def test_a_network_that_cannot_be_recorded_trains_all_the_same(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stages.training import Training

    params = TrainParams(**(TRAIN | GPU))
    places = paths(tmp_path, sides)
    split = places.pop("split")
    rows = {side: table(split / f"{side}.csv") for side in ("train", "valid")}
    training = Training(params, rows, **places)
    training.learn.model[1].append(_Looks())

    training.run()

    assert "train: this network's steps can't be recorded, they take longer: " in capsys.readouterr().err
    assert [row["phase"] for row in training.progress.history] == ["frozen", "unfrozen", "unfrozen"]
    assert all(torch.isfinite(one).all() for one in training.learn.model.parameters())
