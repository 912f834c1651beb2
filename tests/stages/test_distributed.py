"""Two processes under torch's launcher train the net that one trains; gloo on the CPU stands in for several GPUs."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision.models import squeezenet1_1

from stages import distributed
from stages.errors import ParamsError, ResourceError
from stages.train import TrainParams, train
from tests.stages.settings import TRAIN

pytestmark = pytest.mark.usefixtures("fastai")

# No batch norm, no dropout and nothing drawn: with them, processes that see parts of a batch compute other numbers.
PLAIN = {"architecture": "squeezenet1_1", "method": "probe", "frozen_epochs": 0, "augmentation": "none"}


def squares(sides: Path, folder: Path) -> Path:
    """Copy the prepared pictures as squares, of which there is but one crop."""
    shutil.copytree(sides / "split", folder / "split")
    for path in (sides / "prepared/images").rglob("*.jpg"):
        target = folder / "prepared" / path.relative_to(sides / "prepared")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((40, 40)).save(target, quality=95)
    return folder


def plain_weights(folder: Path) -> Path:
    """Leave first weights of the plain net; with some others, rounding grows into more than is asked for below."""
    torch.manual_seed(1)
    torch.save(squeezenet1_1(weights=None).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def paths(folder: Path, sides: Path) -> dict[str, Path]:
    places = {"prepared": sides / "prepared", "split": sides / "split"}
    return places | {name: folder / name for name in ("checkpoints", "features")} | {"out": folder / "train"}


def history(folder: Path) -> list[dict[str, Any]]:
    with (folder / "train/history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_two_are_as_one(params: TrainParams, sides: Path, folder: Path, *, within: float) -> None:
    """Train in this process and in two under the launcher; compare weights and history."""
    source = squares(sides, folder)
    train(params, **paths(folder / "one", source))

    distributed.launch(params, paths(folder / "two", source), number=2)

    one, two = (load_file(folder / name / "train/weights.safetensors") for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < within
    for name in ("accuracy", "train_loss", "valid_loss", "learning_rate"):
        alone, both = ([float(row[name]) for row in history(folder / number)] for number in ("one", "two"))
        assert both == pytest.approx(alone, abs=within), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")  # fastai's finder still names it
@pytest.mark.parametrize("rate", [0.005, "auto"])
def test_two_processes_end_with_the_weights_of_one(sides: Path, tmp_path: Path, rate: float | str) -> None:
    changes = {"image_size": 40, "weights": str(plain_weights(tmp_path)), "learning_rate": rate}

    assert_two_are_as_one(TrainParams(**(TRAIN | PLAIN | changes)), sides, tmp_path, within=1e-4)

    assert list((tmp_path / "two/checkpoints").iterdir()) == []


@pytest.mark.slow
def test_two_processes_train_a_network_of_which_fastai_leaves_a_part_out(sides: Path, tmp_path: Path) -> None:
    """The norm in a ConvNeXt's head: torch finds in the second step that its gradient never came."""
    torch.manual_seed(1)
    torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "weights.pt")
    weights = str(tmp_path / "weights.pt")
    changes = {"architecture": "convnext_atto", "image_size": 40, "weights": weights, "epochs": 1}

    assert_two_are_as_one(TrainParams(**(TRAIN | PLAIN | changes)), sides, tmp_path, within=1e-4)


@pytest.mark.slow
def test_a_process_that_fails_fails_the_stage_and_leaves_no_temporary_files(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = TrainParams(**(TRAIN | {"architecture": "resnt34"}))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))

    with pytest.raises(ResourceError, match=r"one of the training's 2 processes failed"):
        distributed.launch(params, paths(tmp_path, sides), number=2)

    assert list((tmp_path / "temporary").glob("torchelastic*")) == []


