"""The whole way, on a folder and on a real S3: publish, promote, pull, predict, roll back, prune."""

import hashlib
from pathlib import Path

import pytest

import petmodels
from petmodels.errors import BundleError, ConflictError, NotFoundError, RequestError
from petmodels.registry import Registry
from tests.petmodels.bundles import image_bytes, make_bundle, write_files


def test_a_published_bundle_is_pulled_byte_for_byte(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    registry.publish(bundle, "pets")

    target = registry.pull("pets@1", tmp_path / "pulled")

    expected = {path.relative_to(bundle): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    pulled = {path.relative_to(target): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert {path: data for path, data in pulled.items() if path != Path(".petmodels.json")} == expected


def test_a_promoted_version_predicts_in_three_lines(registry: Registry, address: str, bundle: Path) -> None:
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")

    model = petmodels.load("pets@production", registry=address)

    assert (model.name, model.version, model.labels) == ("pets@1", 1, ("red", "green", "blue"))
    assert model.predict(image_bytes("green")).label == "green"


def test_versions_are_numbered_from_one_and_listed_newest_first(registry: Registry, tmp_path: Path) -> None:
    for number in range(12):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number])}), "pets")

    assert registry.versions("pets") == list(range(12, 0, -1))


def test_publishing_the_same_bundle_again_makes_no_version(registry: Registry, bundle: Path) -> None:
    first = registry.publish(bundle, "pets")
    again = registry.publish(bundle, "pets")

    assert (first.is_new, again.is_new) == (True, False)
    assert registry.versions("pets") == [1]


def test_publishing_again_makes_a_whole_version_of_one_that_has_lost_one_of_several_files(
    registry: Registry, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "bundle", {"a": b"a", "b": b"b", "c": b"c"})
    lost = registry.publish(folder, "pets").manifest.files[1].blob
    registry.storage.delete(f"pets/blobs/{lost}")

    again = registry.publish(folder, "pets")

    assert again.is_new
    assert (registry.pull(again.manifest.name, tmp_path / "pulled") / "b").read_bytes() == b"b"


@pytest.mark.parametrize("host", ["", "localhost"])
@pytest.mark.parametrize("name", ["my models", "my%20models"])
def test_a_folders_address_with_three_slashes_is_the_folder(tmp_path: Path, host: str, name: str) -> None:
    Registry(tmp_path / "my models").publish(write_files(tmp_path / "bundle", {"a": b"a"}), "pets")

    registry = Registry(f"file://{host}{tmp_path}/{name}")

    assert (registry.versions("pets"), registry.storage.address) == ([1], str(tmp_path / "my models"))


def test_an_unchanged_blob_is_never_uploaded_twice(registry: Registry, tmp_path: Path) -> None:
    registry.publish(write_files(tmp_path / "1", {"same": b"s" * 1000, "other": b"1"}), "pets")

    second = registry.publish(write_files(tmp_path / "2", {"same": b"s" * 1000, "other": b"22"}), "pets")

    assert (second.sent_bytes, second.present_bytes) == (2, 1000)


def test_a_file_of_an_older_version_is_found_and_not_sent_again(registry: Registry, tmp_path: Path) -> None:
    for number, files in enumerate(({"a": b"old"}, {"a": b"newer"}), start=1):
        registry.publish(write_files(tmp_path / str(number), files), "pets")

    third = registry.publish(write_files(tmp_path / "3", {"a": b"old", "b": b"b"}), "pets")

    assert (third.sent_bytes, third.present_bytes) == (1, 3)
    assert {file.blob for file in third.manifest.files} >= {hashlib.sha256(b"old").hexdigest()}


def test_a_name_that_holds_other_bytes_is_passed_over(registry: Registry, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    registry.publish(write_files(tmp_path / "1", {"a": b"a"}), "pets")
    assert registry.storage.create(f"pets/blobs/{digest}", b"wrong bytes")

    second = registry.publish(write_files(tmp_path / "2", {"a": b"right"}), "pets").manifest

    assert second.files[0].blob.startswith(f"{digest}.")
    assert (registry.pull("pets@2", tmp_path / "out") / "a").read_bytes() == b"right"


def test_rollbacks_undo_one_promotion_after_the_other(registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number])}), "pets")
        registry.promote(f"pets@{number}", "production")

    named = [registry.rollback("pets", "production").version for _ in range(2)]

    assert named == [2, 1]
    with pytest.raises(NotFoundError, match="pets@production never named another version"):
        registry.rollback("pets", "production")


