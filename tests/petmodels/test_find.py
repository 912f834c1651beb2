"""Which versions were trained on an image, or show it, is answered from two small files of each, and gaps are told."""

import csv
import hashlib
from pathlib import Path

import pytest

from petmodels.errors import NotFoundError, RequestError
from petmodels.names import blob_key
from petmodels.registry import Registry
from tests.petmodels.bundles import make_bundle, write_files
from tests.petmodels.commands import Command

PICTURE = b"any bytes"
IT = hashlib.sha256(PICTURE).hexdigest()
FIRST, OTHER = "a" * 64, "b" * 64
SEEN, SHOWN = "seen_images.csv", "shown_images.csv"


def lists(seen: list[tuple[str, str]], shown: list[tuple[str, str, str]]) -> dict[str, bytes]:
    """Return a bundle's two lists; rows are a hash, a group, and the file that shows the image."""
    trained = "".join(f"{sha256},{group}\n" for sha256, group in seen)
    pictured = "".join(f"{sha256},{group},{file}\n" for sha256, group, file in shown)
    return {SEEN: f"sha256,group\n{trained}".encode(), SHOWN: f"sha256,group,file\n{pictured}".encode()}


@pytest.fixture
def four(registry: Registry, tmp_path: Path) -> Registry:
    """A registry: pets@1 has no lists, @2 was trained on it, @3 shows it, @4 was trained on the copy before it."""
    contents = [
        {},
        lists([(IT, FIRST), (OTHER, OTHER)], []),
        lists([(OTHER, OTHER)], [(IT, FIRST, "report.html"), (IT, FIRST, "self_test/01.jpg")]),
        lists([(FIRST, FIRST)], [(OTHER, OTHER, "report.html")]),
    ]
    for number, files in enumerate(contents, start=1):
        registry.publish(write_files(tmp_path / str(number), {"own": b"%d" % number} | files), "pets")
    registry.promote("pets@3", "production")
    return registry


def told(registry: Registry, image: str | Path, model: str = "") -> list[tuple[int, str, bool, str]]:
    return [(one.version, one.how, one.is_copy, one.file) for one in registry.find(image, model).uses]


@pytest.mark.slow
def test_an_image_is_found_where_it_was_trained_on_where_it_is_shown_and_as_a_copy(four: Registry) -> None:
    found = four.find(IT, "pets")

    assert [(one.model, one.version, one.aliases, one.how, one.is_copy, one.file) for one in found.uses] == [
        ("pets", 4, (), "trained on", True, ""),
        ("pets", 3, ("production",), "shows", False, "report.html"),
        ("pets", 3, ("production",), "shows", False, "self_test/01.jpg"),
        ("pets", 2, (), "trained on", False, ""),
    ]
    assert found.unknown == ("pets@1: its bundle has no seen_images.csv and no shown_images.csv",)


@pytest.mark.slow
def test_the_first_of_a_group_finds_its_copies_where_it_is_listed_itself_nowhere(four: Registry) -> None:
    four.withdraw("pets@4", "asked for", is_dry=False)

    assert [one[:3] for one in told(four, FIRST)] == [
        (3, "shows", True),
        (3, "shows", True),
        (2, "trained on", True),
    ]
    assert four.find(FIRST).unknown[0].startswith("pets@4: withdrawn on 20")


def test_a_file_on_disk_is_found_by_its_bytes_in_every_model(four: Registry, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(PICTURE)
    four.publish(write_files(tmp_path / "cats", lists([(IT, IT)], [])), "cats")

    found = four.find(tmp_path / "cat.jpg")

    assert [f"{one.model}@{one.version}" for one in found.uses] == ["cats@1", "pets@4", "pets@3", "pets@3", "pets@2"]


def test_a_list_is_read_once_however_many_versions_have_it(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        files = lists([(IT, IT), (OTHER, IT)], [(OTHER, IT, "report.html")]) | {"own": b"%d" % number}
        folder_registry.publish(write_files(tmp_path / str(number), files), "pets")
    opened, read = [], csv.reader
    monkeypatch.setattr(csv, "reader", lambda file: [opened.append(file.name), read(file)][1])

    found = told(folder_registry, IT)

    assert [version for version, *_ in found] == [3, 3, 3, 2, 2, 2, 1, 1, 1]
    assert len(opened) == len(set(opened)) == 2


def test_a_group_that_a_later_list_tells_finds_copies_in_those_that_were_read_before(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petmodels.parallel.THREADS", 1)
    for number, seen in enumerate([[(IT, FIRST)], [(OTHER, FIRST)]], start=1):
        folder_registry.publish(write_files(tmp_path / str(number), lists(seen, [])), "pets")

    assert [one[:3] for one in told(folder_registry, IT)] == [(2, "trained on", True), (1, "trained on", False)]


def test_only_the_two_lists_are_fetched(four: Registry, tmp_path: Path) -> None:
    reader = Registry(four.storage.address, cache=tmp_path / "reader")

    reader.find(IT)

    wanted = {file.sha256 for number in (2, 3, 4) for file in four.manifest(f"pets@{number}").files if "_" in file.path}
    assert {path.name for path in (tmp_path / "reader/blobs").iterdir() if len(path.name) == 64} == wanted


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"digest,cluster\na,b\n", "seen_images.csv lacks a column sha256 or group"),
        (b"sha256,group\n\xff,b\n", "seen_images.csv is no list that can be read"),
    ],
)
def test_a_list_that_cant_be_read_is_said_and_hides_nothing(
    folder_registry: Registry, tmp_path: Path, content: bytes, why: str
) -> None:
    files = lists([], [(IT, IT, "report.html")]) | {SEEN: content}
    folder_registry.publish(write_files(tmp_path / "1", files), "pets")

    found = folder_registry.find(IT)

    assert told(folder_registry, IT) == [(1, "shows", False, "report.html")]
    assert found.unknown[0].startswith(f"pets@1: {why}")


