"""A number means one version for ever, in a registry that versions are copied to as well."""

from collections.abc import Callable
from pathlib import Path

import pytest

from petmodels import notes
from petmodels.errors import ConflictError
from petmodels.registry import Registry
from tests.petmodels.bundles import write_files

GIVEN = r"knows another version by this number; publish this one there under a new number: pets@1$"


def registry_of(folder: Path, numbers: range) -> Registry:
    """Return a registry whose versions nobody else has, with a cache of its own."""
    registry = Registry(folder / "registry", cache=folder / "cache")
    for number in numbers:
        registry.publish(write_files(folder / str(number), {"a": f"{folder.name} {number}".encode()}), "pets")
    return registry


@pytest.fixture
def source(tmp_path: Path) -> Registry:
    return registry_of(tmp_path / "source", range(1, 5))


@pytest.fixture
def target(tmp_path: Path) -> Registry:
    return registry_of(tmp_path / "target", range(1, 3))


def prune_all_but_the_newest(registry: Registry) -> None:
    assert registry.prune("pets", keep=1, is_dry=False).versions


def copied(source: Registry, target: Registry) -> bool:
    return source.copy("pets@1", target.storage.address)


def repaired(source: Registry, target: Registry) -> tuple[str, ...]:
    return target.repair("pets@1", source.storage.address)


@pytest.mark.parametrize("give", [copied, repaired])
def test_a_number_whose_successor_knows_another_version_is_not_given_again(
    source: Registry, target: Registry, give: Callable[[Registry, Registry], object]
) -> None:
    prune_all_but_the_newest(target)

    with pytest.raises(ConflictError, match=GIVEN):
        give(source, target)

    assert target.versions("pets") == [2]
    assert list(target.intents("pets")) == []


@pytest.mark.parametrize("give", [copied, repaired])
def test_a_number_that_an_alias_gave_to_another_version_is_not_given_again(
    source: Registry, target: Registry, tmp_path: Path, give: Callable[[Registry, Registry], object]
) -> None:
    target.promote("pets@1", "production")
    target.promote("pets@2", "production")
    target.publish(write_files(tmp_path / "3", {"a": b"3"}), "pets")
    target.promote("pets@3", "production")
    prune_all_but_the_newest(target)
    target.storage.delete("pets/versions/99999997-2.json")

    with pytest.raises(ConflictError, match=GIVEN):
        give(source, target)


def test_versions_of_one_lineage_are_copied_in_any_order(source: Registry, tmp_path: Path) -> None:
    target = Registry(tmp_path / "backup", cache=tmp_path / "cache of the backup")

    done = [source.copy(f"pets@{number}", target.storage.address) for number in (4, 1, 3, 2, 1)]

    assert done == [True, True, True, True, False]
    assert target.versions("pets") == [4, 3, 2, 1]
    assert target.verify_all("pets").findings == ()


def test_a_version_that_was_pruned_comes_back_as_it_was(source: Registry, tmp_path: Path) -> None:
    backup = Registry(tmp_path / "backup", cache=tmp_path / "cache of the backup")
    copied(source, backup)
    source.promote("pets@1", "staging")
    source.promote("pets@3", "staging")
    source.promote("pets@4", "staging")
    prune_all_but_the_newest(source)

    assert copied(backup, source) is True

    assert source.versions("pets") == [4, 3, 1]


def test_a_version_that_a_prune_is_deleting_is_not_copied_over(source: Registry, target: Registry) -> None:
    with (
        notes.note(target.storage, "pets", notes.PRUNES, versions=[3]),
        pytest.raises(ConflictError, match=r"a prune is deleting this version over there; wait and run again: pets@3"),
    ):
        source.copy("pets@3", target.storage.address)

    assert target.versions("pets") == [2, 1]


def test_while_a_version_is_copied_no_prune_frees_its_number(
    source: Registry, target: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, upload = Registry(target.storage.address, cache=target.cache.folder), type(target.storage).upload
    bundle, pruned = write_files(tmp_path / "3", {"a": b"3"}), []

    def slow(*given: object) -> bool:
        monkeypatch.setattr(type(target.storage), "upload", upload)
        others.publish(bundle, "pets")
        pruned.extend(others.prune("pets", keep=1, is_dry=False).versions)
        return upload(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(type(target.storage), "upload", slow)

    with pytest.raises(ConflictError, match="has another version under this number; it stays: pets@2"):
        source.copy("pets@2", target.storage.address)

    assert (pruned, target.versions("pets")) == ([1], [3, 2])