@pytest.mark.parametrize(("given", "found"), [("8", "4"), ("3", "3")], ids=["settled", "one's own"])
def test_processes_that_train_together_share_numpys_threads(
    given: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, str] = {}

    def launcher(_command: list[str], *, env: dict[str, str]) -> Any:
        settings.update(env)
        return real(["true"])

    real = subprocess.Popen
    monkeypatch.setattr("stages.distributed.subprocess.Popen", launcher)
    monkeypatch.setattr("stages.distributed.num_cores", lambda: 8)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    distributed.launch(TrainParams(**TRAIN), paths(tmp_path, tmp_path), number=2)

    assert (settings["OMP_NUM_THREADS"], settings["OPENBLAS_NUM_THREADS"]) == ("4", found)


LAUNCH = """
    from pathlib import Path
    from stages.distributed import launch
    from stages.interrupts import end_on_signals
    from stages.train import TrainParams
    from tests.stages.settings import TRAIN
    from tests.stages.test_distributed import paths

    end_on_signals("train")
    launch(TrainParams(**TRAIN), paths(Path({folder!r}), Path({sides!r})), number=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["the stage", "its group"])
def test_a_stage_that_is_ended_leaves_no_process_of_its_training(sides: Path, tmp_path: Path, whom: str) -> None:
    script = textwrap.dedent(LAUNCH).format(folder=str(tmp_path), sides=str(sides))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    stage = subprocess.Popen([sys.executable, "-c", script], env=environment, start_new_session=True)
    below = psutil.Process(stage.pid)
    while len(found := [one for one in below.children(recursive=True) if _is_ours(one)]) < 2:
        assert stage.poll() is None
        time.sleep(0.1)

    if whom == "the stage":
        stage.terminate()
    else:
        os.killpg(stage.pid, signal.SIGTERM)

    assert stage.wait(60) == 128 + signal.SIGTERM
    assert not [one for one in found if one.is_running()]


def _is_ours(process: psutil.Process) -> bool:
    """Say whether this is one of the launcher's processes."""
    with suppress(psutil.Error):
        return "stages.distributed" in process.cmdline() and "torch.distributed.run" not in process.cmdline()
    return False


@pytest.mark.parametrize(
    ("batch_size", "num_images", "says"),
    [
        (64, 63, "batch_size: no multiple of the 3 GPUs, try 63: 64"),
        (5, 100, "batch_size, or the train side, is less than two images for each of 3 GPUs: 5"),
        (4, 4, "batch_size, or the train side, is less than two images for each of 3 GPUs: 4"),
    ],
)
def test_a_batch_that_can_not_be_dealt_out_evenly_is_refused(batch_size: int, num_images: int, says: str) -> None:
    from stages.together import share_of

    with pytest.raises(ParamsError, match=f"^params.yaml: train: {says}$"):
        share_of(batch_size, num_images, 3)


def test_a_small_side_is_one_batch_whatever_its_size() -> None:
    from stages.together import share_of

    assert (share_of(66, 100, 3), share_of(10, 10, 3)) == (22, 3)


@pytest.mark.parametrize(
    ("device", "gpus", "number"), [("auto", 1, 1), ("auto", 2, 2), ("cuda", 3, 3), ("auto", 8, 4), ("cpu", 2, 1)]
)
def test_as_many_processes_as_params_ask_for_and_the_machine_has_gpus(
    device: str, gpus: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(distributed, "missing_cuda", lambda: "")

    assert distributed.num_processes(device, gpus) == number


def test_gpus_whose_driver_is_too_old_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert distributed.num_processes("auto", 2) == 1


def test_a_batch_that_the_gpus_can_not_share_is_told_before_any_is_started(
    sides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(distributed, "missing_cuda", lambda: "")

    with pytest.raises(ParamsError, match=r"^params.yaml: train: batch_size: no multiple of the 3 GPUs, try 6: 8$"):
        train(TrainParams(**(TRAIN | {"device": "cuda", "gpus": 4})), **paths(tmp_path, sides))


def test_a_process_alone_agrees_with_itself() -> None:
    distributed.wait_for_all()

    assert (distributed.rank(), distributed.size(), distributed.agreed("value")) == (0, 1, "value")


def test_a_network_without_a_wrapper_is_bare() -> None:
    network = nn.Linear(1, 1)

    assert distributed.bare(network) is network