def test_over_moves_an_alias_only_from_what_it_is_expected_to_name(registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number])}), "pets")

    with pytest.raises(ConflictError, match=r"pets@production names nothing yet, and not pets@1; look at petmodels hi"):
        registry.promote("pets@2", "production", over=1)
    assert registry.aliases("pets") == []
    registry.promote("pets@1", "production", over=0)
    registry.promote("pets@2", "production", over=1)
    for over, wanted in ((1, "pets@1"), (0, "nothing")):
        with pytest.raises(ConflictError, match=f"pets@production names pets@2, and not {wanted}; look at petmodels"):
            registry.promote("pets@3", "production", over=over)

    again = registry.promote("pets@2", "production", over=1)  # as a client whose answer got lost would ask

    assert [step.version for step in again.steps] == [1, 2]
    assert list(registry.storage.list("pets/intents/")) == []


@pytest.mark.slow
def test_prune_keeps_the_newest_the_aliased_and_what_a_rollback_needs(registry: Registry, tmp_path: Path) -> None:
    for number in range(1, 7):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number]), "shared": b"shared"}), "pets")
    registry.promote("pets@1", "production")
    registry.promote("pets@3", "production")

    dry = registry.prune("pets", keep=1)
    assert registry.versions("pets") == [6, 5, 4, 3, 2, 1]
    done = registry.prune("pets", keep=1, is_dry=False)

    assert (dry.versions, done.versions) == ((2, 4, 5), (2, 4, 5))
    assert registry.versions("pets") == [6, 3, 1]
    assert done.num_blobs == 3
    assert registry.verify_all("pets").findings == ()


def test_a_number_is_never_given_twice_after_a_prune(registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        registry.publish(write_files(tmp_path / str(number), {"a": bytes([number])}), "pets")
    registry.prune("pets", keep=1, is_dry=False)

    published = registry.publish(write_files(tmp_path / "4", {"a": b"4"}), "pets")

    assert published.manifest.version == 4


def test_a_missing_version_is_refused_with_the_list_of_versions(registry: Registry, bundle: Path) -> None:
    registry.publish(bundle, "pets")

    with pytest.raises(NotFoundError, match="no version 7 of pets; published versions: 1"):
        registry.pull("pets@7")
    with pytest.raises(NotFoundError, match=r"no model cats in .*; models there: pets"):
        registry.pull("cats")
    with pytest.raises(NotFoundError, match="pets has no alias staging"):
        registry.pull("pets@staging")


def test_a_copy_keeps_number_and_manifest_and_comes_back(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    registry.publish(make_bundle(tmp_path / "first", tag="first"), "pets")
    registry.publish(bundle, "pets")
    stick = Registry(tmp_path / "stick", cache=tmp_path / "other cache")

    copied = [registry.copy("pets@2", tmp_path / "stick") for _ in range(2)]

    assert copied == [True, False]
    assert stick.resolve("pets@2").statement == registry.resolve("pets@2").statement
    assert stick.verify_all("pets").findings == ()


def test_a_pull_into_somebody_elses_folder_is_refused(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    registry.publish(bundle, "pets")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("three years of work")

    with pytest.raises(RequestError, match="something else is there"):
        registry.pull("pets", tmp_path / "mine")

    assert (tmp_path / "mine" / "thesis.txt").read_text() == "three years of work"


def test_a_pulled_folder_is_brought_to_another_version(registry: Registry, tmp_path: Path) -> None:
    registry.publish(write_files(tmp_path / "1", {"a": b"1", "gone": b"1"}), "pets")
    registry.publish(write_files(tmp_path / "2", {"a": b"2"}), "pets")

    registry.pull("pets@1", tmp_path / "model")
    registry.pull("pets@2", tmp_path / "model")

    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [".petmodels.json", "a"]
    assert (tmp_path / "model" / "a").read_bytes() == b"2"


def test_a_link_in_a_bundle_is_refused(registry: Registry, bundle: Path) -> None:
    (bundle / "passwd").symlink_to("/etc/passwd")

    with pytest.raises(BundleError, match=r"plain files only, no links, pipes or devices: .*passwd"):
        registry.publish(bundle, "pets")


@pytest.mark.slow
def test_a_large_file_goes_up_in_parts_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    data = bytes(range(256)) * (20 * 2**20 // 256)
    registry.publish(write_files(tmp_path / "large", {"weights": data}), "pets")

    target = registry.pull("pets")

    assert (target / "weights").read_bytes() == data
