"""The wheel beside the lowest release of each package that its metadata allows; what these ask for is the newest."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.petmodels.bundles import image_bytes, make_bundle

ROOT = Path(__file__).parents[2]


def lowest() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["onnx"]])
    return [f"{one.name}=={str(one.specifier).removeprefix('>=')}" for one in wanted]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the lowest releases, to be found before the environment's own."""
    folder = tmp_path_factory.mktemp("lowest")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", folder, *lowest()], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] > (3, 11), reason="the lowest releases are made for the lowest Python")
def test_the_lowest_releases_that_are_allowed_do(site: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    (tmp_path / "red.png").write_bytes(image_bytes("red", kind="PNG"))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "PETMODELS_REGISTRY": str(tmp_path / "registry"),
    }

    def run(words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "petmodels", *words.split()]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for words in (
        "publish bundle --model pets",
        "promote pets@1 production",
        "list pets",
        "show pets@production",
        "history pets",
        "pull pets@production ./model",
        "verify --all",
        "doctor",
        "predict --help",
        "prune pets --keep 1",
    ):
        done = run(words)
        assert done.returncode == 0, (words, done.stderr)
    for words, missing in (("prune pets", "--keep"), ("promote pets", "ALIAS"), ("predict x.jpg", "--model")):
        done = run(words)
        assert done.returncode == 2, (words, done.stderr)
        assert missing in done.stderr
    answer = run("predict red.png --model pets@production --json")

    assert json.loads(answer.stdout)["label"] == "red"
    assert answer.stderr == ""