def test_images_without_a_group_are_no_copies_of_each_other_and_a_short_row_is_read(
    folder_registry: Registry, tmp_path: Path
) -> None:
    files = lists([(OTHER, "")], []) | {SHOWN: f"sha256,group,file\n{IT}\n".encode()}
    folder_registry.publish(write_files(tmp_path / "1", files), "pets")

    assert told(folder_registry, IT) == [(1, "shows", False, "")]


def test_a_list_whose_bytes_were_changed_is_not_believed(four: Registry, tmp_path: Path) -> None:
    manifest = four.manifest("pets@2")
    blob = next(file.blob for file in manifest.files if file.path == SEEN)
    four.storage.delete(blob_key("pets", blob))
    reader = Registry(four.storage.address, cache=tmp_path / "reader")

    found = reader.find(IT)

    assert 2 not in {one.version for one in found.uses}
    assert any(line.startswith("pets@2: the registry has lost this file's bytes") for line in found.unknown)


def test_a_broken_manifest_is_said_and_hides_nothing(folder_registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2):
        files = lists([(IT, IT)], []) | {"own": b"%d" % number}
        folder_registry.publish(write_files(tmp_path / str(number), files), "pets")
    next((tmp_path / "registry/pets/versions").glob("*-1.json")).write_bytes(b"{}")

    found = folder_registry.find(IT)

    assert [one.version for one in found.uses] == [2]
    assert found.unknown[0].startswith("pets@1: ")


def test_a_broken_alias_hides_no_version(folder_registry: Registry, tmp_path: Path) -> None:
    folder_registry.publish(write_files(tmp_path / "1", lists([(IT, IT)], [])), "pets")
    folder_registry.storage.create("pets/aliases/production.jsonl", b"{}")
    heard: list[str] = []

    found = Registry(tmp_path / "registry", notice=heard.append).find(IT)

    assert [(one.version, one.aliases) for one in found.uses] == [(1, ())]
    assert heard[0].startswith("the aliases are left out: the history of pets@production")


def test_what_names_no_image_is_refused_before_anything_is_asked(folder_registry: Registry) -> None:
    with pytest.raises(RequestError, match=r"give a file on this machine, or a SHA-256 .*: no/such\.jpg"):
        folder_registry.find("no/such.jpg")


def test_a_model_that_is_not_there_is_named_with_the_others(four: Registry) -> None:
    with pytest.raises(NotFoundError, match=r"no model cats .* models there: pets"):
        four.find(IT, "cats")


def test_the_command_prints_a_row_a_use_and_ends_with_3_where_there_is_none(run: Command, tmp_path: Path) -> None:
    bundle = write_files(make_bundle(tmp_path / "bundle"), lists([(IT, IT)], [(OTHER, IT, "report.html")]))
    run("publish", bundle, "--model", "pets")
    run("promote", "pets@1", "production")
    run("publish", make_bundle(tmp_path / "older", tag="without lists"), "--model", "pets")

    found, as_json, none = run("find", IT), run("find", IT, "pets", "--json"), run("find", "c" * 64)

    assert [" ".join(line.split()) for line in found.data] == [
        "version aliases how what file",
        "pets@1 production trained on it",
        "pets@1 production shows a copy of it report.html",
    ]
    assert found.talk == ["can't be known of pets@2: its bundle has no seen_images.csv and no shown_images.csv"]
    assert (found.code, as_json.code, none.code) == (0, 0, 3)
    assert as_json.json["found"][0] == {
        "model": "pets", "version": 1, "aliases": ["production"], "how": "trained on", "is_copy": False, "file": "",
    }  # fmt: skip
    assert none.data == []
    assert none.talk[-1] == (
        f"petmodels: no version's lists have this image or a copy of it; of 1 version it can't be known: {'c' * 64}"
    )


def test_a_version_of_which_neither_list_can_be_read_counts_once(run: Command, tmp_path: Path) -> None:
    files = {SEEN: b"no list\n", SHOWN: b"none either\n"}
    run("publish", write_files(make_bundle(tmp_path / "bundle"), files), "--model", "pets")

    found = run("find", IT)

    assert len(found.talk) == 3
    assert found.talk[-1].endswith(f"; of 1 version it can't be known: {IT}")
