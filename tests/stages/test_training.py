"""A real training of a tiny net: what it leaves, that a kill costs nothing, and what stops it."""

import csv
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from stages import fingerprints
from stages.devices import device_named
from stages.errors import ChecksumError, DataError, ParamsError, ResourceError
from stages.journal import check_commit
from stages.metrics import metric
from stages.model import load
from stages.outputs import write_csv
from stages.tensors import sha256_of_tensors
from stages.train import TrainParams, train
from tests.stages.conftest import ROOT, start_training
from tests.stages.settings import TRAIN, params_yaml

pytestmark = pytest.mark.usefixtures("fastai")

PROBE = {"method": "probe", "frozen_epochs": 0}
USED = PROBE | {"weights": "imagenet", "epochs": 1}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(folder: Path, sides: Path, **changes: Any) -> Path:
    """Train in this process with the settings' params but for `changes`; return the stage's output."""
    params = TrainParams(**(TRAIN | changes))
    paths = {"prepared": sides / "prepared", "split": sides / "split"}
    train(params, **paths, **{name: folder / name for name in ("checkpoints", "features")}, out=folder / "train")
    return folder / "train"


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_after(num_epochs: int, folder: Path, sides: Path) -> None:
    """Start a training and end it with SIGKILL as soon as it has told of so many epochs."""
    process = start_training(folder, sides)
    assert process.stderr is not None
    told = 0
    for line in process.stderr:
        told += line.startswith(("train: frozen:", "train: unfrozen:", "train: probe:"))
        if told == num_epochs:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -9


def drawn_weights(path: Path) -> Path:
    """Leave weights that fit the tiny net's body, as a safetensors file."""
    import timm

    torch.manual_seed(0)
    save_file(
        {name: tensor.contiguous() for name, tensor in timm.create_model("test_resnet").state_dict().items()}, path
    )
    return path


# What a training leaves.


@pytest.mark.slow
def test_the_history_has_a_row_an_epoch_with_both_losses_and_all_metrics(trained: Path) -> None:
    rows = table(trained / "history.csv")

    names = ["epoch", "phase", "train_loss", "valid_loss", *TRAIN["metrics"], "learning_rate"]
    assert [list(row) for row in rows] == [names] * 3
    assert [(row["epoch"], row["phase"]) for row in rows] == [("0", "frozen"), ("1", "unfrozen"), ("2", "unfrozen")]
    assert all(abs(float(row["accuracy"]) + float(row["error_rate"]) - 1) < 1e-6 for row in rows)


@pytest.mark.slow
def test_the_metrics_are_those_of_the_last_epoch(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))

    last = table(trained / "history.csv")[-1]
    assert metrics["epochs"] == 3
    assert metrics["learning_rate"] == TRAIN["learning_rate"]
    assert metrics["valid_loss"] == pytest.approx(float(last["valid_loss"]), abs=1e-6)
    assert metrics["valid_accuracy"] == pytest.approx(float(last["accuracy"]), abs=1e-6)


@pytest.mark.slow
def test_the_description_names_the_training(trained: Path) -> None:
    about = json.loads((trained / "train.json").read_text(encoding="utf-8"))

    assert about["labels"] == ["Bengal", "beagle", "pug"]
    assert (about["architecture"], about["num_train"], about["num_valid"]) == ("test_resnet", 18, 9)
    assert about["params"] == TRAIN
    assert (about["device"], about["precision"]) == ("cpu", "none")
    assert about["versions"] == fingerprints.versions() | {"python": platform.python_version()}
    assert about["weights_sha256"] is None


@pytest.mark.slow
def test_live_plots_have_a_point_an_epoch(trained: Path) -> None:
    for name in ("train/loss", "valid/loss", "accuracy"):
        lines = (trained / f"live/plots/metrics/{name}.tsv").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 4


