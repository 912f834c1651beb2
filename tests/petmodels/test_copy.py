"""A number means one version for ever, in a registry that versions are copied to as well."""

from collections.abc import Callable
from pathlib import Path

import pytest

from petmodels import notes
from petmodels.errors import ConflictError, FormatError
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
    assert list(target.storage.list("pets/intents/")) == []


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
    source: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = registry_of(tmp_path / "target", range(1, 2))
    others, upload = Registry(target.storage.address, cache=target.cache.folder), type(target.storage).upload
    bundles, pruned = [write_files(tmp_path / name, {"a": name.encode()}) for name in "23"], []

    def slow(*given: object) -> bool:
        monkeypatch.setattr(type(target.storage), "upload", upload)
        for bundle in bundles:
            others.publish(bundle, "pets")
        pruned.extend(others.prune("pets", keep=1, is_dry=False).versions)
        return upload(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(type(target.storage), "upload", slow)

    with pytest.raises(ConflictError, match="has another version under this number; it stays: pets@2"):
        source.copy("pets@2", target.storage.address)

    assert (pruned, target.versions("pets")) == ([1], [3, 2])


MANIFESTS = {number: f"pets/versions/{99_999_999 - number:08d}-{number}.json" for number in (1, 2)}
BROKEN_OFF = {
    "the next manifest": (MANIFESTS[2], r"the manifest of pets@2 is not plain JSON"),
    "an alias": ("pets/aliases/staging.jsonl", r"the history of pets@staging is not plain JSON"),
}


@pytest.fixture(params=BROKEN_OFF)
def neighbour(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the key of a document that has to do with pets@1, and how an error calls it once it is broken."""
    return BROKEN_OFF[request.param]


@pytest.fixture
def backup(source: Registry, tmp_path: Path, neighbour: tuple[str, str]) -> Registry:
    """Return a registry with two of the source's versions and an alias of the second, a document broken."""
    backup = Registry(tmp_path / "backup", cache=tmp_path / "cache of the backup")
    for number in (1, 2):
        source.copy(f"pets@{number}", backup.storage.address)
    backup.promote("pets@2", "staging")
    backup.storage.delete(neighbour[0])
    assert backup.storage.create(neighbour[0], b"broken off")
    return backup


@pytest.mark.slow
def test_a_broken_neighbour_stops_neither_copy_nor_repair_of_what_is_there(source: Registry, backup: Registry) -> None:
    blob = source.manifest("pets@1").files[0].blob
    backup.storage.delete(f"pets/blobs/{blob}")

    assert repaired(source, backup) == ("pets@1/a: its bytes are gone",)
    assert repaired(source, backup) == ()
    assert copied(source, backup) is False


@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, b"broken off too"])
def test_a_broken_neighbour_does_not_stop_the_repair_of_a_manifest(
    source: Registry, backup: Registry, damage: bytes | None
) -> None:
    backup.storage.delete(MANIFESTS[1])
    if damage:
        backup.storage.create(MANIFESTS[1], damage)

    assert repaired(source, backup) == (f"pets@1: its manifest {'was changed' if damage else 'is gone'}",)
    assert backup.manifest("pets@1") == source.manifest("pets@1")


def test_a_copy_under_a_number_that_a_broken_neighbour_may_know_is_refused_with_its_name(
    source: Registry, backup: Registry, neighbour: tuple[str, str]
) -> None:
    backup.storage.delete(MANIFESTS[1])

    with pytest.raises(FormatError, match=f"{neighbour[1]}.*; petmodels verify --all lists .* repair .*: pets@1$"):
        copied(source, backup)

    assert backup.versions("pets") == [2]
    assert list(backup.storage.list("pets/intents/")) == []


def test_another_version_is_refused_before_a_byte_is_sent(source: Registry, target: Registry) -> None:
    before = {stored.key for stored in target.storage.list("pets/blobs/")}

    with pytest.raises(ConflictError, match="has another version under this number; it stays: pets@1"):
        copied(source, target)

    assert {stored.key for stored in target.storage.list("pets/blobs/")} == before
