"""dvc.yaml says of each stage what it runs, so that DVC knows when to run it again."""

import ast
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from stages import fingerprints
from stages.installed import installed
from tests.readme import PINS, ROOT, normalised, pinned_packages, pins

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

# They carry what a stage makes and say what goes wrong, but make no picture and no number: no reason to train again.
CARRIERS = {
    "allocation", "cores", "descriptions", "entry", "errors", "imports", "interrupts", "locks", "outputs", "params",
    "progress", "threads",
}  # fmt: skip
# What a training runs without its numbers depending on it: how it is told, and what is written when it is over.
TELLERS = {"journal", "results"}

# The packages among the carriers: they fetch, check, tell and share work out.
CARRYING_PACKAGES = {
    "boto3", "botocore", "dvclive", "filelock", "pydantic", "pyyaml", "requests", "threadpoolctl", "tqdm",
    "urllib3",
}  # fmt: skip
# What no module names, and what computes, or writes the file, all the same.
# The report's are here for the card, which names them all.
BEHIND = {"scikit-learn": {"scipy"}, "export": {"jinja2", "markupsafe", "onnx", "onnx-ir", "onnxscript"}}
# Its bytes come from elsewhere; the drawn sample stands for them.
UNPINNED = {"download"}


def imported(module: str) -> set[str]:
    """Return the modules of `stages` that one of them imports at run time, also inside its functions."""
    tree = ast.parse((ROOT / f"stages/{module}.py").read_text(encoding="utf-8"))
    branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    idle = [node for node in branches if ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}]
    skipped = {id(node) for branch in idle for node in ast.walk(branch)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
            package, _, name = node.module.partition(".")
            if package == "stages":
                found |= {name} if name else {alias.name for alias in node.names}
    return found


def outside(modules: Iterable[str]) -> set[str]:
    """Return the top-level names of what some modules of `stages` import."""
    trees = [ast.parse((ROOT / f"stages/{module}.py").read_text(encoding="utf-8")) for module in modules]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


def packages(modules: Iterable[str]) -> set[str]:
    """Return the packages that some modules of `stages` import, by the names under which they are installed."""
    installed = packages_distributions()
    found = {one for name in outside(modules) for one in installed.get(name, ())}
    return {normalised(name) for name in found} - {"petmodels"}


def needed(module: str) -> set[str]:
    """Return the module and all that it imports, and they in turn, but for the carriers."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        found |= waiting
        waiting = {other for one in waiting for other in imported(one)} - found - CARRIERS
    return found


def test_stages_import_no_module_that_dvc_does_not_see() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/*.py")} - {"stages"}
    ours |= {path.stem for path in ROOT.glob("*.py")}

    assert not ours & outside(path.stem for path in (ROOT / "stages").glob("*.py")), "move the module into stages/"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_modules_that_it_runs_and_no_others(stage: str) -> None:
    paths = [Path(path) for path in STAGES[stage]["deps"]]
    listed = [path.stem for path in paths if path.parent.name == "stages" and path.suffix == ".py"]

    assert listed == sorted(needed(stage))


def test_another_code_of_a_training_makes_its_checkpoints_anothers() -> None:
    assert sorted({*fingerprints.CODE, "fingerprints"} | TELLERS) == sorted(needed("train"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_versions_of_the_packages_that_decide_its_bytes(stage: str) -> None:
    direct = packages(needed(stage)) - CARRYING_PACKAGES
    behind = [BEHIND.get(name, set()) for name in (*direct, stage)]

    assert pinned_packages(STAGES[stage]) == ([] if stage in UNPINNED else sorted(direct.union(*behind)))


def test_the_pinned_versions_are_those_that_are_installed_by_the_constraints() -> None:
    assert PINS.read_text(encoding="utf-8") == pins(), "run: python -m tests.readme"


def test_a_training_names_the_packages_that_its_stage_depends_on() -> None:
    assert sorted(fingerprints.versions()) == pinned_packages(STAGES["train"])


def test_the_card_names_all_packages_that_are_pinned_and_python_and_is_written_anew_for_another_version() -> None:
    pinned = {name for stage in STAGES.values() for name in pinned_packages(stage)}

    assert set(installed()) == pinned | {"python"}
    assert set(pinned_packages(STAGES["export"])) == pinned
    assert installed()["python"] == platform.python_version()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_command_names_its_inputs_and_its_output(stage: str) -> None:
    inputs = [path for path in STAGES[stage]["deps"] if path.startswith("data/")]
    (output,) = (next(iter(out)) if isinstance(out, dict) else out for out in STAGES[stage]["outs"])

    words = STAGES[stage]["cmd"].split()
    assert words[:3] == ["python", "-m", f"stages.{stage}"]
    assert words[-2:] == ["--out", output]
    assert all(any(path == word or path.startswith(f"{word}/") for word in words) for path in inputs)


def plotted(folder: Path, name: str, path: str, content: str) -> str:
    """Return the page that DVC makes of one plot, from what stands in its file."""
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "dvc", "plots", "show", f"dvc.yaml::{name}", "--out", "plots"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "plots/index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_dvcs_confusion_matrix_lies_as_the_reports_does(tmp_path: Path) -> None:
    page = plotted(tmp_path, "confusion", "data/eval/confusion.csv", "actual,predicted\npug,pug\npug,beagle\n")

    assert set(re.findall(r'"([xy])": \{\s*"field": "(\w+)"', page)) == {("x", "predicted"), ("y", "actual")}


@pytest.mark.slow
def test_the_learning_rate_finder_is_drawn_over_a_logarithmic_axis(tmp_path: Path) -> None:
    curve = "learning_rate,loss\n1e-06,3.0\n0.0001,2.0\n0.01,4.0\n"

    page = plotted(tmp_path, "learning_rate", "data/train/learning_rate.csv", curve)

    assert all(part in page for part in ("Learning-rate finder", '"type": "log"', "1e-06"))
    assert "<DVC_METRIC" not in page
