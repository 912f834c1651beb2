"""A folder that a pull has made is used as the registry gave it, or not at all; any other one is its owner's."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import petmodels
from petmodels.documents import Statement, load_statement
from petmodels.errors import BundleError, ChecksumError, FormatError, RequestError, SignatureError
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.signing import TRUSTED_KEYS, new_key, signed
from tests.petmodels.bundles import image_bytes, make_bundle, write_json
from tests.petmodels.commands import Command

RECORD = ".petmodels.json"


@pytest.fixture
def pulled(folder_registry: Registry, bundle: Path, tmp_path: Path) -> Path:
    """Return the folder of a version that `key` has signed."""
    new_key(tmp_path / "key")
    (bundle / "learner.pkl").write_bytes(b"for fastai")
    folder_registry.publish(bundle, "pets", Origin(key_file=tmp_path / "key"))
    return folder_registry.pull("pets@1", tmp_path / "model")


@pytest.fixture
def trusting(pulled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder on a machine that demands a signature by `key`."""
    monkeypatch.setenv(TRUSTED_KEYS, load_statement((pulled / RECORD).read_bytes(), "").signatures[0].key)
    return pulled


def change(path: Path, data: bytes) -> None:
    """Write other bytes in a file's place; those of the cache, which it may be a link to, stay."""
    path.unlink()
    path.write_bytes(data)


def swap_labels(folder: Path) -> None:
    content = json.loads((folder / "labels.json").read_text())
    content["labels"].reverse()
    change(folder / "labels.json", json.dumps(content).encode())


def test_swapped_labels_of_a_pulled_folder_are_one_line_with_the_ways_on(
    trusting: Path, run: Command, tmp_path: Path
) -> None:
    Path("red.jpg").write_bytes(image_bytes("red"))
    swap_labels(trusting)

    done = run("predict", "red.jpg", "--model", trusting)

    told = f"this file isn't pets@1's any more; pull it again, or delete {trusting}/{RECORD} if the change is your own"
    assert (done.code, done.data, done.talk) == (6, [], [f"petmodels: {told}: {trusting}/labels.json"])


@pytest.mark.parametrize("name", ["model.onnx", "preprocess.json", "self_test.json", "self_test/01.png", "card.json"])
def test_a_file_that_a_pulled_folder_has_lost_or_changed_is_named_without_keys_too(pulled: Path, name: str) -> None:
    whole = (pulled / name).read_bytes()
    (pulled / name).unlink()
    with pytest.raises(ChecksumError, match=f"this file isn't pets@1's any more; .*: .*/{name}$"):
        petmodels.load(pulled)

    (pulled / name).write_bytes(whole[::-1])
    with pytest.raises(ChecksumError, match=f": .*/{name}$"):
        petmodels.load(pulled)


def test_a_pulled_folder_that_is_whole_predicts_with_what_was_checked_alone(trusting: Path) -> None:
    (trusting / "learner.pkl").unlink()
    (trusting / "metrics.json.orig").write_bytes(b"somebody's")

    model = petmodels.load(trusting)

    assert model.predict(image_bytes("red")).label == "red"
    assert not {"learner.pkl", "metrics.json.orig", RECORD} & set(model.files)


def test_without_its_record_a_folder_is_its_owners_and_needs_no_key(trusting: Path) -> None:
    swap_labels(trusting)
    (trusting / RECORD).unlink()
    (trusting / "self_test.json").unlink()

    assert petmodels.load(trusting).predict(image_bytes("red")).label == "blue"


def test_a_record_that_was_rewritten_with_the_files_is_refused_where_keys_are_trusted(
    trusting: Path, tmp_path: Path
) -> None:
    swap_labels(trusting)
    data = (trusting / RECORD).read_bytes()
    statement = load_statement(data, "")
    new_key(tmp_path / "stranger")
    for forged in (Statement("{}", statement.signatures), signed(Statement(statement.payload), tmp_path / "stranger")):
        change(trusting / RECORD, forged.to_bytes())
        with pytest.raises(
            SignatureError, match=r"this pulled folder's record can't be trusted; pull it again: .*petmodels\.json"
        ):
            petmodels.load(trusting)


