"""Folders that several tests only read: a prepared, split source of drawn pictures, and one tiny training on it."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

from stages.imports import import_large
from stages.prepare import PrepareParams, prepare
from stages.split import SplitParams, split
from tests.pictures import write_source
from tests.stages.settings import EXPORT, PREPARE, SPLIT, params_yaml

ROOT = Path(__file__).parents[2]

# A machine busy with other work is no reason to fail.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")


@pytest.fixture(scope="session")
def fastai() -> None:
    """Import fastai, which uses what torch and pandas are about to drop; what it does later is held to no warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_large("fastai.vision.all", "timm")


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


@pytest.fixture(scope="session")
def judged(sides: Path, trained: Path, fastai: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the stage evaluate for the tiny training. Read it, don't write."""
    from stages.evaluate import EvaluateParams, evaluate
    from stages.params import section

    folder = tmp_path_factory.mktemp("judged")
    settings = folder / "params.yaml"
    settings.write_text(params_yaml(), encoding="utf-8")
    paths = {
        "prepared": sides / "prepared",
        "split": sides / "split",
        "train": trained,
        "features": folder / "features",
    }
    evaluate(section(settings, "evaluate", EvaluateParams), **paths, settings=settings, out=folder / "eval")
    return folder / "eval"


@pytest.fixture(scope="session")
def made(sides: Path, trained: Path, judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny training. Read it, don't write."""
    from stages.export import ExportParams, export

    out = tmp_path_factory.mktemp("made") / "bundle"
    paths = {"prepared": sides / "prepared", "split": sides / "split", "train": trained, "eval": judged}
    export(ExportParams(**EXPORT), **paths, out=out)
    return out


def start_training(folder: Path, sides: Path) -> "subprocess.Popen[str]":
    """Start `python -m stages.train` with `<folder>/params.yaml`, its output and checkpoints below `folder`."""
    paths = {"prepared": sides / "prepared", "split": sides / "split", "checkpoints": "checkpoints"}
    return start_stage("train", folder, **paths, features="features")


def start_stage(name: str, folder: Path, *, out: str = "", **paths: Path | str) -> "subprocess.Popen[str]":
    """Start `python -m stages.<name>` in `folder`, with its params.yaml; the output is named as the stage unless told.

    A path that isn't absolute is one below `folder`.
    """
    options = [str(part) for path, place in {**paths, "out": out or name}.items() for part in (f"--{path}", place)]
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{name}", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
