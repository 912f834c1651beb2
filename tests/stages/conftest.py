"""Folders that several tests only read: a prepared, split source of drawn pictures, and one tiny training on it."""

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from stages.prepare import PrepareParams, prepare
from stages.split import SplitParams, split
from tests.pictures import write_source
from tests.stages.settings import PREPARE, SPLIT, params_yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def fastai() -> None:
    """Import fastai, which uses what torch and pandas are about to drop; what it does later is held to no warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("fastai.vision.all")
        importlib.import_module("timm")


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw, prepared and split: three labels with twelve pictures each. Read it, don't write."""
    folder = tmp_path_factory.mktemp("sides")
    write_source(folder / "raw/source", num_images=12)
    prepare(PrepareParams(**PREPARE), raw=folder / "raw", out=folder / "prepared")
    split(SplitParams(**SPLIT), prepared=folder / "prepared", out=folder / "split")
    return folder


@pytest.fixture(scope="session")
def trained(sides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run of the stage train with the settings' params. Read it, don't write."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    process = start_training(folder, sides)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return folder / "train"


def start_training(folder: Path, sides: Path) -> "subprocess.Popen[str]":
    """Start `python -m stages.train` with `<folder>/params.yaml`, its output and checkpoints below `folder`."""
    paths = {"prepared": sides / "prepared", "split": sides / "split", "out": "train", "checkpoints": "checkpoints"}
    options = [str(part) for name, path in paths.items() for part in (f"--{name}", path)]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
