"""What docs/ says about the registry must be so."""

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

import petmodels
from petmodels.errors import ReplayError
from petmodels.main import app
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.signing import new_key
from tests.petmodels.bundles import image_bytes, make_bundle, write_json
from tests.petmodels.commands import Command

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("bundle-format.md", "consumer.md", "registry-format.md", "threat-model.md")


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.fixture
def root(folder_registry: Registry, tmp_path: Path) -> Path:
    """Return the folder of a registry with two versions, a signature, and an alias of three steps."""
    new_key(tmp_path / "key")
    for number in (1, 2):
        bundle = make_bundle(tmp_path / f"bundle{number}", tag=str(number))
        folder_registry.publish(bundle, "pets", Origin(key_file=tmp_path / "key"))
        folder_registry.promote(f"pets@{number}", "production")
    folder_registry.rollback("pets", "production")
    return tmp_path / "registry"


def read(root: Path, line: bytes) -> tuple[dict[str, Any], str]:
    """Return a statement's payload and hash with nothing but what the page says, and check its signatures."""
    statement = json.loads(line)
    payload = statement["payload"].encode()
    for one in statement["signatures"]:
        message = b"petmodels statement 1\n" + payload
        VerifyKey(base64.b64decode(one["key"])).verify(message, base64.b64decode(one["signature"]))
    return json.loads(payload), hashlib.sha256(payload).hexdigest()