@pytest.mark.slow
def test_the_learner_opens_where_this_project_is_not_and_agrees_with_the_weights(trained: Path, tmp_path: Path) -> None:
    code = """
import sys, warnings
warnings.simplefilter("ignore")
from fastai.learner import load_learner
from safetensors.torch import load_file
learn = load_learner(sys.argv[1] + "/learner.pkl")
weights = load_file(sys.argv[1] + "/weights.safetensors")
assert not any(name.split(".")[0] == "stages" for name in sys.modules)
assert all((learn.model.state_dict()[name] == tensor).all() for name, tensor in weights.items())
print(*learn.dls.vocab, *learn.metrics.attrgot("name"))
"""

    done = subprocess.run(
        [sys.executable, "-c", code, str(trained)], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    names = "Bengal beagle pug accuracy error_rate top_k_accuracy f1_score\n"
    assert (done.returncode, done.stdout) == (0, names), done.stderr


@pytest.mark.slow
def test_the_learner_carries_little_but_its_weights(trained: Path) -> None:
    surplus = (trained / "learner.pkl").stat().st_size - (trained / "weights.safetensors").stat().st_size

    assert surplus < 200_000


@pytest.mark.slow
def test_the_loaded_model_answers_in_its_labels_order(trained: Path, sides: Path) -> None:
    model = load(trained)
    rows = table(sides / "split/valid.csv")

    logits = model.logits([sides / "prepared" / row["path"] for row in rows])

    right = sum(model.labels[place] == row["label"] for place, row in zip(logits.argmax(1), rows, strict=True))
    assert right / len(rows) == pytest.approx(float(table(trained / "history.csv")[-1]["accuracy"]))


# A kill at any moment costs nothing.


@pytest.mark.slow
@pytest.mark.parametrize("num_epochs", [1, 2, 3], ids=["between the phases", "amid a phase", "before the files"])
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(
    trained: Path, sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], num_epochs: int
) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    kill_after(num_epochs, tmp_path, sides)

    run(tmp_path, sides)

    said = capsys.readouterr().err
    assert "train: going on from a checkpoint" in said
    assert sum(line.startswith(("train: frozen:", "train: unfrozen:")) for line in said.splitlines()) == 3 - num_epochs
    assert everything(tmp_path / "train") == everything(trained)
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_checkpoint_of_other_params_is_left_alone(
    sides: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(tmp_path, sides, monkeypatch, weight_decay=0.02)

    run(tmp_path, sides)

    assert everything(tmp_path / "train") == everything(trained)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


@pytest.mark.slow
def test_a_checkpoint_of_otherwise_prepared_images_is_left_alone(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The originals and their labels are the same; the pixels are not."""
    other = tmp_path / "sides"
    shutil.copytree(sides, other)
    for path in (other / "prepared/images").rglob("*.jpg"):
        Image.open(path).save(path, quality=30)
    interrupt(tmp_path, other, monkeypatch)
    capsys.readouterr()

    run(tmp_path, sides)

    assert "going on from a checkpoint" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_checkpoint_of_other_weights_under_the_same_name_is_left_alone(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = drawn_weights(tmp_path / "body.safetensors")
    interrupt(tmp_path, sides, monkeypatch, weights=str(weights))
    state = {name: tensor + 1e-3 for name, tensor in load_file(weights).items()}
    save_file(state, weights)
    capsys.readouterr()

    run(tmp_path, sides, weights=str(weights))

    assert "going on from a checkpoint" not in capsys.readouterr().err


SHORT = {"frozen_epochs": 0, "epochs": 1}


def checkpoints_of_others(folder: Path) -> None:
    """Leave what two other trainings, and a kill amid a save, have left."""
    (folder / "checkpoints").mkdir()
    for name, num_bytes, seconds in (("older.pt", 9_000_000, 5), ("newer.pt", 1_250_000, 7), (".a.pt.1.partial", 9, 9)):
        (folder / "checkpoints" / name).write_bytes(bytes(num_bytes))
        os.utime(folder / "checkpoints" / name, (seconds, seconds))


@pytest.mark.slow
def test_a_training_that_begins_anew_beside_checkpoints_of_others_says_so(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints_of_others(tmp_path)

    run(tmp_path, sides, **SHORT)

    assert [line for line in capsys.readouterr().err.splitlines() if "checkpoint" in line] == [
        "train: begins anew; 2 checkpoints of other settings, images, code or packages can't be gone on with and may "
        f"be deleted; the newest (1.2 MB): {tmp_path}/checkpoints/newer.pt"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["first", "own", "own broken"])
def test_a_training_does_not_speak_of_others_checkpoints_where_there_are_none_or_one_of_its_own(
    state: str, sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if state != "first":
        interrupt(tmp_path, sides, monkeypatch, **SHORT)
        (own,) = (tmp_path / "checkpoints").iterdir()
        shutil.copyfile(own, own.with_name("others.pt"))
        own.write_bytes(own.read_bytes()[: 9 if state == "own broken" else None])

    run(tmp_path, sides, **SHORT)

    assert "may be deleted" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_drawn_network_learns_at_one_rate(sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    monkeypatch.setattr("fastai.learner.Learner.fit_one_cycle", lambda _self, _num, rate, **_how: rates.append(rate))

    with suppress(IndexError):  # without an epoch there is no history to write
        run(tmp_path, sides)

    assert rates == [0.005, slice(0.0025, 0.0025)]


@pytest.mark.slow
def test_a_training_stopped_early_and_killed_trains_no_further(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill falls between the epoch that stops the phase and the files."""
    never_better = {"early_stopping": 1, "epochs": 6, "learning_rate": 1e-9, "weight_decay": 0.0}
    interrupt(tmp_path, sides, monkeypatch, **never_better)
    before = len(torch.load(next((tmp_path / "checkpoints").iterdir()), weights_only=True)["history"])

    out = run(tmp_path, sides, **never_better)

    history = table(out / "history.csv")
    losses = [float(row["valid_loss"]) for row in history if row["phase"] == "unfrozen"]
    assert len(history) == before
    assert 2 <= len(losses) < 6
    assert losses[-1] >= min(losses[:-1])


EARLY: dict[str, Any] = {"frozen_epochs": 1, "epochs": 5, "early_stopping": 2}


def with_valid_losses(monkeypatch: pytest.MonkeyPatch, *losses: float, stop_after: int = -1) -> list[dict[str, Any]]:
    """Let the epochs have these valid losses; return where the weights after each of them will be."""
    from stages.training import Training

    end_epoch, weights = Training.end_epoch, []

    def noted(self: Training, row: Any, *, phase: str, epoch: int) -> None:
        weights.append({name: tensor.clone() for name, tensor in self.learn.model.state_dict().items()})
        end_epoch(self, row | {"valid_loss": losses[row["epoch"]]}, phase=phase, epoch=epoch)
        if row["epoch"] == stop_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "end_epoch", noted)
    return weights


@pytest.mark.slow
def test_a_training_stopped_early_leaves_the_best_epoch_of_its_last_phase(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = with_valid_losses(monkeypatch, 0.5, 3.0, 1.0, 2.0, 1.0)

    out = run(tmp_path, sides, **EARLY)

    left = load_file(out / "weights.safetensors")
    assert all(torch.equal(left[name], tensor) for name, tensor in weights[2].items())
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["epochs"], metrics["valid_loss"]) == (5, 1.0)
    assert metrics["valid_accuracy"] == pytest.approx(float(table(out / "history.csv")[2]["accuracy"]), abs=1e-6)
    assert "train: back to the weights of the best epoch: 2 (unfrozen, valid_loss 1)\n" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 4], ids=["after the frozen epochs", "after the last epoch"])
