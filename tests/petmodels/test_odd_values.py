"""Every value in every document exchanged for odd ones, and odd things asked for: what is asked answers or refuses in
one line, and never breaks.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import petmodels
from petmodels.documents import Statement, load_statement
from petmodels.errors import PetmodelsError, RequestError
from petmodels.names import version_key
from petmodels.registry import Registry
from petmodels.writable import ROOT_KEY
from tests.petmodels.bundles import image_bytes, make_bundle, onnx_bytes, write_files, write_json
from tests.petmodels.commands import Command

ODD = (None, True, -1, 0, 1.5, 10**400, "", "x", "\x1b[2J", [], [[]], {}, {"x": {}}, "1" * 5000)
READERS = (
    "list",
    "list pets",
    "show pets@2",
    "history pets",
    "diff pets@1 pets@2",
    "verify pets",
    "pull pets@production",
)


def variants(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield the document with one value changed or one key lost, and where."""
    for path in list(places(document)):
        for odd in ODD:
            changed = copy.deepcopy(document)
            spot(changed, path[:-1])[path[-1]] = odd
            yield f"{'/'.join(map(str, path))} = {str(odd)[:20]!r}", changed
        changed = copy.deepcopy(document)
        del spot(changed, path[:-1])[path[-1]]
        yield f"no {'/'.join(map(str, path))}", changed


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def spot(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


@pytest.fixture
def root(folder_registry: Registry, tmp_path: Path) -> Path:
    """Return the folder of a registry with pets@1 and pets@2, and production that names first one, then the other."""
    for number in (1, 2):
        card, metrics = f'{{"title": "colours {number}"}}', f'{{"accuracy": 0.{number}}}'
        bundle = write_files(
            tmp_path / f"bundle{number}", {"card.json": card.encode(), "metrics.json": metrics.encode()}
        )
        folder_registry.publish(bundle, "pets")
        folder_registry.promote(f"pets@{number}", "production")
    return tmp_path / "registry"


class Readers:
    """Whoever reads a registry, on a machine that has seen nothing."""

    def __init__(self, run: Command, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.run, self.monkeypatch, self.folder, self.turn = run, monkeypatch, folder, 0

    def assert_all_hold(self, what: str, first: str) -> None:
        """Run the command `first`, and then the others: all of them, or where it refuses, one of them by turns."""
        self.turn += 1
        self.monkeypatch.setenv("PETMODELS_CACHE", str(self.folder / f"fresh{self.turn}"))
        others = [command for command in READERS if command != first]
        is_refused = self._code(what, first) != 0
        for command in [others[self.turn % len(others)]] if is_refused else others:
            self._code(what, command)

    def _code(self, what: str, command: str) -> int:
        done = self.run(*command.split())
        assert done.code in {0, 3, 5, 6}, (what, command, done)
        assert len([line for line in done.talk if line.startswith("petmodels: ")]) <= 1, (what, command, done.talk)
        assert "Traceback" not in "\n".join(done.talk), (what, command, done.talk)
        return done.code


@pytest.fixture
def readers(run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Readers:
    return Readers(run, monkeypatch, tmp_path)


@pytest.mark.slow
def test_a_manifest_with_any_odd_value_breaks_no_command(root: Path, readers: Readers) -> None:
    path = root / version_key("pets", 2)
    payload = json.loads(load_statement(path.read_bytes(), "").payload)
    for what, changed in variants(payload):
        path.write_bytes(Statement(json.dumps(changed)).to_bytes())
        readers.assert_all_hold(what, "show pets@2")


@pytest.mark.slow
def test_a_history_with_any_odd_value_breaks_no_command(root: Path, readers: Readers) -> None:
    path = root / "pets/aliases/production.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    payload = json.loads(load_statement(lines[1], "").payload)
    for what, changed in variants(payload):
        path.write_bytes(lines[0] + Statement(json.dumps(changed)).to_bytes())
        readers.assert_all_hold(what, "history pets")


def error_of(folder: Path) -> str:
    """Return why a bundle can't predict, "" when it answers with a probability."""
    try:
        answer = petmodels.load(folder).predict(image_bytes("red"))
    except PetmodelsError as error:
        return str(error)
    assert 0 < answer.probability <= 1
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("file", ["labels.json", "preprocess.json", "self_test.json", "card.json", "metrics.json"])
def test_a_bundle_with_any_odd_value_answers_or_is_refused_in_one_line(file: str, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", self_test=file == "self_test.json")
    content = json.loads((folder / file).read_text())
    refused = 0
    for what, changed in variants(content):
        (folder / file).write_text(json.dumps(changed))
        error = error_of(folder)
        assert "\n" not in error, (what, error)
        refused += error != ""
    assert refused > 0 or file in {"card.json", "metrics.json"}


@pytest.mark.parametrize(
    ("crop", "sharpness", "match"),
    [
        ({"kind": "center", "width": 9, "height": 9}, 2.0, r"model\.onnx of .* can't answer images of 9 x 9 pixels: "),
        ({"kind": "center", "width": 24, "height": 24}, float("nan"), r"model\.onnx of .* answers with no numbers"),
    ],
)
def test_a_network_that_can_not_answer_is_refused_in_one_line(
    crop: dict[str, Any], sharpness: float, match: str, tmp_path: Path
) -> None:
    folder = make_bundle(tmp_path / "bundle", self_test=False)
    content = json.loads((folder / "preprocess.json").read_text())
    (folder / "preprocess.json").write_text(json.dumps({**content, "crop": crop}))
    (folder / "model.onnx").write_bytes(onnx_bytes(sharpness=sharpness))

    assert re.match(match, error_of(folder))


def test_an_infinite_metric_is_refused_before_anything_is_published(run: Command, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "bundle", {"metrics.json": b'{"accuracy": 1e999}'})

    done = run("publish", folder, "--model", "pets")

    assert done.code == 1
    assert done.talk[0].startswith(f"petmodels: {folder}/metrics.json is not plain JSON: ")
    assert run("list", "pets").code == 3


@pytest.mark.slow
def test_a_registrys_document_with_any_odd_value_breaks_no_command(
    root: Path, run: Command, readers: Readers, tmp_path: Path
) -> None:
    content = json.loads((root / ROOT_KEY).read_text())
    for what, changed in variants(content):
        (root / ROOT_KEY).write_text(json.dumps(changed))
        readers.assert_all_hold(what, "list")
        done = run("publish", tmp_path / "bundle1", "--model", "pets")
        assert done.code in {0, 6}, (what, done)


def with_labels(folder: Path, labels: object) -> Path:
    """Write a bundle whose labels.json lists something else than texts."""
    write_json(make_bundle(folder) / "labels.json", {"format": 1, "labels": labels})
    return folder


@pytest.mark.parametrize("labels", [[{"a": 1}], [["red"]], [None, "red"], {"red": 1}, None])
def test_labels_that_are_no_texts_are_none_in_a_diff_and_the_file_is_told(
    labels: object, folder_registry: Registry, bundle: Path
) -> None:
    folder_registry.publish(bundle, "pets")
    folder_registry.publish(with_labels(bundle, labels), "pets")

    there, back = folder_registry.diff("pets@1", "pets@2"), folder_registry.diff("pets@2", "pets@1")

    assert there.files["labels.json"] == "changed"
    assert (there.labels, back.labels) == ((("red", "green", "blue"), ()), ((), ("red", "green", "blue")))


ASKED: list[Callable[[Registry], object]] = [
    lambda registry: registry.versions("pets", limit=0),
    lambda registry: registry.versions("pets", limit=-1),
    lambda registry: registry.listing("pets", limit=0),
    lambda registry: registry.load("pets@1").predict(image_bytes("red"), top=0),
    lambda registry: list(registry.load("pets@1").predict(iter([image_bytes("red")]), top=-1)),
    lambda registry: registry.verify_all("../pets"),
    lambda registry: registry.verify_all("\0"),
    lambda registry: Registry(registry.storage.address, cache="no\0cache").models_seen(),
]


@pytest.mark.parametrize("ask", ASKED)
def test_whatever_is_wrong_a_registry_raises_its_own_errors(
    ask: Callable[[Registry], object], folder_registry: Registry, bundle: Path
) -> None:
    folder_registry.publish(bundle, "pets")

    with pytest.raises(RequestError, match=r"at least 1|a model's name is|holds a NUL"):
        ask(folder_registry)
