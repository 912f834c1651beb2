"""A registry that was set back gives no number a second time: who has seen the later version says so."""

import shutil
from pathlib import Path

import pytest

from petmodels.errors import ReplayError, RequestError
from petmodels.manifest import Parent
from petmodels.names import LAST_VERSION
from petmodels.registry import Registry
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command


def published(registry: Registry, folder: Path, tag: str, above: int = 0) -> int:
    bundle = write_files(folder / tag, {"a": tag.encode()})
    return registry.publish(bundle, "pets", above=above).manifest.version


@pytest.fixture
def restored(tmp_path: Path) -> Registry:
    """Return a registry in which yesterday's two versions are, after this machine has published a third one today."""
    registry = Registry(tmp_path / "registry")
    published(registry, tmp_path, "one")
    published(registry, tmp_path, "two")
    shutil.copytree(registry.storage.address, tmp_path / "yesterday")
    published(registry, tmp_path, "three")
    shutil.rmtree(registry.storage.address)
    shutil.copytree(tmp_path / "yesterday", registry.storage.address)
    return registry


def others(registry: Registry, folder: Path) -> Registry:
    """Return the same registry as another machine sees it."""
    return Registry(registry.storage.address, cache=folder / "another machine's")


def test_who_has_published_a_version_gives_its_number_to_no_other_one(restored: Registry, tmp_path: Path) -> None:
    told = (
        r"this machine has seen pets@3, and the registry's newest version is pets@2; somebody set it back: .* publish "
        rf"--above the highest number .* delete {restored.memory.folder}/pets on each machine"
    )
    with pytest.raises(ReplayError, match=told):
        published(restored, tmp_path, "another three")

    assert restored.versions("pets") == [2, 1]
    assert list(restored.storage.list("pets/intents/")) == []


def test_who_has_read_a_version_gives_its_number_to_no_other_one(tmp_path: Path) -> None:
    publisher = Registry(tmp_path / "registry")
    for tag in ("one", "two"):
        published(publisher, tmp_path, tag)
    reader = others(publisher, tmp_path)
    reader.manifest("pets")
    publisher.storage.delete("pets/versions/99999997-2.json")

    with pytest.raises(ReplayError, match="this machine has seen pets@2, and the registry's newest version is pets@1"):
        published(reader, tmp_path, "another two")


def test_a_registry_that_was_emptied_is_noticed_too(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    published(registry, tmp_path, "one")
    shutil.rmtree(registry.storage.address)

    with pytest.raises(ReplayError, match="has seen pets@1, and the registry's newest version is none"):
        published(registry, tmp_path, "another one")


def test_a_number_that_others_have_given_twice_is_noticed_by_who_knows_the_first(
    restored: Registry, tmp_path: Path
) -> None:
    assert published(others(restored, tmp_path), tmp_path, "another three") == 3

    with pytest.raises(ReplayError, match="the registry shows another pets@3 than this machine has seen"):
        published(restored, tmp_path, "four")


def test_after_a_restore_a_publish_goes_past_every_number_that_was_given(restored: Registry, tmp_path: Path) -> None:
    assert published(others(restored, tmp_path), tmp_path, "another three", above=3) == 4

    assert published(restored, tmp_path, "five") == 5
    assert restored.manifest("pets@4").parent == Parent(version=2, sha256=restored.resolve("pets@2").statement.sha256)
    assert restored.verify_all("pets").findings == ()


def test_the_next_number_is_no_lower_for_being_above_an_old_one(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for tag in ("one", "two"):
        published(registry, tmp_path, tag)

    assert published(registry, tmp_path, "two", above=1) == 2
    assert published(registry, tmp_path, "three", above=1) == 3
    assert published(registry, tmp_path, "three", above=3) == 4


@pytest.mark.parametrize("above", [LAST_VERSION, LAST_VERSION + 5])
def test_no_version_is_made_whose_number_nobody_could_name(above: int, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")

    with pytest.raises(RequestError, match=rf"the last number is 99999999; .* --above, .*: pets@{above + 1}$"):
        published(registry, tmp_path, "one", above)

    assert (registry.newest("pets"), list(registry.storage.list("pets/blobs/"))) == (None, [])


def test_after_the_last_number_comes_no_version_and_the_last_one_stays(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    assert published(registry, tmp_path, "one", LAST_VERSION - 1) == LAST_VERSION

    with pytest.raises(RequestError, match=r"the last number is 99999999; .* another name: pets@100000000$"):
        published(registry, tmp_path, "two")

    assert published(registry, tmp_path, "one") == LAST_VERSION  # unchanged, so no number is wanted
    assert registry.versions("pets") == [LAST_VERSION]


def test_who_deletes_what_the_message_names_goes_on(restored: Registry, tmp_path: Path) -> None:
    shutil.rmtree(restored.memory.folder / "pets")

    assert published(restored, tmp_path, "another three") == 3


def test_a_check_of_all_names_the_newest_version_that_is_gone(restored: Registry, tmp_path: Path) -> None:
    (finding,) = restored.verify_all("pets").findings

    assert finding.startswith("pets@3: this machine has seen pets@3, and the registry's newest version is pets@2;")
    assert others(restored, tmp_path).verify_all("pets").findings == ()


def test_a_version_that_was_pruned_is_no_sign_of_a_registry_that_was_set_back(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for tag in ("one", "two", "three"):
        published(registry, tmp_path, tag)
    registry.prune("pets", keep=1, is_dry=False)

    assert published(registry, tmp_path, "four") == 4
    assert registry.verify_all("pets").findings == ()


def test_the_command_refuses_in_one_line_and_takes_the_way_out(
    restored: Registry, run: Command, tmp_path: Path
) -> None:
    bundle = write_files(tmp_path / "another three", {"a": b"another three"})

    refused = run("publish", bundle, "--model", "pets")
    done = run("publish", bundle, "--model", "pets", "--above", "3")

    assert (refused.code, len(refused.talk)) == (6, 1)
    assert done.data == ["pets@4: 1 file, 13 B"]


def test_the_way_out_on_the_operators_page_leaves_every_lost_number_taken(
    restored: Registry, run: Command, tmp_path: Path
) -> None:
    write_files(tmp_path / "here/gap", {"why.txt": b"numbers up to 3 were given before the restore"})

    assert run("publish", "gap", "--model", "pets", "--above", "3").code == 0
    assert run("withdraw", "pets@4", "--reason", "numbers up to 3 were given before the restore", "--yes").code == 0

    anybody = others(restored, tmp_path)
    assert anybody.manifest("pets").name == "pets@2"
    assert published(anybody, tmp_path, "five") == 5
    assert published(restored, tmp_path, "six") == 6


def test_a_check_of_all_names_a_model_that_is_gone_as_a_whole(run: Command, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    published(registry, tmp_path, "one")
    registry.publish(write_files(tmp_path / "cat", {"a": b"cat"}), "cats")
    shutil.rmtree(tmp_path / "registry/pets")

    done = run("verify", "--all")

    assert done.code == 6
    assert done.data[0].startswith("pets@1: this machine has seen pets@1, and the registry's newest version is none;")
    assert done.data[1].startswith("1 version, 1 file")


def test_a_check_of_all_names_what_a_registry_that_is_gone_as_a_whole_has_lost(run: Command, tmp_path: Path) -> None:
    published(Registry(tmp_path / "registry"), tmp_path, "one")
    shutil.rmtree(tmp_path / "registry")

    done = run("verify", "--all")

    assert done.code == 6
    assert done.data[0].startswith("pets@1: this machine has seen pets@1, and the registry's newest version is none;")