def test_a_training_that_goes_back_and_is_killed_ends_as_an_undisturbed_one(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    changes, losses = EARLY | {"frozen_epochs": 2, "epochs": 4}, (1.0, 2.0, 1.5, 3.0, 3.0)
    with_valid_losses(monkeypatch, *losses)
    undisturbed = everything(run(tmp_path / "one", sides, **changes))
    with monkeypatch.context() as patch:
        with_valid_losses(patch, *losses, stop_after=number)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "two", sides, **changes)

    resumed = everything(run(tmp_path / "two", sides, **changes))

    assert resumed == undisturbed


@pytest.mark.slow
def test_a_broken_checkpoint_is_told_and_training_begins_anew(
    sides: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tmp_path, sides, monkeypatch)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])

    out = run(tmp_path, sides)

    assert "train: no readable checkpoint, beginning anew" in capsys.readouterr().err
    assert everything(out) == everything(trained)


@pytest.mark.slow
def test_a_training_that_outlived_its_dvc_is_not_disturbed_by_another(
    sides: Path, tmp_path: Path, trained: Path
) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    process = start_training(tmp_path, sides)
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith("train: frozen:"))
    process.send_signal(signal.SIGSTOP)

    try:
        with pytest.raises(ResourceError, match=r"another training writes here; wait for it, or end it: .*checkpoints"):
            run(tmp_path, sides, epochs=1)
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate()
    assert process.returncode == 0
    assert everything(tmp_path / "train") == everything(trained)


