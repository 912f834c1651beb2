"""What counts the same in a training: each label, or each image."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from stages import probe
from stages.balance import Balanced, is_rare, label_weights, told
from stages.outputs import read_csv, write_csv
from tests.stages.test_training import drawn_weights, everything, interrupt, run

pytestmark = pytest.mark.usefixtures("fastai")

TARGETS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
ANSWERS = torch.linspace(-1, 1, 16).reshape(8, 2).sin() * 3


def uneven(sides: Path, folder: Path) -> Path:
    """Copy the sides, but for all pugs of the train side that are beyond the second."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(sides / "split", folder / "split")
    (folder / "prepared").symlink_to(sides / "prepared")
    rows = read_csv(sides / "split/train.csv")
    late = [row for row in rows if row["label"] == "pug"][2:]
    write_csv(folder / "split/train.csv", list(rows[0]), [list(row.values()) for row in rows if row not in late])
    return folder


def test_the_labels_weigh_the_same_and_an_image_1_on_average() -> None:
    weights = label_weights(TARGETS, 2)

    assert weights.tolist() == pytest.approx([8 / 12, 2.0])
    assert float(weights[TARGETS].mean()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["CrossEntropyLossFlat", "LabelSmoothingCrossEntropyFlat", "FocalLossFlat"])
def test_of_a_whole_side_the_loss_is_the_mean_of_the_labels_own_losses(name: str) -> None:
    from fastai import losses

    kind = getattr(losses, name)
    balanced = Balanced(kind, label_weights(TARGETS, 2))

    each = kind(reduction="none")(ANSWERS, TARGETS)
    expected = (each[TARGETS == 0].mean() + each[TARGETS == 1].mean()) / 2
    assert float(balanced(ANSWERS, TARGETS)) == pytest.approx(float(expected))


def test_what_processes_compute_of_their_shares_is_on_average_what_one_computes_of_the_batch() -> None:
    from fastai.losses import CrossEntropyLossFlat

    balanced = Balanced(CrossEntropyLossFlat, label_weights(TARGETS, 2))

    def gradient(part: slice) -> torch.Tensor:
        layer = torch.eye(2, requires_grad=True)
        return torch.autograd.grad(balanced(ANSWERS[part] @ layer, TARGETS[part]), layer)[0]

    shares = gradient(slice(0, 4)) + gradient(slice(4, 8))
    assert torch.allclose(shares / 2, gradient(slice(0, 8)))


def test_a_head_may_be_fitted_so_that_each_image_counts_the_same() -> None:
    heads = {balanced: nn.Linear(1, 2) for balanced in (True, False)}

    for balanced, head in heads.items():
        probe.fit(head, np.zeros((8, 1), dtype=np.float32), TARGETS.numpy(), balanced=balanced)

    said = {balanced: head.bias.softmax(dim=0)[1].item() for balanced, head in heads.items()}
    assert said == pytest.approx({True: 0.5, False: 0.25}, abs=1e-3)


def test_a_label_is_rare_below_a_fifth_of_an_even_share() -> None:
    assert [is_rare(number, 1000, 2) for number in (99, 100)] == [True, False]
    assert [is_rare(number, 7400, 37) for number in (39, 40)] == [True, False]


@pytest.mark.parametrize(("method", "setting", "is_told"), [
    ("fine_tune", "auto", True), ("fine_tune", "none", True), ("fine_tune", "labels", False),
    ("probe", "auto", False), ("probe", "none", True),
])  # fmt: skip
def test_train_says_where_a_rare_label_counts_little(method: str, setting: str, *, is_told: bool) -> None:
    said = told(method, setting, ["good"] * 97 + ["defect"] * 3)

    expected = (
        "each image counts the same, and 3 of 100 are of the rarest label; train.balance: labels lets each label count "
        "the same: defect"
    )
    assert said == (expected if is_told else "")
    assert told(method, setting, ["good"] * 90 + ["defect"] * 10) == ""


@pytest.mark.slow
def test_a_balanced_training_that_is_killed_ends_as_an_undisturbed_one_and_not_as_one_without(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = uneven(sides, tmp_path / "uneven")
    undisturbed = run(tmp_path / "undisturbed", few, balance="labels")
    with monkeypatch.context() as patch:
        patch.setattr("stages.phases._is_stopped_early", lambda training, _: len(training.progress.history) > 1)
        interrupt(tmp_path / "killed", few, monkeypatch, balance="labels")

    resumed = run(tmp_path / "killed", few, balance="labels")
    plain = run(tmp_path / "plain", few)

    assert everything(resumed) == everything(undisturbed)
    name = "weights.safetensors"
    assert (plain / name).read_bytes() != (undisturbed / name).read_bytes()


@pytest.mark.slow
def test_the_learner_of_a_balanced_training_has_fastais_loss_with_its_weights(sides: Path, tmp_path: Path) -> None:
    few = uneven(sides, tmp_path / "uneven")
    out = run(tmp_path, few, balance="labels", frozen_epochs=0, epochs=1)
    code = """
import json, sys, warnings
warnings.simplefilter("ignore")
from fastai.learner import load_learner
learn = load_learner(sys.argv[1])
assert not any(name.split(".")[0] == "stages" for name in sys.modules)
print(json.dumps([type(learn.loss_func).__name__, learn.loss_func.func.weight.tolist()]))
"""

    done = subprocess.run([sys.executable, "-c", code, str(out / "learner.pkl")], cwd=tmp_path, capture_output=True,
                          text=True, check=False)  # fmt: skip

    assert done.returncode == 0, done.stderr
    name, weights = json.loads(done.stdout)
    labels = [row["label"] for row in read_csv(few / "split/train.csv")]
    expected = [len(labels) / (3 * labels.count(label)) for label in ("Bengal", "beagle", "pug")]
    assert (name, weights) == ("CrossEntropyLossFlat", pytest.approx(expected))


@pytest.mark.slow
def test_a_probe_is_balanced_unless_params_say_otherwise(sides: Path, tmp_path: Path) -> None:
    few, weights = uneven(sides, tmp_path / "uneven"), str(drawn_weights(tmp_path / "weights.safetensors"))
    settings = {"method": "probe", "frozen_epochs": 0, "epochs": 0, "weights": weights}

    heads = {
        balance: load_file(run(tmp_path / balance, few, **settings, balance=balance) / "weights.safetensors")
        for balance in ("auto", "labels", "none")
    }

    same = [all(torch.equal(heads["auto"][key], heads[other][key]) for key in heads[other]) for other in heads]
    assert dict(zip(heads, same, strict=True)) == {"auto": True, "labels": True, "none": False}