def test_a_reader_needs_nothing_but_the_formats_page(root: Path) -> None:
    steps = [read(root, line) for line in (root / "pets/aliases/production.jsonl").read_bytes().splitlines()]
    last, _ = steps[-1]
    number = last["version"]
    manifest, digest = read(root, (root / f"pets/versions/{99_999_999 - number:08d}-{number}.json").read_bytes())

    assert [(step["serial"], step["action"], step["version"]) for step, _ in steps] == [
        (1, "promote", 1),
        (2, "promote", 2),
        (3, "rollback", 1),
    ]
    assert [step["previous"] for step, _ in steps] == ["", steps[0][1], steps[1][1]]
    assert digest == last["manifest"]
    for file in manifest["files"]:
        data = (root / "pets/blobs" / file["blob"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"])
    assert sorted(path.name for path in (root / "pets/versions").iterdir()) == ["99999997-2.json", "99999998-1.json"]


def test_the_formats_page_names_every_key(root: Path, folder_registry: Registry) -> None:
    named = set(re.findall(r"`(\w+)`", text_of("registry-format.md")))
    step, _ = read(root, (root / "pets/aliases/production.jsonl").read_bytes().splitlines()[0])
    manifest, _ = read(root, (root / "pets/versions/99999998-1.json").read_bytes())

    folder_registry.withdraw("pets@2", "asked for", is_dry=False)
    tombstone, _ = read(root, (root / "pets/versions/99999997-2.json").read_bytes())

    assert named >= {*step, *manifest, *tombstone}
    assert (root / "petmodels.json").read_text() == '{"format":1,"kind":"petmodels registry"}\n'


def test_the_python_on_the_consumers_page_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETMODELS_REGISTRY", str(root))
    Path("cat.jpg").write_bytes(image_bytes("red"))
    Path("dog.jpg").write_bytes(image_bytes("green"))
    code = re.findall(r"<!-- run -->\n```python\n(.*?)```", text_of("consumer.md"), flags=re.DOTALL)

    for block in code:
        exec(compile(block, "consumer.md", "exec"), {})  # noqa: S102

    lines = capsys.readouterr().out.splitlines()
    assert len(code) == 4
    assert lines[0] == "red 1.0 False"
    assert lines[-3].startswith("pets@1 ('red', 'green', 'blue')")
    assert lines[-2] == "look at cat.jpg"
    assert lines[-1] == "+0.0% (-75.0% to +75.0%), p = 1"


@pytest.fixture
def recipe(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run what the consumer's page gives a program that runs for long; return its names."""
    monkeypatch.setenv("PETMODELS_REGISTRY", str(root))
    code = re.findall(r"<!-- run -->\n```python\n(.*?)```", text_of("consumer.md"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(next(block for block in code if "refreshed" in block), "consumer.md", "exec"), names)  # noqa: S102
    return names


def test_the_recipe_logs_why_it_keeps_the_old_model(
    recipe: dict[str, Any], folder_registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(tmp_path / "bad")
    expected = json.loads((bundle / "self_test.json").read_text())
    expected["images"][0]["probabilities"].reverse()
    write_json(bundle / "self_test.json", expected)
    folder_registry.publish(bundle, "pets")
    folder_registry.promote("pets@3", "production")

    kept = recipe["refreshed"](recipe["model"])

    assert kept is recipe["model"]
    assert [(record.levelname, "pets@1" in record.message) for record in caplog.records] == [("WARNING", True)]
    assert "self_test/01.png" in caplog.messages[0]


def test_by_the_recipe_a_worker_that_begins_later_has_the_model_of_then(
    recipe: dict[str, Any], folder_registry: Registry
) -> None:
    folder_registry.promote("pets@2", "production")

    recipe["post_fork"](None, None)

    assert recipe["model"].name == "pets@2"


def test_a_cache_without_its_blobs_still_knows_the_registry(recipe: dict[str, Any], root: Path) -> None:
    registry = Registry(root)
    shutil.rmtree(registry.cache.folder / "blobs")
    assert registry.load("pets@production").name == "pets@1"
    history = root / "pets/aliases/production.jsonl"
    history.write_bytes(b"".join(history.read_bytes().splitlines(keepends=True)[:2]))
    shutil.rmtree(registry.cache.folder / "blobs")

    with pytest.raises(ReplayError, match="somebody rolled the store back"):
        registry.load("pets@production")


def test_every_setting_of_the_package_is_on_the_consumers_page() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "petmodels").glob("*.py"))
    settings = set(re.findall(r'"(PETMODELS_\w+|AWS_MAX_ATTEMPTS|ORT_DISABLE_TELEMETRY)"', source))

    assert settings == set(re.findall(r"^\| (\w+) \|", text_of("consumer.md"), flags=re.MULTILINE)) - {"setting"}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_on_the_pages_exist(page: str) -> None:
    named = re.findall(r"\]\(([^)#:]+)\)", text_of(page)) + re.findall(r"tests/petmodels/\w+\.py", text_of(page))

    assert [name for name in named if not ((DOCS / name).exists() or (DOCS.parent / name).exists())] == []


def test_the_wheel_has_the_name_that_its_building_gives() -> None:
    texts = text_of("consumer.md") + (DOCS.parent / "README.md").read_text(encoding="utf-8")

    assert set(re.findall(r"petmodels-\S+?\.whl", texts)) == {f"petmodels-{petmodels.__version__}-py3-none-any.whl"}


@pytest.mark.slow
def test_the_commands_on_the_consumers_page_run(run: Command, tmp_path: Path) -> None:
    Path("cat.jpg").write_bytes(image_bytes("red"))
    Path("more").mkdir()
    Path("more/dog.jpg").write_bytes(image_bytes("green"))
    Path("dvc.lock").write_text("schema: '2.0'\n")
    for number in range(1, 8):
        run("publish", make_bundle(Path("data/bundle"), tag=str(number)), "--model", "pets")
    run("promote", "pets@7", "production")
    make_bundle(Path("data/bundle"), tag="8")
    digest = hashlib.sha256(Path("cat.jpg").read_bytes()).hexdigest()
    Path("data/bundle/seen_images.csv").write_text(f"sha256,group\n{digest},{digest}\n")

    lines = commands_in(text_of("consumer.md"))
    failed = {line: done for line in lines if (done := run(*shlex.split(line)[1:])).code}

    assert len(lines) > 10
    assert failed == {}


def test_what_the_consumers_page_deletes_gives_the_room_back_and_leaves_the_memory(
    folder_registry: Registry, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("PETMODELS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (bundle / "large.bin").write_bytes(os.urandom(10**6))
    folder_registry.publish(bundle, "pets")
    reader = Registry(folder_registry.storage.address)
    pulled = reader.pull("pets@1")
    assert room(reader.cache.folder) > 10**6
    section = text_of("consumer.md").partition("## What it keeps on this machine")[2].partition("\n## ")[0]
    (command,) = re.findall(r"^rm .*$", section, flags=re.MULTILINE)

    subprocess.run(["sh", "-c", command], check=True)

    assert room(reader.cache.folder) < 10**5
    assert reader.memory.statement("pets", 1)
    assert reader.pull("pets@1") == pulled


def room(folder: Path) -> int:
    """Return how many bytes a folder holds, those of a file with several names once."""
    return sum({found.st_ino: found.st_size for found in (path.stat() for path in folder.rglob("*"))}.values())


def test_every_command_in_readme_is_one_that_exists() -> None:
    lines = commands_in((DOCS.parent / "README.md").read_text(encoding="utf-8"))
    commands = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}

    assert len(lines) >= 3
    assert {shlex.split(line)[1] for line in lines} <= commands


def commands_in(text: str) -> list[str]:
    """Return the petmodels commands in a page's blocks of shell commands, what the shell would fill in filled in."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for language, block in blocks if not language for line in block.splitlines()]
    lines = [re.sub(r"\$\(.*?\)", "a1" * 20, line.removeprefix("git diff --quiet HEAD && ")) for line in lines]
    return [line for line in lines if line.startswith("petmodels ")]
