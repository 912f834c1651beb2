"""What docs/operations.md says is what the code does, as far as words can be compared with it."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.prefect_settings import SERVER, WORKER, ZOMBIE_SECONDS

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")


def block(first_line: str) -> str:
    return OPERATIONS.split(f"# {first_line}\n", maxsplit=1)[1].split("```", maxsplit=1)[0]


@pytest.mark.parametrize(("file", "settings"), [("/etc/petmodels/server", SERVER), ("/etc/petmodels/worker", WORKER)])
def test_the_environment_files_hold_the_settings_of_the_stack(file: str, settings: dict[str, str]) -> None:
    assert block(file).split() == [f"{name}={value}" for name, value in settings.items()]


def test_the_time_after_which_a_run_is_dead_is_the_one_in_the_text() -> None:
    assert f"({ZOMBIE_SECONDS} seconds, and some more on a busy server)" in OPERATIONS


def test_the_yaml_is_yaml() -> None:
    texts = re.findall(r"```yaml\n(.*?)```", OPERATIONS, re.DOTALL)
    assert [type(YAML(typ="safe").load(text)) for text in texts] == [dict, dict]
