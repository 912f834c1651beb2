"""What of petmodels is public, and stays so: names, types, the fields of what the commands print as JSON."""

import difflib
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import petmodels
from tests.petmodels.bundles import image_bytes, make_bundle
from tests.petmodels.commands import Command
from tests.petmodels.public import STORED, surface

ROOT = Path(__file__).parents[2]
CONSUMERS = ROOT / "docs/consumer.md"


def test_the_public_surface_changes_only_on_purpose() -> None:
    before = STORED.read_text(encoding="utf-8").splitlines()
    changed = [line for line in difflib.ndiff(before, surface()) if line.startswith(("- ", "+ "))]

    text = "\n".join(["petmodels promises something else than it did:", *changed])
    assert not changed, f"{text}\non purpose? say so in CHANGELOG.md, and run: python -m tests.petmodels.public"


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in petmodels.__all__:
        found = getattr(petmodels, name)
        if inspect.isfunction(found):
            yield name, found
        elif inspect.isclass(found):
            for own, one in vars(found).items():
                method = one.fget if isinstance(one, property) else one
                if inspect.isfunction(method) and (own == "__init__" or not own.startswith("_")):
                    yield f"{name}.{own}", method


def types_in(annotation: Any) -> Iterator[Any]:
    """Yield a type and, of one that is made of others, all of them."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from types_in(part)


def test_every_type_in_a_public_signature_is_exported() -> None:
    exported = [*(getattr(petmodels, name) for name in petmodels.__all__), *vars(petmodels.errors).values()]
    hints = {name: typing.get_type_hints(function) for name, function in public_functions()}

    own = {
        (name, one.__name__)
        for name, types in hints.items()
        for annotation in types.values()
        for one in types_in(annotation)
        if inspect.isclass(one) and one.__module__.startswith("petmodels.") and one not in exported
    }

    assert hints["load"]["return"] is hints["compare"]["after"] is petmodels.Model
    assert own == set()


def test_dir_shows_what_is_public() -> None:
    assert {name for name in dir(petmodels) if not name.startswith("_")} == set(petmodels.__all__)
    assert "__version__" in dir(petmodels)


def fields_of(document: Any) -> set[str]:
    """Return the fields of a command's JSON; those of the objects in a list, and of a parent, after a dot."""
    found: set[str] = set()
    for row in document if isinstance(document, list) else [document]:
        for key, value in row.items():
            inner = value if isinstance(value, list) else [value] if key == "parent" else []
            found |= {key, *(f"{key}.{name}" for one in inner if isinstance(one, dict) for name in one)}
    return found


def test_json_fields_are_those_of_the_docs(run: Command, tmp_path: Path) -> None:
    Path("red.png").write_bytes(image_bytes("red", kind="PNG"))
    for tag in ("1", "2"):
        bundle = make_bundle(tmp_path / tag, tag=tag)
        (bundle / "seen_images.csv").write_text(f"sha256,group\n{'a' * 64},{'a' * 64}\n")
        assert run("publish", bundle, "--model", "pets").code == 0
    other = str(tmp_path / "other")
    asked = {
        "publish": f"publish {bundle} --model pets",
        "promote": "promote pets@1 production",
        "rollback": "rollback pets production",
        "list": "list",
        "list MODEL": "list pets",
        "show": "show pets@2",
        "history": "history pets",
        "diff": "diff pets@1 pets@2",
        "find": f"find {'a' * 64}",
        "predict": "predict red.png --model pets@1",
        "pull": "pull pets@1 ./pulled",
        "verify": "verify pets@1",
        "copy": f"copy pets@1 {other}",
        "mirror": f"mirror {other}",
        "repair": f"repair pets@1 {other}",
        "prune": "prune pets --keep 1",
        "withdraw": "withdraw pets@1 --reason asked",
        "doctor": "doctor",
    }
    assert run("promote", "pets@2", "production").code == 0

    found = {name: fields_of(run(*words.split(), "--json").json) for name, words in asked.items()}

    rows = re.findall(r"^\| `([a-z]+(?: MODEL)?)` \| (.*) \|$", CONSUMERS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: set(re.findall(r"`([a-z0-9_.]+)`", told)) for name, told in rows} == found


def test_each_row_of_a_list_has_all_fields(run: Command, tmp_path: Path) -> None:
    for tag in ("1", "2"):
        assert run("publish", make_bundle(tmp_path / tag, tag=tag), "--model", "pets").code == 0
    assert run("withdraw", "pets@1", "--reason", "asked for", "--yes").code == 0

    whole, withdrawn = run("list", "pets", "--json").json

    assert set(withdrawn) == set(whole)


RIGHT = """
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type
import numpy
import petmodels
from petmodels import Alias, Listed, Manifest, Mirrored, Model, Parent, Prediction, Registry, Resolved, Verified
from petmodels.errors import ImageError

model, registry = petmodels.load(Path("model")), Registry("registry")


def told(paths: tuple[str, ...], mixed: list[str | bytes], stream: Iterator[Path], one: petmodels.ImageLike) -> None:
    assert_type(model, Model)
    assert_type(model.predict("cat.jpg"), Prediction)
    assert_type(model.predict(open("cat.jpg", "rb")), Prediction)
    assert_type(model.predict(numpy.zeros((8, 8, 3))), Prediction)
    assert_type(model.predict(one), Prediction)
    assert_type(model.predict(["cat.jpg"]), list[Prediction])
    assert_type(model.predict(paths), list[Prediction])
    assert_type(model.predict(mixed), list[Prediction])
    assert_type(model.predict(stream), Iterator[Prediction])
    assert_type(model.predict_each(paths, batch=1), Iterator[Prediction | ImageError])
    assert_type(model.card["title"], Any)
    assert_type(registry.load("pets"), Model)
    assert_type(registry.resolve("pets"), Resolved)
    assert_type(registry.listing("pets"), list[Listed])
    assert_type(registry.manifest("pets"), Manifest)
    assert_type(registry.manifest("pets").parent, Parent | None)
    assert_type(registry.mirror("other"), Mirrored)
    assert_type(registry.verify_all("pets"), Verified)
    assert_type(registry.promote("pets@1", "production"), Alias)
    assert_type(petmodels.__version__, str)
"""

WRONG = """
from collections.abc import Sequence
import petmodels
petmodels.lod("pets")  # wrong
petmodels.load("pets", "registry")  # wrong
model = petmodels.load("pets")
model.predcit("cat.jpg")  # wrong
model.predict({"cat.jpg"})  # wrong
def told(several: Sequence[str]) -> None:
    model.predict(several)  # wrong
model.card["title"] = "mine"  # wrong
petmodels.Registry().prune("pets", 3)  # wrong
petmodels.Ranked("cat", 0.9)  # wrong
petmodels.Registry().resolve("pets").alias  # wrong
"""


@pytest.mark.slow
def test_a_type_checker_takes_what_is_documented_and_finds_what_is_misspelt(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", CONSUMERS.read_text(encoding="utf-8"), flags=re.DOTALL)
    texts = {f"docs{number}": text for number, text in enumerate(blocks)} | {"right": RIGHT, "wrong": WRONG}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--no-error-summary"]

    done = subprocess.run(
        [*command, "--cache-dir", ROOT / ".mypy_cache", *sorted(tmp_path.glob("*.py"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    found = re.findall(r"(\w+)\.py:(\d+): error", done.stdout)
    wrong = [("wrong", str(number)) for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")]
    assert len(blocks) > 2
    assert found == wrong, done.stdout + done.stderr
