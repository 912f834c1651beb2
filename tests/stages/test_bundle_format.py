"""What docs/bundle-format.md says of a bundle must be so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.stages.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fastai")]
TEXT = (ROOT / "docs/bundle-format.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- run -->\n```python\n(.*?)```", TEXT, flags=re.DOTALL)


def keys_of(path: Path) -> set[str]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return set(content).union(*(one for one in content.get("images", []) if isinstance(one, dict)))


def test_the_page_lists_the_files_of_a_bundle_and_no_others(made: Path) -> None:
    rows = re.findall(r"^\| (`[^|]*`) \| ", TEXT, flags=re.MULTILINE)
    listed = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}

    assert listed == {path.name for path in made.iterdir()}


@pytest.mark.parametrize("name", ["labels.json", "preprocess.json", "self_test.json", "card.json"])
def test_the_page_names_every_field(made: Path, name: str) -> None:
    named = set(re.findall(r"`(\w+)(?:\.\w+)*`", TEXT))

    assert keys_of(made / name) - named == set()


def test_the_pages_reader_passes_the_self_test(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)

    exec(compile(BLOCKS[0], "bundle-format.md", "exec"), {})  # noqa: S102


def test_the_pages_reader_fails_where_it_leaves_a_rule_aside(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    careless = BLOCKS[0].replace("ImageOps.exif_transpose(opened)", "opened.copy()")

    with pytest.raises(AssertionError, match=r"self_test/turned\.jpg"):
        exec(compile(careless, "bundle-format.md", "exec"), {})  # noqa: S102


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(#([^)]+)\)", TEXT))))
def test_every_link_on_the_page_leads_to_a_heading(link: str) -> None:
    headings = re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE)

    assert link in {heading.lower().replace(" ", "-") for heading in headings}
