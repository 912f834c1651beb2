"""What a registry has lost comes back from another one that still has it, and nothing else is touched."""

from pathlib import Path

import pytest

from petmodels.errors import ChecksumError, ConflictError, StoreError
from petmodels.names import blob_key, version_key
from petmodels.registry import Registry
from petmodels.storage import Storage
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command

FILES = {"a": b"first", "b": b"second", "c": b"third"}


@pytest.fixture
def backup(registry: Registry, tmp_path: Path) -> Registry:
    """Return a copy of the version that `registry` has, promoted there."""
    registry.publish(write_files(tmp_path / "bundle", FILES), "pets")
    registry.promote("pets@1", "production")
    registry.copy("pets@1", tmp_path / "backup")
    return Registry(tmp_path / "backup", cache=tmp_path / "cache of the backup")


def overwrite(storage: Storage, key: str, data: bytes) -> None:
    storage.delete(key)
    assert storage.create(key, data)


def key_of(registry: Registry, path: str) -> str:
    return next(blob_key("pets", file.blob) for file in registry.manifest("pets@1").files if file.path == path)


def elsewhere(registry: Registry, tmp_path: Path) -> Registry:
    """Return the same registry as a machine sees it that has nothing in its cache."""
    return Registry(registry.storage.address, cache=tmp_path / "empty cache")


@pytest.mark.slow
def test_lost_and_changed_files_come_back_and_whole_ones_stay(
    registry: Registry, backup: Registry, tmp_path: Path
) -> None:
    registry.storage.delete(key_of(registry, "a"))
    overwrite(registry.storage, key_of(registry, "b"), b"secret")
    whole = registry.storage.find(key_of(registry, "c"))

    mended = elsewhere(registry, tmp_path).repair("pets@1", backup.storage.address)

    assert mended == ("pets@1/a: its bytes are gone", "pets@1/b: its bytes were changed")
    assert registry.verify_all("pets").findings == ()
    assert registry.storage.find(key_of(registry, "c")) == whole
    assert list(registry.storage.list("pets/intents/")) == []
    assert elsewhere(registry, tmp_path).repair("pets@1", backup.storage.address) == ()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "cut off", "another message"])
def test_a_manifest_comes_back(registry: Registry, backup: Registry, tmp_path: Path, damage: str) -> None:
    """One that reads well, but isn't what the alias was given, is a changed one."""
    key = version_key("pets", 1)
    data, _ = registry.storage.read(key, 2**20)
    registry.storage.delete(key)
    if damage != "gone":
        changed = data[:50] if damage == "cut off" else data.replace(rb"\"message\":\"\"", rb"\"message\":\"no\"")
        assert changed != data
        registry.storage.create(key, changed)

    (mended,) = elsewhere(registry, tmp_path).repair("pets@1", backup.storage.address)

    assert mended == f"pets@1: its manifest {'is gone' if damage == 'gone' else 'was changed'}"
    assert registry.storage.read(key, 2**20)[0] == data
    assert registry.verify_all("pets").findings == ()


def test_another_version_under_the_number_stays(registry: Registry, tmp_path: Path) -> None:
    registry.publish(write_files(tmp_path / "ours", {"a": b"ours"}), "pets")
    other = Registry(tmp_path / "other")
    other.publish(write_files(tmp_path / "theirs", {"a": b"theirs"}), "pets")

    with pytest.raises(ConflictError, match=r"another version under this number; it stays: pets@1$"):
        registry.repair("pets@1", tmp_path / "other")

    assert registry.verify_all("pets").findings == ()


def test_a_source_that_has_lost_it_too_costs_nothing_more(registry: Registry, backup: Registry, tmp_path: Path) -> None:
    key = key_of(registry, "a")
    overwrite(registry.storage, key, b"other")
    backup.storage.delete(key)

    with pytest.raises(ChecksumError, match="the registry has lost this file's bytes"):
        elsewhere(registry, tmp_path).repair("pets@1", backup.storage.address)

    assert registry.storage.read(key, 100)[0] == b"other"


@pytest.mark.slow
def test_a_repair_that_broke_off_is_run_again(
    registry: Registry, backup: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(registry.storage, key_of(registry, "a"), b"other")

    def broken_off(*_: object) -> bool:
        raise StoreError("broken off")

    there = elsewhere(registry, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(type(there.storage), "upload", broken_off)
        with pytest.raises(StoreError, match="broken off"):
            there.repair("pets@1", backup.storage.address)

    assert there.repair("pets@1", backup.storage.address) == ("pets@1/a: its bytes are gone",)
    assert registry.verify_all("pets").findings == ()


def test_the_command_says_what_it_put_back(run: Command, tmp_path: Path) -> None:
    bundle = write_files(tmp_path / "bundle", FILES)
    run("publish", bundle, "--model", "pets")
    run("copy", "pets@1", "./backup")
    registry = Registry(tmp_path / "registry")
    overwrite(registry.storage, key_of(registry, "a"), b"other")

    assert run("verify", "pets@1").code == 6
    done = run("repair", "pets@1", "./backup")

    assert done.data == ["pets@1/a: its bytes were changed; put back", "pets@1: 1 repaired"]
    assert done.talk[-1] == "done; next: petmodels verify pets@1"
    assert run("verify", "pets@1").code == 0
    assert run("repair", "pets@1", "./backup", "--json").json == {
        "version": "pets@1",
        "source": "./backup",
        "repaired": [],
    }