def test_a_folder_that_was_pulled_before_its_version_was_signed_wants_to_be_pulled_again(
    folder_registry: Registry, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_registry.publish(bundle, "pets")
    target = folder_registry.pull("pets@1", tmp_path / "model")
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))
    with pytest.raises(SignatureError, match=r"pull it again: .* is not signed, and PETMODELS_TRUSTED_KEYS asks"):
        petmodels.load(target)
    path = next((tmp_path / "registry/pets/versions").iterdir())
    path.write_bytes(signed(load_statement(path.read_bytes(), ""), tmp_path / "key").to_bytes())

    Registry(tmp_path / "registry").pull("pets@1", target)

    assert petmodels.load(target).predict(image_bytes("red")).label == "red"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is not plain JSON"),
        (Statement("{}").to_bytes(), "is of no format"),
        (Statement('{"format":1}').to_bytes(), "names no version of a model"),
        (Statement('{"format":1,"model":"pets","version":true}').to_bytes(), "names no version of a model"),
        (Statement('{"format":1,"model":"pets","version":1}').to_bytes(), "lacks or adds keys"),
        (b" " * (5 * 2**20), "is larger than"),
    ],
)
def test_a_record_that_is_none_is_one_line(pulled: Path, data: bytes, match: str) -> None:
    change(pulled / RECORD, data)

    with pytest.raises(FormatError, match=f"record is broken; pull into a new folder: .*{match}"):
        petmodels.load(pulled)


def test_a_folder_whose_record_is_broken_stays_and_a_new_one_is_taken(pulled: Path, tmp_path: Path) -> None:
    change(pulled / RECORD, b"")
    registry = Registry(tmp_path / "registry")

    with pytest.raises(RequestError, match="choose a folder that is empty or does not exist"):
        registry.pull("pets@1", pulled)

    assert petmodels.load(registry.pull("pets@1", tmp_path / "new")).labels == ("red", "green", "blue")


@pytest.mark.parametrize("kind", ["a folder", "a link to nothing"])
def test_what_stands_in_the_records_place_is_not_passed_over(pulled: Path, kind: str) -> None:
    (pulled / RECORD).unlink()
    if kind == "a folder":
        (pulled / RECORD).mkdir()
    else:
        (pulled / RECORD).symlink_to("nowhere")

    with pytest.raises(
        FormatError, match=r"record is broken; pull into a new folder: it can't be read \(.*\): .*json$"
    ):
        petmodels.load(pulled)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_in_a_files_place_keeps_nobody_waiting(pulled: Path) -> None:
    (pulled / "labels.json").unlink()
    os.mkfifo(pulled / "labels.json")

    with pytest.raises(ChecksumError, match=r": .*/labels\.json$"):
        petmodels.load(pulled)


def test_a_file_that_may_not_be_read_is_one_line(pulled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("petmodels.pulled.has_bytes", refused)

    with pytest.raises(BundleError, match=r"a file can't be read \(Permission denied\): .*/model/"):
        petmodels.load(pulled)


def test_a_pulled_folder_may_be_moved_copied_and_published(trusting: Path, tmp_path: Path) -> None:
    shutil.copytree(trusting, tmp_path / "copy")

    assert petmodels.load(tmp_path / "copy").predict(image_bytes("red")).label == "red"
    assert Registry(tmp_path / "other").publish(tmp_path / "copy", "pets").is_new


def test_a_version_in_an_images_cache_is_checked_by_key_and_hash_and_no_store_is_asked(
    trusting: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    registry.pull("pets@1")
    shutil.rmtree(tmp_path / "registry")
    assert petmodels.load("pets@1", registry=tmp_path / "registry").predict(image_bytes("red")).label == "red"
    labels = next(file for file in registry.manifest("pets@1").files if file.path == "labels.json")
    change(registry.cache.path(labels.sha256), b"x" * labels.size_bytes)

    with pytest.raises(ChecksumError, match=r"lost this file's bytes; run petmodels verify: labels\.json of pets"):
        petmodels.load("pets@1", registry=tmp_path / "registry")


def test_a_bundle_that_was_never_pulled_needs_no_signature(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate judges candidates before anybody signs them."""
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))
    write_json(bundle / "card.json", {"title": "changed by hand"})

    assert petmodels.load(bundle).card == {"title": "changed by hand"}
    assert petmodels.load(make_bundle(tmp_path / "second")).labels == ("red", "green", "blue")