def interrupt(folder: Path, sides: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Train in this process, and stop after the last epoch, before any file is written."""
    with monkeypatch.context() as patch:
        patch.setattr("stages.training.Training.write", fails(KeyboardInterrupt("stopped")))
        with pytest.raises(KeyboardInterrupt, match="stopped"):
            run(folder, sides, **changes)


def fails(error: BaseException) -> Callable[..., None]:
    """Return a method that raises `error`."""

    def method(_self: object) -> None:
        raise error

    return method


# What the params promise.


@pytest.mark.slow
def test_another_seed_trains_another_net(sides: Path, tmp_path: Path, trained: Path) -> None:
    out = run(tmp_path, sides, seed=43)

    assert (out / "weights.safetensors").read_bytes() != (trained / "weights.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")  # fastai's finder still names it
def test_the_learning_rate_finder_leaves_its_curve_and_its_suggestion(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path, sides, learning_rate="auto", epochs=1)

    said = capsys.readouterr().err
    assert 0 < said.index("looking for a learning rate") < said.index("finder suggests")

    curve = table(out / "learning_rate.csv")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert len(curve) > 10
    assert float(curve[0]["learning_rate"]) < metrics["learning_rate"] < float(curve[-1]["learning_rate"])
    assert json.loads((out / "train.json").read_text(encoding="utf-8"))["learning_rate"] == metrics["learning_rate"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")  # fastai's finder still names it
@pytest.mark.filterwarnings("ignore:CUDA is not available or torch_xla:UserWarning")  # the precision is a GPU's
def test_the_learning_rate_finder_runs_in_the_precision_of_the_training(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastai.callback.schedule import LRFinder

    seen: list[str] = []
    begin = LRFinder.before_fit
    monkeypatch.setattr("stages.phases.precision", lambda *_: "bf16")
    monkeypatch.setattr(LRFinder, "before_fit", lambda self: [seen.extend(map(_kind, self.learn.cbs)), begin(self)])

    run(tmp_path, sides, learning_rate="auto", epochs=0)

    assert "MixedPrecision" in seen


def _kind(value: object) -> str:
    return type(value).__name__


def test_a_probe_fits_the_head_at_once_and_leaves_the_body_as_it_was(sides: Path, tmp_path: Path) -> None:
    weights = drawn_weights(tmp_path / "weights.safetensors")

    out = run(tmp_path, sides, **PROBE, epochs=0, weights=str(weights))

    (row,) = table(out / "history.csv")
    assert (row["phase"], row["learning_rate"]) == ("probe", "0.0")
    assert "learning_rate" not in json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    given, left = load_file(weights), load_file(out / "weights.safetensors")
    assert torch.equal(given["conv1.0.weight"], left["0.model.conv1.0.weight"])


def test_a_training_says_from_which_weights_it_began_and_takes_no_others_if_told(sides: Path, tmp_path: Path) -> None:
    weights = drawn_weights(tmp_path / "weights.safetensors")
    begun = PROBE | {"epochs": 0, "weights": str(weights)}

    out = run(tmp_path / "any", sides, **begun)
    found = json.loads((out / "train.json").read_text(encoding="utf-8"))["weights_sha256"]
    asked = run(tmp_path / "these", sides, **begun, weights_sha256=found)

    assert found == sha256_of_tensors(load_file(weights))
    assert (asked / "weights.safetensors").read_bytes() == (out / "weights.safetensors").read_bytes()
    with pytest.raises(ChecksumError, match=rf"^other weights of test_resnet .*: sha256 {found}, wanted: {'f' * 64}$"):
        run(tmp_path / "others", sides, **begun, weights_sha256="f" * 64)


def test_a_probes_losses_of_both_sides_are_of_the_named_loss(sides: Path, tmp_path: Path) -> None:
    weights = str(drawn_weights(tmp_path / "weights.safetensors"))
    out = {loss: run(tmp_path / loss, sides, **PROBE, epochs=0, weights=weights, loss=loss)
           for loss in ("cross_entropy", "focal")}  # fmt: skip

    plain, focal = (table(out[loss] / "history.csv")[0] for loss in ("cross_entropy", "focal"))
    assert float(focal["train_loss"]) < float(plain["train_loss"])
    left = {(folder / "weights.safetensors").read_bytes() for folder in out.values()}
    assert len(left) == 1


def test_train_names_the_settings_that_a_probe_without_epochs_does_not_use(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(drawn_weights(tmp_path / "weights.safetensors"))

    run(tmp_path, sides, **PROBE, epochs=0, weights=weights)

    named = "batch_size, gpus, learning_rate, learning_rate_spread, weight_decay, loss, early_stopping, mixed_precision"
    line = f"train: a head that is fitted at once is the same whatever these are: {named}, seed\n"
    assert capsys.readouterr().err.count(line) == 1


@pytest.mark.slow
def test_a_probe_without_epochs_is_the_same_whatever_the_settings_are_that_it_names(
    sides: Path, tmp_path: Path
) -> None:
    weights = str(drawn_weights(tmp_path / "weights.safetensors"))
    steps = {"batch_size": 3, "gpus": 2, "learning_rate": 0.1, "learning_rate_spread": 1.0, "weight_decay": 0.5}
    others = {"loss": "focal", "early_stopping": 2, "mixed_precision": "auto", "seed": 1}

    runs = [run(tmp_path / name, sides, **PROBE, epochs=0, weights=weights, **changes)
            for name, changes in {"as they are": {}, "others": steps | others}.items()]  # fmt: skip

    assert len({(out / "weights.safetensors").read_bytes() for out in runs}) == 1


def test_settings_that_epochs_use_are_not_named_as_without_effect() -> None:
    from stages.head import passed_over

    assert [list(passed_over(TrainParams(**(TRAIN | changes)))) for changes in ({}, USED)] == [[], []]


def test_readme_marks_the_settings_that_a_fitted_head_passes_over() -> None:
    from stages.head import passed_over

    marked = re.findall(r"^\| `train\.(\w+)` .* † \|$", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)

    assert marked == list(passed_over(TrainParams(**(TRAIN | USED | {"epochs": 0}))))


def test_a_head_that_was_fitted_at_once_is_told_without_epochs_or_a_learning_rate(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(drawn_weights(tmp_path / "weights.safetensors"))

    out = run(tmp_path, sides, **PROBE, epochs=0, weights=weights)

    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("train: a head fitted at once on 18 images, train_loss ")
    assert [line for line in said if re.search(r"learning_rate \d", line)] == []
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["epochs"] == 0


@pytest.mark.slow
def test_a_probe_may_be_followed_by_unfrozen_epochs(
    sides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = drawn_weights(tmp_path / "weights.safetensors")

    out = run(tmp_path, sides, **PROBE, epochs=1, weights=str(weights), augmentation="none", learning_rate=1e-5)

    said = capsys.readouterr().err
    assert "train: a head fitted at once and 1 epoch on 18 images, " in said
    assert "learning_rate 0.0000" not in said
    assert [row["phase"] for row in table(out / "history.csv")] == ["probe", "unfrozen"]


@pytest.mark.parametrize(("name", "is_said"), [("test_convnext", True), ("test_resnet", False)])
def test_a_probe_says_that_it_begins_from_zero_only_where_the_classifier_does_not_fit_its_features(
    sides: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    is_said: bool,
) -> None:
    import timm

    given = timm.create_model(name).state_dict()
    monkeypatch.setattr("stages.architectures._imagenet", lambda _name: given)

    run(tmp_path, sides, **PROBE, epochs=0, architecture=name, weights="imagenet")

    told = f"train: the ImageNet classifier of {name} is no linear layer on its pooled features, so the head begins"
    assert capsys.readouterr().err.count(f"{told} from zero\n") == is_said


def test_a_network_of_timm_learns_in_three_groups_with_a_spread_of_rates(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(drawn_weights(tmp_path / "weights.safetensors"))
    rates = []
    monkeypatch.setattr(
        "stages.training.Training.end_epoch", lambda self, *_args, **_how: rates.append(self.learn.opt.hypers)
    )

    with suppress(IndexError):  # without an epoch there is no history to write
        run(tmp_path, sides, weights=weights, frozen_epochs=0, epochs=1, learning_rate_spread=100.0)

    last = [group["lr"] for group in rates[0]]
    assert [round(last[-1] / rate) for rate in last] == [100, 10, 1]
    assert "learning_rate_spread" not in capsys.readouterr().err


def test_a_body_that_can_not_be_cut_is_told_with_its_groups(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastai.vision.learner import default_split

    monkeypatch.setattr("stages.learner.splitter", lambda _name: default_split)
    weights = str(drawn_weights(tmp_path / "weights.safetensors"))

    run(tmp_path, sides, weights=weights, frozen_epochs=0, epochs=1)

    told = "the body's layers have no order to cut them in, so learning_rate_spread has two groups: body, head"
    assert capsys.readouterr().err.count(f"train: {told}\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["label_smoothing", "focal"])
def test_every_loss_trains_a_torchvision_net_too(sides: Path, tmp_path: Path, loss: str) -> None:
    """squeezenet1_1 is torchvision's smallest; its body's layers have no batch norm."""
    changes = {"architecture": "squeezenet1_1", "frozen_epochs": 0, "epochs": 1, "augmentation": "flip"}

    out = run(tmp_path, sides, **changes, loss=loss, metrics=["accuracy"])

    assert len(table(out / "history.csv")) == 1


# What stops it.


def test_an_unknown_architecture_is_told_with_its_nearest_names(sides: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"train: architecture: unknown: resnt34; nearest: resnet34, "):
        run(tmp_path, sides, architecture="resnt34")


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained' is deprecated")
@pytest.mark.filterwarnings("ignore:Arguments other than a weight enum")
@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("mobilenet_v2", r".* for image_size 32 \(it has no pooling layer to cut it at\); timm's mobilenetv2_100 for "),
        ("shufflenet_v2_x0_5", r"fastai cuts it off after its first layer; resnet34 for one "),
    ],
)
def test_a_network_that_fastai_can_not_use_is_told(sides: Path, tmp_path: Path, architecture: str, told: str) -> None:
    with pytest.raises(ParamsError, match=rf"architecture: {told}.*: {architecture}$"):
        run(tmp_path, sides, architecture=architecture)


def test_a_network_of_a_fixed_size_says_which(sides: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"^params.yaml: train: image_size: vit_tiny_patch16_224 wants 224: 32$"):
        run(tmp_path, sides, architecture="vit_tiny_patch16_224")


def test_a_network_whose_maps_have_their_channels_last_is_told_whatever_the_size(sides: Path, tmp_path: Path) -> None:
    told = r"architecture: its features come as NHWC, .* NCHW; convnext_tiny .*: swin_tiny_patch4_window7_224$"
    with pytest.raises(ParamsError, match=told):
        run(tmp_path, sides, architecture="swin_tiny_patch4_window7_224")


def test_a_repository_without_commits_costs_one_line(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")

    process = start_training(tmp_path, tmp_path / "nothing")
    _, said = process.communicate()

    told = "train: this git repository has no commit; run `git commit` once, then dvc repro\n"
    assert (process.returncode, said) == (1, told)


def test_where_dvc_keeps_out_of_git_or_there_is_none_no_commit_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_commit()
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")

    check_commit()


@pytest.mark.slow
def test_a_network_that_pools_its_maps_itself_may_have_their_channels_last(sides: Path, tmp_path: Path) -> None:
    out = run(tmp_path, sides, architecture="sequencer2d_s", epochs=0)

    assert len(table(out / "history.csv")) == 1


def test_a_network_without_imagenet_weights_is_told_before_the_work(sides: Path, tmp_path: Path) -> None:
    told = r"^params.yaml: train: architecture: no ImageNet weights exist for it; .* a file or none: cs3darknet_s$"
    with pytest.raises(ParamsError, match=told):
        run(tmp_path, tmp_path / "nothing is read", architecture="cs3darknet_s", weights="imagenet")


def test_one_label_alone_is_nothing_to_learn(sides: Path, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    for side in ("train", "valid", "test"):
        rows = [row for row in table(sides / f"split/{side}.csv") if row["label"] == "pug"]
        write_csv(tmp_path / f"split/{side}.csv", list(rows[0]), [list(row.values()) for row in rows])
    (tmp_path / "prepared").symlink_to(sides / "prepared")

    with pytest.raises(DataError, match=r"all images have one label, .* prepare\.labels_from: pug$"):
        run(tmp_path, tmp_path)


@pytest.mark.slow
def test_a_loss_that_is_no_number_any_more_says_which_rate_to_lower(sides: Path, tmp_path: Path) -> None:
    """Not a checkpoint of it is kept: with a lower rate, training begins where the last good epoch ended."""
    told = r"train: learning_rate: the loss is no number any more in epoch 0 \(frozen\); lower the rate: 1e\+38$"
    with pytest.raises(ParamsError, match=told):
        run(tmp_path, sides, learning_rate=1e38)

    assert not list((tmp_path / "checkpoints").glob("*.pt"))
    assert not (tmp_path / "train/metrics.json").exists()


@pytest.mark.slow
def test_weights_whose_features_are_no_numbers_are_named_and_no_rate(sides: Path, tmp_path: Path) -> None:
    weights = drawn_weights(tmp_path / "weights.safetensors")
    given = load_file(weights)
    given["conv1.0.weight"][:] = torch.inf
    save_file(given, weights)

    with pytest.raises(ParamsError, match=r"train: weights: .* are no finite numbers: \S+weights\.safetensors$"):
        run(tmp_path, sides, **PROBE, epochs=0, weights=str(weights))


def test_images_larger_than_the_stored_ones_are_refused(sides: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"train: image_size is larger than prepare\.short_side \(40\): 64$"):
        run(tmp_path, sides, image_size=64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test misses")
def test_a_device_that_is_not_there_is_told(sides: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"train: device: no CUDA on this machine; use auto or cpu: cuda$"):
        run(tmp_path, sides, device="cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has what the test misses")
def test_an_apple_gpu_that_is_not_there_is_told(sides: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"train: device: no MPS on this machine; use auto or cpu: mps$"):
        run(tmp_path, sides, device="mps")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_that_can_not_take_effect_is_refused(sides: Path, tmp_path: Path, precision: str) -> None:
    with pytest.raises(ParamsError, match=rf"mixed_precision: .* CUDA .*; use auto or none: {precision}$"):
        run(tmp_path, sides, mixed_precision=precision)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
    ],
    ids=["Python", "CUDA", "CPU"],
)
def test_a_lack_of_memory_says_what_to_lower(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("stages.training.Training.run", fails(error))

    with pytest.raises(ResourceError, match=r"lower train\.batch_size \(8\) or train\.image_size \(32\)"):
        run(tmp_path, sides)


@pytest.mark.parametrize(
    "told",
    [
        "DataLoader worker (pid 71) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 71, 72) exited unexpectedly",
    ],
)
def test_train_says_in_one_line_that_a_decoding_process_was_killed(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setattr("stages.training.Training.run", fails(RuntimeError(told)))

    with pytest.raises(ResourceError, match=r"^a process .* was killed, .* want of memory; .*train\.batch_size \(8\)$"):
        run(tmp_path, sides)


def test_a_lack_of_threads_in_training_is_not_called_a_lack_of_memory(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.training.Training.run", fails(RuntimeError("can't start new thread")))

    with pytest.raises(ResourceError, match=r"start no more threads or processes; .*LOKY_MAX_CPU_COUNT$"):
        run(tmp_path, sides)


def test_a_bug_in_training_is_not_called_a_lack_of_memory(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.training.Training.run", fails(RuntimeError("shapes differ")))

    with pytest.raises(RuntimeError, match="shapes differ"):
        run(tmp_path, sides)


@pytest.mark.slow
def test_a_model_that_was_trained_on_the_cpu_stays_there(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("stages.model.device_named", lambda name: asked.append(name) or torch.device("cpu"))

    load(trained)

    assert asked == ["cpu"]


def test_auto_takes_a_device_that_is_there() -> None:
    assert torch.zeros(1, device=device_named("auto")).sum() == 0


def test_top_5_accuracy_of_few_labels_is_that_of_all() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0]])

    assert metric("top_5_accuracy", 3)(logits, torch.tensor([2])) == 1


def test_top_5_accuracy_counts_the_five_largest_logits() -> None:
    logits = torch.arange(8.0).repeat(2, 1)

    assert metric("top_5_accuracy", 8)(logits, torch.tensor([3, 2])) == 0.5
