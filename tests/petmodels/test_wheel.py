"""The wheel in an environment that has nothing but what its metadata asks for."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
from packaging.requirements import Requirement

from petmodels.registry import Registry
from tests.petmodels.bundles import image_bytes, make_bundle
from tests.requirements import required

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_WANTED = {"torch", "fastai", "timm", "dvc", "prefect", "pandas", "sklearn", "stages", "flows"}
PROGRAM = "import sys; sys.path.insert(0, {site!r}); from petmodels.main import main; main()"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from a copy so that nothing is left in the checkout."""
    source, out = copied(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, out, source], check=True)
    return next(out.glob("petmodels-*.whl"))


def copied(folder: Path) -> Path:
    """Make a folder of what the wheel is built from."""
    shutil.copytree(ROOT / "petmodels", folder / "petmodels", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "docs").mkdir()
    for name in ("pyproject.toml", "docs/consumer.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel unpacked and links to what `petmodels[onnx]` requires, and to nothing else."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for name in required(metadata_of(wheel), {"onnx"}):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            if not (folder / top).exists():
                (folder / top).symlink_to(str(found.locate_file(top)))
    return folder


@pytest.mark.slow
def test_two_clones_make_the_same_bytes_by_readmes_lines_whatever_the_time_and_the_rights(tmp_path: Path) -> None:
    """So whoever gets a wheel can build its commit and compare the two by hash."""
    block = re.search(r"^rm -rf build/lib .*?^\(.*?pip wheel.*?\)$", README, flags=re.DOTALL | re.MULTILINE)
    assert block
    isolated = "pip wheel --build-constraint constraints.txt"
    assert isolated in block[0]
    # Without an index: what builds is then this environment's setuptools, which constraints.txt pins as well.
    script = block[0].replace(isolated, f"{quote(sys.executable)} -m pip wheel --quiet --no-build-isolation")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    run_in = partial(subprocess.run, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
    first, second = copied(tmp_path / "first"), tmp_path / "second"
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        run_in([*git, *words], cwd=first)
    run_in(["sh", "-c", f"umask 077; git clone --quiet {quote(str(first))} {quote(str(second))}"])
    for path in second.rglob("*.py"):
        os.utime(path, (10**9, 10**9))

    for clone, umask in ((first, "002"), (second, "077")):
        run_in(["sh", "-c", f"umask {umask}\n{script}"], cwd=clone)

    made = [next(clone.glob("dist/*.whl")).read_bytes() for clone in (first, second)]
    assert len({hashlib.sha256(data).hexdigest() for data in made}) == 1


def metadata_of(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(name).decode())
    return [Requirement(text) for text in fields.get_all("Requires-Dist", [])]


def run(site: Path, code: str, *words: str, cwd: Path, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run code without the site packages of this environment: -S leaves them out, -I the folder and PYTHON*."""
    command = [sys.executable, "-I", "-S", "-c", code.format(site=str(site)), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, input=data, check=False)


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    print(f"{wheel.name}: {wheel.stat().st_size / 1000:.0f} kB, {len(names)} files")
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"petmodels"}
    assert "petmodels/py.typed" in names
    assert {path.name for path in (ROOT / "petmodels").glob("*.py")} == {
        Path(name).name for name in names if name.endswith(".py")
    }
    assert wheel.stat().st_size < 200_000


@pytest.mark.slow
def test_the_wheel_asks_for_nothing_of_the_pipeline(wheel: Path) -> None:
    requirements = metadata_of(wheel)
    plain, with_onnx = required(requirements, set()), required(requirements, {"onnx"})

    print(f"petmodels requires: {', '.join(sorted(plain))}; with [onnx]: {', '.join(sorted(with_onnx - plain))}")
    assert "onnxruntime" not in plain
    assert "onnxruntime" in with_onnx
    assert not with_onnx & NOT_WANTED


@pytest.mark.slow
def test_the_whole_way_with_the_wheel_alone(site: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    (tmp_path / "red.png").write_bytes(image_bytes("red", kind="PNG"))
    registry = ("--registry", "./registry")

    for words in (
        ("publish", "bundle", "--model", "pets", *registry),
        ("promote", "pets@1", "production", *registry),
        ("pull", "pets@production", "./model", *registry),
        ("verify", "--all", *registry),
    ):
        done = run(site, PROGRAM, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
    answer = run(site, PROGRAM, "predict", "red.png", "--model", "./model", "--json", cwd=tmp_path)

    assert json.loads(answer.stdout)["label"] == "red"


def modules_after(site: Path, code: str, cwd: Path) -> dict[str, Any]:
    """Return which top-level packages are loaded after the code, and whether unwanted ones can be imported at all."""
    probe = (
        "import sys; sys.path.insert(0, {site!r})\n"
        f"{code}\n"
        "import json, importlib.util as u\n"
        "loaded = sorted({{one.partition('.')[0] for one in sys.modules}} - set(sys.stdlib_module_names))\n"
        f"print(json.dumps([loaded, [one for one in {sorted(NOT_WANTED)!r} if u.find_spec(one)]]))"
    )
    done = run(site, probe, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    loaded, there = json.loads(done.stdout)
    return {"loaded": set(loaded), "there": there}


@pytest.mark.slow
def test_an_import_loads_nothing_but_itself(site: Path, tmp_path: Path) -> None:
    found = modules_after(site, "import petmodels", tmp_path)

    assert found["there"] == []
    assert found["loaded"] <= {"petmodels", "__main__"}


def test_help_loads_no_heavy_package(site: Path, tmp_path: Path) -> None:
    found = modules_after(site, "import petmodels.main", tmp_path)

    print(f"petmodels --help loads: {', '.join(sorted(found['loaded']))}")
    assert not found["loaded"] & {"numpy", "PIL", "boto3", "botocore", "onnxruntime", "nacl"}


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["bundle", "pulled"])
def test_a_prediction_from_a_folder_loads_no_s3(site: Path, tmp_path: Path, folder: str) -> None:
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(make_bundle(tmp_path / "bundle"), "pets")
    registry.pull("pets@1", tmp_path / "pulled")
    (tmp_path / "red.png").write_bytes(image_bytes("red", kind="PNG"))

    found = modules_after(site, f"import petmodels; petmodels.load('./{folder}').predict('red.png')", tmp_path)

    print(f"predict loads: {', '.join(sorted(found['loaded']))}")
    assert not found["loaded"] & {"boto3", "botocore", "nacl", *NOT_WANTED}
