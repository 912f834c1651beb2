"""A registry's backup is one command: whole at each instant, byte for byte, and never what it wasn't before."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from petmodels import holdings, notes
from petmodels.documents import load_statement
from petmodels.errors import AddressError, ConflictError, NotFoundError, WithdrawnError
from petmodels.mirror import Mirrored
from petmodels.registry import Registry
from petmodels.signing import TRUSTED_KEYS, new_key, signed
from petmodels.storage import Storage, Stored
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command
from tests.petmodels.proxy import Proxy

SHARED = {"shared": b"shared" * 1000}


def published(registry: Registry, folder: Path, tag: str) -> str:
    bundle = write_files(folder / "bundles" / tag, {"a": tag.encode(), **SHARED})
    return registry.publish(bundle, "pets").manifest.name


def contents(registry: Registry, *kinds: str) -> dict[str, bytes]:
    """Return what is stored, by key, of some kinds of objects."""
    storage = registry.storage
    keys = [one.key for kind in kinds or ("versions", "aliases", "blobs") for one in storage.list(f"pets/{kind}/")]
    return {key: storage.read(key, 10**8)[0] for key in keys}


def leftovers(registry: Registry) -> list[str]:
    return [one.key for kind in ("intents", "prunes") for one in registry.storage.list(f"pets/{kind}/")]


@pytest.fixture(params=["folder to S3", "S3 to folder"])
def stores(request: pytest.FixtureRequest, tmp_path: Path, s3_address: str) -> tuple[Registry, Registry]:
    """Return two empty registries, each with a cache of its own."""
    folder = Registry(tmp_path / "registry", cache=tmp_path / "cache of the folder")
    bucket = Registry(s3_address, cache=tmp_path / "cache of the bucket")
    return (folder, bucket) if request.param == "folder to S3" else (bucket, folder)


@pytest.fixture
def source(tmp_path: Path) -> Registry:
    """Return a registry with two versions, of which the second was promoted and taken back."""
    source = Registry(tmp_path / "registry")
    rolled_back(source, tmp_path)
    return source


@pytest.fixture
def backup(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "backup", cache=tmp_path / "cache of the backup")


def rolled_back(registry: Registry, folder: Path) -> None:
    for tag in ("one", "two"):
        registry.promote(published(registry, folder, tag), "production", message=f"promoted {tag}")
    registry.rollback("pets", "production", message="it mistakes every Bombay")


@pytest.mark.slow
def test_a_mirror_is_the_registry_byte_for_byte_with_every_step_of_its_aliases(
    stores: tuple[Registry, Registry], tmp_path: Path
) -> None:
    source, target = stores
    rolled_back(source, tmp_path)
    source.withdraw(published(source, tmp_path, "three"), "asked for", is_dry=False)
    published(source, tmp_path, "four")

    done = source.mirror(target.storage.address)

    assert (done.versions, done.withdrawn) == (["pets@1", "pets@2", "pets@4"], ["pets@3"])
    assert (done.aliases, done.mended, done.findings) == (["pets@production"], [], [])
    assert contents(target) == contents(source)
    assert leftovers(target) == []
    assert target.verify_all("pets").findings == ()
    with pytest.raises(WithdrawnError, match="pets@3 was withdrawn"):
        target.resolve("pets@3")


def test_a_registry_that_was_lost_comes_back_from_its_mirror(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    source.mirror(backup.storage.address)

    backup.mirror(tmp_path / "restored")

    assert contents(Registry(tmp_path / "restored")) == contents(source)


def test_a_second_mirror_moves_only_what_is_new(source: Registry, backup: Registry, tmp_path: Path) -> None:
    source.mirror(backup.storage.address)
    source.promote(published(source, tmp_path, "three"), "production")
    source.promote("pets@1", "staging")

    done = source.mirror(backup.storage.address)

    assert (done.versions, done.aliases) == (["pets@3"], ["pets@production", "pets@staging"])
    assert contents(backup) == contents(source)
    again = source.mirror(backup.storage.address)
    assert not any(vars(again).values())


@pytest.mark.slow
def test_a_version_that_is_there_already_costs_a_request_on_each_side(
    source: Registry, proxy: Proxy, s3_address: str, tmp_path: Path
) -> None:
    def cost() -> int:
        proxy.requests.clear()
        source.mirror(s3_address)
        return len(proxy.requests)

    first, nothing_new = cost(), cost()
    for tag in ("three", "four", "five"):
        published(source, tmp_path, tag)
    cost()

    print(f"requests to the other registry: {first} at first, {nothing_new} with nothing new")
    assert cost() == nothing_new + 3
    assert nothing_new < first


def test_nothing_of_a_mirror_stays_in_the_cache(source: Registry, backup: Registry) -> None:
    source.mirror(backup.storage.address)

    assert [path for path in (source.cache.folder / "mirrors").rglob("*") if path.suffix != ".lock"] == []
    assert not (source.cache.folder / "blobs").exists()


def test_a_mirror_keeps_one_versions_files_in_the_cache_at_a_time(
    source: Registry, backup: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, kept = type(backup.storage).upload, list[int]()

    def counted(storage: Storage, key: str, path: Path, *rest: Any) -> bool:
        kept.append(len([one for one in path.parent.iterdir() if len(one.name) == 64]))
        return upload(storage, key, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(backup.storage), "upload", counted)

    assert source.mirror(backup.storage.address).versions == ["pets@1", "pets@2"]
    assert kept[-1] == 1, "of the second version only one file is new"


def test_two_mirrors_of_one_machine_to_one_registry_take_turns(
    source: Registry, backup: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, done = type(backup.storage).upload, list[Mirrored]()
    second = Thread(target=lambda: done.append(Registry(source.storage.address).mirror(backup.storage.address)))

    def slow(*given: Any) -> bool:
        monkeypatch.setattr(type(backup.storage), "upload", upload)
        second.start()
        second.join(0.5)
        assert second.is_alive()
        return upload(*given)

    monkeypatch.setattr(type(backup.storage), "upload", slow)

    first = source.mirror(backup.storage.address)
    second.join()

    assert first.versions == ["pets@1", "pets@2"]
    assert not any(vars(done[0]).values())


def other_version(backup: Registry, folder: Path) -> str:
    Registry(backup.storage.address).storage.delete("pets/versions/99999997-2.json")
    backup.publish(write_files(folder / "other", {"a": b"other"}), "pets")
    return "pets@2 is another version there"


def later_version(backup: Registry, folder: Path) -> str:
    published(backup, folder, "its own")
    return "pets@3 is there, which is newer than all that are here"


def other_step(backup: Registry, folder: Path) -> str:
    backup.promote("pets@2", "production")
    return "pets@production has steps there that are not here"


def other_alias(backup: Registry, folder: Path) -> str:
    backup.promote("pets@2", "its-own")
    return "pets@its-own has steps there that are not here"


def broken_alias(backup: Registry, folder: Path) -> str:
    backup.storage.delete("pets/aliases/production.jsonl")
    backup.storage.create("pets/aliases/production.jsonl", b"broken off")
    return "the history of pets@production is not plain JSON"


@pytest.mark.parametrize("depart", [other_version, later_version, other_step, other_alias, broken_alias])
def test_a_registry_that_has_gone_its_own_way_is_refused_and_stays_as_it_is(
    depart: Any, source: Registry, backup: Registry, tmp_path: Path
) -> None:
    source.mirror(backup.storage.address)
    told = depart(backup, tmp_path)
    source.publish(write_files(tmp_path / "new", {"a": b"new"}), "cats")
    if depart is not later_version:
        published(source, tmp_path, "three")
    before = contents(backup)

    with pytest.raises(ConflictError, match=f"is no earlier state of .* and stays as it is: {told}"):
        source.mirror(backup.storage.address)

    assert contents(backup) == before
    assert backup.models() == ["pets"]


def test_a_source_whose_alias_was_set_back_is_refused_by_who_has_seen_the_newer_one_too(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    key = "pets/aliases/production.jsonl"
    yesterday, _ = source.storage.read(key, 10**6)
    source.promote("pets@2", "production")
    source.manifest("pets@production")
    source.mirror(backup.storage.address)
    source.storage.delete(key)
    source.storage.create(key, yesterday)
    published(source, tmp_path, "three")
    before = contents(backup)

    with pytest.raises(ConflictError, match="pets@production has steps there that are not here"):
        source.mirror(backup.storage.address)

    assert contents(backup) == before


def test_another_lineage_is_refused_though_no_number_is_in_both(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    published(backup, tmp_path, "another first one")
    published(source, tmp_path, "three")
    source.promote("pets@2", "production")
    source.promote("pets@3", "production")
    source.prune("pets", keep=1, is_dry=False)

    with pytest.raises(ConflictError, match="pets@1 is another version there"):
        source.mirror(backup.storage.address)


def test_another_lineage_is_told_by_the_next_versions_parent(backup: Registry, tmp_path: Path) -> None:
    pruned = Registry(tmp_path / "registry")
    for tag in ("one", "two"):
        published(pruned, tmp_path, tag)
    pruned.prune("pets", keep=1, is_dry=False)
    published(backup, tmp_path, "another first one")

    with pytest.raises(ConflictError, match="pets@1 is another version there"):
        pruned.mirror(backup.storage.address)


def test_a_model_that_is_gone_here_is_named_and_stays_there(source: Registry, backup: Registry, tmp_path: Path) -> None:
    source.publish(write_files(tmp_path / "cat", {"a": b"cat"}), "cats")
    source.mirror(backup.storage.address)
    shutil.rmtree(Path(source.storage.address) / "cats")

    done = source.mirror(backup.storage.address)

    assert done.findings == [f"cats: it is in {backup.storage.address} and no more here"]
    assert backup.verify_all("cats").findings == ()
    assert source.mirror(backup.storage.address, ["pets"]).findings == []


def test_what_was_pruned_here_stays_there(source: Registry, backup: Registry, tmp_path: Path) -> None:
    source.mirror(backup.storage.address)
    for tag in ("three", "four"):
        source.promote(published(source, tmp_path, tag), "production")
    source.prune("pets", keep=1, is_dry=False)

    assert source.mirror(backup.storage.address).findings == []

    assert (source.versions("pets"), backup.versions("pets")) == ([4, 3], [4, 3, 2, 1])
    assert backup.verify_all("pets").findings == ()


def test_what_was_withdrawn_here_is_withdrawn_there_and_its_bytes_go(source: Registry, backup: Registry) -> None:
    source.mirror(backup.storage.address)
    source.withdraw("pets@2", "a photograph's owner asked for it", is_dry=False)

    done = source.mirror(backup.storage.address)

    assert (done.withdrawn, done.findings) == (["pets@2"], [])
    assert contents(backup) == contents(source)
    assert leftovers(backup) == []


def test_a_tombstone_that_was_made_longer_than_its_manifest_stays_so(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    """By another size than the manifest's, a listing shows to whoever has seen that one that the version is gone."""
    name = published(source, tmp_path, "three")
    shutil.copytree(source.storage.address, tmp_path / "copy")
    copy = Registry(tmp_path / "copy")
    manifest = contents(copy, "versions")["pets/versions/99999996-3.json"]
    copy.withdraw(name, "x", is_dry=False)
    missing = len(manifest) - len(contents(copy, "versions")["pets/versions/99999996-3.json"])
    source.withdraw(name, "x" * (1 + missing), is_dry=False)

    source.mirror(backup.storage.address)

    assert len(contents(source, "versions")["pets/versions/99999996-3.json"]) == len(manifest) + 1
    assert contents(backup) == contents(source)


