"""What is installed, and what builds the project, is what constraints.txt says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.requirements import required

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"


def pins() -> dict[str, str]:
    """Return the version of each package in constraints.txt."""
    rows = (line.partition("==") for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(name): version for name, _, version in rows}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("python", [None, "3.12", "3.13", "3.14"])
def test_every_package_that_the_project_and_its_groups_need_is_pinned(python: str | None) -> None:
    found = project()
    grouped = [text for group in found["dependency-groups"].values() for text in group]
    asked = [*found["project"]["dependencies"], *found["project"]["optional-dependencies"]["onnx"], *grouped]

    assert sorted(required(map(Requirement, asked), python=python) - set(pins())) == []


def test_what_builds_the_project_is_pinned() -> None:
    asked = [Requirement(text) for text in project()["build-system"]["requires"]]

    assert {one.name: one.specifier.contains(pins().get(one.name, "0")) for one in asked} == {"setuptools": True}


def installing(text: str) -> list[str]:
    """Return the words of a page's lines that pip installs the project's environment by, in their order."""
    lines = re.findall(r"^\s*\S+/python (-m pip install .*)$", text, flags=re.MULTILINE)
    return [line.replace(" --quiet", "") for line in lines]


def test_readme_installs_by_hand_what_make_installs() -> None:
    made, by_hand = (installing((ROOT / name).read_text(encoding="utf-8")) for name in ("Makefile", "README.md"))

    assert made == by_hand
    assert len(made) == 2


@pytest.mark.parametrize("file", ["Makefile", "README.md", "flows/handover.py"])
def test_whatever_has_pip_build_the_project_pins_what_builds_it(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    building = [line for line in text.splitlines() if re.search(r"pip wheel|--editable|\"wheel\"", line)]

    assert building
    assert [line for line in building if "--build-constraint" not in line] == []


def test_this_environments_pip_knows_what_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--help"], check=True, capture_output=True, text=True
    )

    assert "--build-constraint" in done.stdout
