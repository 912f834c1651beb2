"""The project's own stage `train`, killed amid its epochs, goes on under another worker when its own is gone too.

The second machine shares nothing with the first but git and the store; what it ends with is compared, byte by byte,
with what plain `dvc repro` makes of the same images without a break.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.object_store import weed
from flows.pipeline import outputs_of
from flows.stack import Options
from flows.train import LOCK_KEY
from petmodels.storage import open_storage
from tests.flows.api import wait
from tests.flows.operator import Operator
from tests.flows.projects import Project, git
from tests.flows.stacks import stack_with_tables

ROOT = Path(__file__).parents[2]
PIPELINE = ["stages", "dvc.yaml", "params.yaml", ".dvc/config", ".dvc/.gitignore", ".gitignore", "data/arrivals.csv",
            "data/corrections.csv", "data/.gitignore"]  # fmt: skip
PARAMS: dict[str, dict[str, Any]] = {
    "download": {"source": "sample:images_per_breed=4,image_side=96", "checksum": None, "size_bytes": None},
    "prepare": {"short_side": 64},
    "train": {
        "architecture": "test_resnet", "weights": "none", "image_size": 64, "frozen_epochs": 1, "epochs": 80,
        "learning_rate": 0.005, "device": "cpu", "mixed_precision": "none",
    },
}  # fmt: skip

LATE = 6  # epochs, of less than a second each, that a checkpoint may be behind on its way, and a line ahead

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project's own pipeline, with settings for a training of seconds, in a bare repository and a clone."""
    folder = tmp_path_factory.mktemp("real")
    remote, clone = folder / "remote.git", folder / "clone"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    git(folder, "clone", "--quiet", str(remote), str(clone))
    for name in PIPELINE:
        source, target = ROOT / name, clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    for section, values in PARAMS.items():
        params[section].update(values)
    (clone / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    project = Project(remote, clone)
    project.push("The pipeline")
    return project


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Iterator[Operator]:
    """A person at a stack with two workers of the GPU pool, whose git remote is that project."""
    options = Options(checkout=ROOT, git=str(project.remote), pools=("gpu", "gpu"))
    with pytest.MonkeyPatch.context() as patch, stack_with_tables(tmp_path_factory, options) as stack:
        for name, value in stack.store.environment().items():
            patch.setenv(name, value)
        yield Operator(stack, project)


def dvc(project: Project, *arguments: str) -> None:
    """Run DVC in the person's clone, with this interpreter's folder first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, cwd=project.folder, check=True, env=os.environ | {"PATH": path})


def begin(operator: Operator, lock: str) -> str:
    params = (operator.project.folder / "params.yaml").read_text(encoding="utf-8")
    return operator.start("train/gpu", revision="main", dvc_lock=lock, params=params)


def num_epochs(operator: Operator, run: str) -> int:
    return sum(line.startswith("train: unfrozen:") for line in operator.logs(run))


def trained_by(operator: Operator) -> list[str]:
    return sorted(path.parent.name for path in (operator.stack.folder / "workspaces").glob("gpu-*/train"))


def test_a_killed_training_of_the_real_stage_goes_on_under_another_worker(operator: Operator) -> None:
    project, variables = operator.project, operator.stack.variables
    dvc(project, "remote", "add", "--local", "--default", "store", variables["PETMODELS_DVC_REMOTE"])
    dvc(project, "remote", "modify", "--local", "store", "endpointurl", operator.stack.store.endpoint)
    dvc(project, "repro", "--quiet", "split")
    dvc(project, "push", "--quiet")
    lock = (project.folder / "dvc.lock").read_text(encoding="utf-8")
    checkpoints = open_storage(f"{variables['PETMODELS_DVC_REMOTE']}/checkpoints")

    killed = begin(operator, lock)
    wait(lambda: num_epochs(operator, killed) >= 10, 240, "ten epochs")
    assert list(checkpoints.list(""))
    operator.kill_processes_of(killed)
    assert operator.ended(killed)["state"]["type"] == "CRASHED"
    (worker,) = trained_by(operator)
    operator.stack.services[worker].kill()
    operator.forget_workspace(worker)
    resumed = operator.ended(begin(operator, lock))

    said = "\n".join(operator.logs(resumed["id"]))
    assert resumed["state"]["message"] == "train: ran"
    assert trained_by(operator) == [{"gpu-1": "gpu-2", "gpu-2": "gpu-1"}[worker]]
    assert "a checkpoint of this training was found and fetched: " in said
    found = re.search(r"train: going on from a checkpoint, with unfrozen epoch (\d+)", said)
    assert found
    assert num_epochs(operator, killed) - LATE < int(found[1]) <= PARAMS["train"]["epochs"]
    assert list(checkpoints.list("")) == []
    dvc(project, "repro", "--quiet", "train")
    undisturbed = outputs_of((project.folder / "dvc.lock").read_text(encoding="utf-8"))
    asked = {"flow_run_id": {"any_": [resumed["id"]]}, "key": {"any_": [LOCK_KEY]}}
    (artifact,) = operator.api.post("/artifacts/filter", artifacts=asked)
    assert (
        outputs_of(artifact["data"].removeprefix("```yaml\n").removesuffix("\n```"))["data/train"]
        == undisturbed["data/train"]
    )