def test_a_broken_manifest_of_what_was_withdrawn_since_is_named_with_the_way_on(
    source: Registry, backup: Registry
) -> None:
    key = "pets/versions/99999997-2.json"
    source.mirror(backup.storage.address)
    backup.storage.delete(key)
    backup.storage.create(key, b"broken off")
    source.withdraw("pets@2", "asked for", is_dry=False)

    finding, _ = source.mirror(backup.storage.address).findings
    backup.storage.delete(key)
    source.mirror(backup.storage.address)

    assert f": delete {key} there and run it again: the manifest of pets@2 is not plain JSON" in finding
    assert contents(backup) == contents(source)


def test_what_was_withdrawn_there_alone_stays_so(source: Registry, backup: Registry) -> None:
    source.mirror(backup.storage.address)
    backup.withdraw("pets@2", "asked for", is_dry=False)
    before = contents(backup)

    done = source.mirror(backup.storage.address)

    assert not any(vars(done).values())
    assert contents(backup) == before


def test_an_alias_moves_before_what_it_named_is_withdrawn(source: Registry, backup: Registry, tmp_path: Path) -> None:
    source.promote("pets@2", "staging")
    source.mirror(backup.storage.address)
    source.promote(published(source, tmp_path, "three"), "staging")
    source.withdraw("pets@2", "asked for", is_dry=False)

    done = source.mirror(backup.storage.address)

    assert (done.withdrawn, done.aliases, done.findings) == (["pets@2"], ["pets@staging"], [])
    assert backup.verify_all("pets").findings == ()


