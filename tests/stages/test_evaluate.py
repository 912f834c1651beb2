"""What the stage evaluate asks of the network: each image once on a machine, whatever is judged again."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import features, known_outputs
from stages.errors import ChecksumError, DataError
from stages.evaluate import EvaluateParams, evaluate
from stages.outputs import read_csv as rows
from stages.params import section
from stages.scratch import from_scratch
from stages.train import TrainParams, train
from tests.stages.evaluated import change_json
from tests.stages.settings import TRAIN, params_yaml

pytestmark = pytest.mark.usefixtures("fastai")


@pytest.fixture
def probed(sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the output of a probe, whose body was compiled although there are few images."""
    import timm

    monkeypatch.setattr(features, "MIN_COMPILED", 1)
    torch.manual_seed(0)
    weights = {name: tensor.contiguous() for name, tensor in timm.create_model("test_resnet").state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    probe = {"method": "probe", "frozen_epochs": 0, "epochs": 0, "weights": str(tmp_path / "weights.safetensors")}
    places = {name: tmp_path / name for name in ("checkpoints", "features")}
    prepared, split = sides / "prepared", sides / "split"
    train(TrainParams(**TRAIN | probe), prepared=prepared, split=split, **places, out=tmp_path / "train")
    return tmp_path


def judged_anew(folder: Path, sides: Path) -> bytes:
    judged_by(folder, {"prepared": sides / "prepared", "split": sides / "split", "train": folder / "train"})
    return (folder / "eval/metrics.json").read_bytes()


def judged_by(folder: Path, paths: Mapping[str, Path]) -> None:
    """Judge what `paths` name by the settings' params; leave `eval` in the folder."""
    settings = folder / "params.yaml"
    settings.write_text(params_yaml(), encoding="utf-8")
    places = {"features": folder / "features", "settings": settings, "out": folder / "eval"}
    evaluate(section(settings, "evaluate", EvaluateParams), **paths, **places)


@pytest.mark.slow
def test_after_a_probe_the_baseline_asks_for_the_test_images_features_alone_and_for_those_once(
    probed: Path, sides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def watched(function: object, paths: list[Path], *rest: object) -> object:
        asked.extend(paths)
        return features.output_batches(function, paths, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(known_outputs, "output_batches", watched)

    first, second = judged_anew(probed, sides), judged_anew(probed, sides)

    assert sorted(asked) == sorted(sides / "prepared" / row["path"] for row in rows(sides / "split/test.csv"))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("head", ["linear", "fastai's own"])
def test_logits_are_the_learners_whichever_engine_computes_them(
    probed: Path, sides: Path, trained: Path, head: str
) -> None:
    from stages.model import load
    from stages.predictions import known_logits

    model = load(probed / "train" if head == "linear" else trained)
    paths = [sides / "prepared" / row["path"] for row in rows(sides / "split/test.csv")]

    found = known_logits(model, paths, probed / "features")

    assert np.allclose(found, model.logits(paths), atol=1e-4)


@pytest.mark.slow
def test_the_test_side_is_judged_by_what_the_learner_itself_says(judged: Path, sides: Path, trained: Path) -> None:
    from stages.model import load

    model, tested = load(trained), rows(sides / "split/test.csv")

    said = np.load(judged / "test_logits.npy")

    assert np.array_equal(said, model.logits([sides / "prepared" / row["path"] for row in tested]))
    assert [model.labels[place] for place in said.argmax(axis=1)] == [
        row["predicted"] for row in rows(judged / "predictions.csv")
    ]


@pytest.mark.parametrize(
    ("folder", "name", "lacking", "stage"),
    [
        ("train", "train.json", ["weights_sha256", "num_valid"], "train"),
        ("train", "train.json", ["params.weights_sha256", "params.gpus"], "train"),
        ("train", "preprocess.json", ["crop.width"], "train"),
        ("prepared", "prepare.json", ["num_groups"], "prepare"),
        ("split", "split.json", ["method"], "split"),
    ],
)
def test_a_model_of_an_earlier_release_is_named_before_anything_is_judged(
    folder: str, name: str, lacking: list[str], stage: str, trained: Path, sides: Path, tmp_path: Path
) -> None:
    paths = {"prepared": sides / "prepared", "split": sides / "split", "train": trained}
    paths[folder] = shutil.copytree(paths[folder], tmp_path / folder)
    change_json(tmp_path / folder / name, dict.fromkeys(lacking))

    told = rf"{folder}/{name} lacks what this release reads; run `dvc repro {stage}`: {', '.join(lacking)}$"
    with pytest.raises(DataError, match=told):
        judged_by(tmp_path, paths)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder, "params.yaml"])


def test_a_model_of_settings_that_are_not_known_any_more_is_named_before_anything_is_judged(
    trained: Path, sides: Path, tmp_path: Path
) -> None:
    paths = {"prepared": sides / "prepared", "split": sides / "split", "train": tmp_path / "train"}
    shutil.copytree(trained, tmp_path / "train")
    change_json(tmp_path / "train/train.json", {"params.mixup": 0.4})

    told = r"train/train\.json has settings that this release doesn't know; run `dvc repro train`: mixup$"
    with pytest.raises(DataError, match=told):
        judged_by(tmp_path, paths)


@pytest.mark.slow
def test_a_model_is_not_compared_with_a_network_of_other_weights_than_it_began_with(probed: Path, sides: Path) -> None:
    weights = probed / "weights.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)

    with pytest.raises(
        ChecksumError, match=r"^the model was trained from others; .* --force train`: other weights of test_res"
    ):
        judged_anew(probed, sides)


@pytest.mark.slow
def test_a_twin_from_scratch_has_the_models_settings_and_as_many_epochs_in_one_phase(
    trained: Path, sides: Path, tmp_path: Path
) -> None:
    from stages.model import load

    tested = rows(sides / "split/test.csv")
    images, labels = [sides / "prepared" / row["path"] for row in tested], [row["label"] for row in tested]
    paths = {"prepared": sides / "prepared", "split": sides / "split"}
    places = {name: tmp_path / name for name in ("checkpoints", "features")}
    twin = TRAIN | {"frozen_epochs": 0, "epochs": TRAIN["frozen_epochs"] + TRAIN["epochs"], "seed": 7}
    train(TrainParams(**twin), **paths, **places, out=tmp_path / "train")

    share = from_scratch(trained, **paths, images=images, labels=labels, seed=7)

    model = load(tmp_path / "train")
    said = [model.labels[place] for place in model.logits(images).argmax(axis=1)]
    assert share == np.mean([one == label for one, label in zip(said, labels, strict=True)])