def test_bytes_of_a_withdrawn_version_that_a_killed_mirror_left_go_with_the_next(
    source: Registry, backup: Registry
) -> None:
    source.mirror(backup.storage.address)
    source.withdraw("pets@2", "asked for", is_dry=False)
    left = {key: data for key, data in contents(backup, "blobs").items() if key not in contents(source, "blobs")}
    source.mirror(backup.storage.address)
    for key, data in left.items():
        backup.storage.create(key, data)

    source.mirror(backup.storage.address)

    assert len(left) == 1
    assert contents(backup) == contents(source)


def test_bytes_that_a_killed_mirror_left_of_a_version_withdrawn_since_go_with_the_next(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    source.mirror(backup.storage.address)
    name = published(source, tmp_path, "three")
    for key, data in contents(source, "blobs").items():
        backup.storage.create(key, data)
    source.withdraw(name, "asked for", is_dry=False)

    source.mirror(backup.storage.address)

    assert contents(backup) == contents(source)


def test_what_is_broken_here_is_named_and_keeps_nothing_else_back(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    published(source, tmp_path, "three")
    for kind, key in (("staging", "pets@2"), ("other", "pets@3")):
        source.promote(key, kind)
    blob = next(file.blob for file in source.manifest("pets@2").files if file.path == "a")
    source.storage.delete(f"pets/blobs/{blob}")

    done = source.mirror(backup.storage.address)

    assert [finding.partition(": ")[0] for finding in done.findings] == ["pets@2", "pets@staging"]
    assert (done.versions, done.aliases) == (["pets@1", "pets@3"], ["pets@other", "pets@production"])
    assert backup.verify_all("pets").findings == ()


def test_an_alias_that_is_broken_here_is_named_and_the_others_are_mirrored(source: Registry, backup: Registry) -> None:
    for name in ("broken", "staging"):
        source.promote("pets@2", name)
    (Path(source.storage.address) / "pets/aliases/broken.jsonl").write_text("cut o")

    done = source.mirror(backup.storage.address)

    (finding,) = done.findings
    assert finding.startswith("pets@broken: ")
    assert (done.versions, done.aliases) == (["pets@1", "pets@2"], ["pets@production", "pets@staging"])


def test_what_the_mirror_has_lost_it_gets_again(source: Registry, backup: Registry) -> None:
    source.mirror(backup.storage.address)
    blob = next(file.blob for file in source.manifest("pets@2").files if file.path == "a")
    backup.storage.delete(f"pets/blobs/{blob}")
    backup.storage.delete("pets/versions/99999998-1.json")
    backup.storage.create("pets/versions/99999998-1.json", b"broken off")

    done = source.mirror(backup.storage.address)

    assert done.mended == ["pets@1: its manifest was changed", "pets@2/a: its bytes are gone"]
    assert contents(backup) == contents(source)


def test_a_signature_that_came_later_is_brought_and_one_is_demanded_where_keys_are(
    source: Registry, backup: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.mirror(backup.storage.address)
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))
    manifest = Path(source.storage.address) / "pets/versions/99999998-1.json"
    manifest.write_bytes(signed(load_statement(manifest.read_bytes(), ""), tmp_path / "key").to_bytes())

    done = source.mirror(backup.storage.address)

    told = "the manifest of pets@2 is not signed, and PETMODELS_TRUSTED_KEYS asks for a signature"
    assert (done.mended, done.findings) == (["pets@1: its manifest lost a signature"], [f"pets@2: {told}"])
    assert contents(backup) == contents(source)


def test_a_source_that_is_published_to_and_pruned_meanwhile_leaves_a_whole_mirror(
    source: Registry, backup: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, upload = Registry(source.storage.address), type(backup.storage).upload

    def slow(*given: object) -> bool:
        monkeypatch.setattr(type(backup.storage), "upload", upload)
        for tag in ("three", "four"):
            others.promote(published(others, tmp_path, tag), "production")
        assert others.prune("pets", keep=1, is_dry=False).versions == (1, 2)
        others.withdraw("pets@3", "asked for", is_dry=False)
        return upload(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(type(backup.storage), "upload", slow)

    done = source.mirror(backup.storage.address)

    assert done.findings == []
    assert backup.verify_all("pets").findings == ()
    assert backup.manifest("pets@production").name == "pets@4"
    with pytest.raises(WithdrawnError):
        backup.resolve("pets@3")


def test_an_alias_that_moves_while_the_source_is_read_is_no_finding(
    source: Registry, backup: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_versions, waiting = holdings.stored_versions, ["promote", "withdraw"]

    def slow(storage: Storage, model: str) -> Iterator[tuple[int, Stored]]:
        if waiting and storage is source.storage:
            waiting.clear()
            source.promote("pets@2", "production")
            source.withdraw("pets@1", "asked for", is_dry=False)
        return stored_versions(storage, model)

    monkeypatch.setattr(holdings, "stored_versions", slow)

    done = source.mirror(backup.storage.address)

    assert (done.aliases, done.findings) == (["pets@production"], [])
    assert contents(backup) == contents(source)


def test_a_prune_at_work_over_there_stops_a_mirror(source: Registry, backup: Registry, tmp_path: Path) -> None:
    source.mirror(backup.storage.address)
    source.promote("pets@2", "production")

    with (
        notes.note(backup.storage, "pets", notes.PRUNES, versions=[2]),
        pytest.raises(ConflictError, match="a prune is deleting this version over there; run it again: pets@2"),
    ):
        source.mirror(backup.storage.address)

    assert backup.manifest("pets@production").name == "pets@1"


def before_one(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, method: str, kind: str, do: Callable[[], object]
) -> None:
    """Have `do` done once, before the registry's store is first told to do something with a key of this kind."""
    told = getattr(type(registry.storage), method)

    def later(storage: Storage, key: str, *rest: Any, **named: Any) -> Any:
        if storage.address == registry.storage.address and f"/{kind}/" in key:
            monkeypatch.setattr(type(registry.storage), method, told)
            do()
        return told(storage, key, *rest, **named)

    monkeypatch.setattr(type(registry.storage), method, later)


def test_a_prune_over_there_spares_the_version_to_which_an_alias_is_moved(
    source: Registry, backup: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[set[int]] = []

    def listen() -> None:
        stored = notes.stored_notes(backup.storage, "pets", notes.INTENTS)
        said.extend(set(one.versions) for one in notes.read_notes(backup.storage, stored))

    before_one(monkeypatch, backup, "create", "aliases", listen)

    source.mirror(backup.storage.address)

    assert said == [{1}]


def test_an_alias_is_not_moved_to_a_version_that_was_swapped_here(
    source: Registry, backup: Registry, tmp_path: Path
) -> None:
    manifest = Path(source.storage.address) / "pets/versions/99999998-1.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'message\\":\\"', b'message\\":\\"swapped'))
    anybody = Registry(source.storage.address, cache=tmp_path / "another machine's")

    done = anybody.mirror(backup.storage.address)

    assert done.findings == ["pets@production: it stays as it was over there, where its pets@1 is not"]
    assert contents(backup, "aliases") == {}


def test_a_version_that_is_another_one_than_this_machine_has_seen_is_not_brought(
    source: Registry, backup: Registry
) -> None:
    manifest = Path(source.storage.address) / "pets/versions/99999997-2.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'message\\":\\"', b'message\\":\\"swapped'))

    done = source.mirror(backup.storage.address)

    (finding,) = done.findings
    assert finding.startswith("pets@2: the registry shows another pets@2 than this machine has seen")
    assert (done.versions, backup.versions("pets")) == (["pets@1"], [1])


def test_what_is_withdrawn_over_there_while_it_is_brought_stays_so(
    source: Registry, backup: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.mirror(backup.storage.address)
    backup.storage.delete(
        f"pets/blobs/{next(file.blob for file in source.manifest('pets@2').files if file.path == 'a')}"
    )
    tombstone = Registry(backup.storage.address)
    before_one(
        monkeypatch, backup, "create", "intents", lambda: tombstone.withdraw("pets@2", "asked for", is_dry=False)
    )

    assert not any(vars(source.mirror(backup.storage.address)).values())

    with pytest.raises(WithdrawnError):
        backup.resolve("pets@2")


def test_a_number_that_somebody_takes_over_there_stays_theirs(
    source: Registry, backup: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.mirror(backup.storage.address)
    source.withdraw(published(source, tmp_path, "three"), "asked for", is_dry=False)
    before_one(monkeypatch, backup, "create", "versions", lambda: published(backup, tmp_path, "its own"))

    with pytest.raises(ConflictError, match=r"somebody else took this number over there meanwhile; .*: pets@3"):
        source.mirror(backup.storage.address)

    assert backup.manifest("pets@3").name == "pets@3"


def test_a_manifest_that_somebody_swaps_over_there_is_not_withdrawn(
    source: Registry, backup: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.mirror(backup.storage.address)
    source.withdraw("pets@2", "asked for", is_dry=False)
    key = "pets/versions/99999997-2.json"
    swapped, _ = backup.storage.read(key, 10**6)

    def swap() -> None:
        backup.storage.delete(key)
        backup.storage.create(key, swapped.replace(b'message\\":\\"', b'message\\":\\"swapped'))

    before_one(monkeypatch, backup, "create", "prunes", swap)

    (finding,) = source.mirror(backup.storage.address).findings

    assert finding.endswith("somebody else wrote its manifest meanwhile; run it again")


def test_one_model_is_mirrored_without_the_others(source: Registry, backup: Registry, tmp_path: Path) -> None:
    source.publish(write_files(tmp_path / "cat", {"a": b"cat"}), "cats")

    source.mirror(backup.storage.address, ["cats"])

    assert backup.models() == ["cats"]
    with pytest.raises(NotFoundError, match="no model dogs in"):
        source.mirror(backup.storage.address, ["dogs"])
    with pytest.raises(AddressError, match="this is the registry itself"):
        source.mirror(source.storage.address)


def test_the_command_says_what_it_has_brought(source: Registry, run: Command) -> None:
    assert run("mirror", "./backup").data == [
        "brought to ./backup: 2 versions, 0 withdrawals; aliases moved: pets@production"
    ]
    assert run("mirror", "./backup", "--json", "--model", "pets").json == {
        "target": "./backup", "versions": [], "aliases": [], "withdrawn": [], "mended": [], "findings": [],
    }  # fmt: skip


def test_the_command_names_what_could_not_be_brought(source: Registry, run: Command) -> None:
    source.storage.delete("pets/versions/99999998-1.json")

    done = run("mirror", "./backup")

    assert done.code == 6
    assert done.data[0].startswith("pets@production: it stays as it was over there, where its pets@1 is not")
    assert "not everything could be brought" in done.talk[-1]
