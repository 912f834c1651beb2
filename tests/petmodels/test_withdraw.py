"""A version that was withdrawn is gone for good: its number stays taken, its bytes go, and everybody is told why."""

import json
import time
from pathlib import Path

import pytest

from petmodels.documents import Statement, load_payload, load_statement
from petmodels.errors import (
    ConflictError,
    FormatError,
    NotFoundError,
    RequestError,
    UnreachableError,
    WithdrawnError,
)
from petmodels.names import alias_key, blob_key, version_key
from petmodels.notes import INTENTS, PRUNES, note
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.signing import new_key
from petmodels.versions import read_manifest, read_version
from tests.petmodels.bundles import make_bundle, write_files
from tests.petmodels.commands import Command

WHY = "the owner of a photograph asked for it"
TOLD = rf"pets@2 was withdrawn on 20\d\d-\d\d-\d\d: {WHY}; petmodels list pets says what is left"


@pytest.fixture
def three(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with three versions, of which each has a file of its own; production went from 2 to 3."""
    for number in (1, 2, 3):
        files = {"own": b"%d" % number, "shared": b"shared by all"}
        registry.publish(write_files(tmp_path / str(number), files), "pets")
    for number in (2, 3):
        registry.promote(f"pets@{number}", "production")
    return registry


def other_machine(registry: Registry, tmp_path: Path) -> Registry:
    return Registry(registry.storage.address, cache=tmp_path / "another cache")


def blobs_of(registry: Registry) -> set[str]:
    return {stored.key for stored in registry.storage.list("pets/blobs/")}


@pytest.mark.slow
def test_withdraw_deletes_what_no_other_version_has_and_keeps_the_number(three: Registry, tmp_path: Path) -> None:
    manifest = three.manifest("pets@2")
    own, shared = (blob_key("pets", file.blob) for file in manifest.files)

    done = three.withdraw("pets@2", WHY, is_dry=False)

    assert (done.version, done.is_new, done.num_blobs, done.size_bytes) == (2, True, 1, 1)
    assert own not in blobs_of(three)
    assert shared in blobs_of(three)
    assert three.versions("pets") == [3, 2, 1]
    assert three.publish(write_files(tmp_path / "new", {"a": b"new"}), "pets").manifest.version == 4
    assert list(three.storage.list("pets/intents/")) == list(three.storage.list("pets/prunes/")) == []


@pytest.mark.slow
def test_a_dry_withdrawal_says_what_would_go_and_changes_nothing(three: Registry) -> None:
    before = {stored.key: stored.etag for stored in three.storage.list("")}

    done = three.withdraw("pets@2", WHY)

    assert (done.is_new, done.num_blobs, done.size_bytes) == (True, 1, 1)
    assert {stored.key: stored.etag for stored in three.storage.list("")} == before


def test_list_names_no_withdrawn_version_as_the_newest(run: Command, tmp_path: Path) -> None:
    for tag in ("one", "two"):
        run("publish", write_files(tmp_path / tag, {"a": tag.encode()}), "--model", "pets")
    Registry().withdraw("pets@2", WHY, is_dry=False)

    assert run("list").data == ["model  newest", "pets   2 (withdrawn)"]
    (row,) = run("list", "--json").json
    assert (row["model"], row["newest"]) == ("pets", 2)
    assert WHY in row["withdrawn"]


def test_a_result_says_whether_anything_was_done(run: Command, tmp_path: Path) -> None:
    for tag in ("one", "two"):
        run("publish", write_files(tmp_path / tag, {"a": tag.encode()}), "--model", "pets")
    registry = Registry()

    dry = [registry.withdraw("pets@1", WHY).is_dry, registry.prune("pets", keep=1).is_dry]
    told = [
        run("withdraw", "pets@1", "--reason", WHY, "--json").json,
        run("prune", "pets", "--keep", "1", "--json").json,
    ]
    done = [registry.withdraw("pets@1", WHY, is_dry=False).is_dry, registry.prune("pets", keep=1, is_dry=False).is_dry]

    assert (dry, [one["is_dry"] for one in told], done) == ([True, True], [True, True], [False, False])


def test_a_tombstone_names_what_was_there_and_none_of_its_files(three: Registry) -> None:
    was = three.resolve("pets@2").statement.sha256

    three.withdraw("pets@2", WHY, is_dry=False)

    data, _ = three.storage.read(version_key("pets", 2), 10_000)
    content = json.loads(load_statement(data, "").payload)
    assert content.pop("withdrawn")
    assert len(content.pop("id")) == 32
    parent = {"version": 1, "sha256": three.resolve("pets@1").statement.sha256}
    assert content == {"format": 2, "model": "pets", "version": 2, "reason": WHY, "manifest": was, "parent": parent}


@pytest.mark.slow
def test_everything_that_asks_for_a_withdrawn_version_is_told_when_and_why(three: Registry, tmp_path: Path) -> None:
    three.withdraw("pets@2", WHY, is_dry=False)

    for found in (three, other_machine(three, tmp_path)):
        for ask in (
            lambda found: found.resolve("pets@2"),
            lambda found: found.pull("pets@2"),
            lambda found: found.load("pets@2"),
            lambda found: found.diff("pets@1", "pets@2"),
            lambda found: found.verify("pets@2"),
            lambda found: found.promote("pets@2", "production"),
            lambda found: found.copy("pets@2", tmp_path / "target"),
        ):
            with pytest.raises(WithdrawnError, match=TOLD):
                ask(found)


@pytest.mark.slow
def test_the_listing_and_verify_all_count_it_and_call_nothing_broken(three: Registry) -> None:
    three.withdraw("pets@2", WHY, is_dry=False)

    listed = three.listing("pets")
    verified = three.verify_all("pets")

    assert [(one.version, one.manifest is None, one.error) for one in listed] == [
        (3, False, ""),
        (2, True, ""),
        (1, False, ""),
    ]
    assert listed[1].tombstone is not None
    assert listed[1].tombstone.reason == WHY
    assert (verified.num_versions, verified.num_withdrawn, verified.findings) == (2, 1, ())


def test_a_version_that_an_alias_names_stays_and_the_line_says_how_to_move_it(three: Registry) -> None:
    for is_dry in (True, False):
        with pytest.raises(RequestError, match=r"pets@production names it; .* petmodels promote pets@VERSION produc"):
            three.withdraw("pets@3", WHY, is_dry=is_dry)

    assert three.verify("pets@3").findings == ()


def test_a_rollback_to_a_withdrawn_version_is_refused_and_the_history_stays_valid(three: Registry) -> None:
    three.withdraw("pets@2", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match=rf"{TOLD}, then petmodels promote pets@VERSION production"):
        three.rollback("pets", "production")

    assert three.alias("pets", "production").version == 3
    three.promote("pets@1", "production")
    assert [step.version for step in three.alias("pets", "production").steps] == [2, 3, 1]


@pytest.mark.slow
def test_a_copy_from_a_backup_and_a_repair_bring_it_back_no_more(three: Registry, tmp_path: Path) -> None:
    backup = Registry(tmp_path / "backup", cache=tmp_path / "backup's cache")
    other_machine(three, tmp_path).copy("pets@2", tmp_path / "backup")
    three.withdraw("pets@2", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match=rf"{TOLD} \(in {three.storage.address}\)$"):
        backup.copy("pets@2", three.storage.address)
    with pytest.raises(WithdrawnError, match=TOLD):
        three.repair("pets@2", tmp_path / "backup")

    assert len(blobs_of(three)) == 3
    assert three.verify_all("pets").num_withdrawn == 1


def test_a_repair_from_where_it_was_withdrawn_says_which_registry_that_is(three: Registry, tmp_path: Path) -> None:
    three.copy("pets@2", tmp_path / "backup")
    backup = Registry(tmp_path / "backup", cache=tmp_path / "backup's cache")
    backup.withdraw("pets@2", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match=rf"{TOLD} \(in {backup.storage.address}\)$"):
        three.repair("pets@2", tmp_path / "backup")


@pytest.mark.slow
def test_no_prune_deletes_a_tombstone_or_counts_it_among_the_newest(three: Registry, tmp_path: Path) -> None:
    three.promote("pets@1", "production")
    three.publish(write_files(tmp_path / "4", {"own": b"4"}), "pets")
    for number in (2, 4):
        three.withdraw(f"pets@{number}", WHY, is_dry=False)

    told = three.prune("pets", keep=1)
    done = three.prune("pets", keep=1, is_dry=False)

    assert told.versions == done.versions == ()
    assert three.versions("pets") == [4, 3, 2, 1]
    assert three.verify_all("pets").findings == ()


@pytest.mark.slow
def test_the_newest_version_is_the_newest_that_is_left_and_a_line_says_so(three: Registry, tmp_path: Path) -> None:
    heard: list[str] = []
    consumer = Registry(three.storage.address, cache=tmp_path / "consumer", notice=heard.append)
    assert consumer.manifest("pets").version == 3  # so that it remembers it
    three.promote("pets@1", "production")
    three.withdraw("pets@3", WHY, is_dry=False)

    assert consumer.manifest("pets").version == 2
    assert heard[0].startswith("pets@2 is the newest version that is left: pets@3 was withdrawn on ")


def test_a_model_of_which_everything_was_withdrawn_says_so_and_goes_on_counting(
    folder_registry: Registry, tmp_path: Path
) -> None:
    folder_registry.publish(write_files(tmp_path / "1", {"a": b"1"}), "pets")
    folder_registry.withdraw("pets@1", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match="pets@1 was withdrawn on "):
        folder_registry.manifest("pets")
    again = folder_registry.publish(tmp_path / "1", "pets").manifest
    assert again.version == 2
    assert again.parent
    found = read_version(folder_registry.storage, "pets", 1)
    assert again.parent.sha256 == getattr(found, "manifest", "")


def test_what_a_number_meant_is_known_past_a_withdrawn_neighbour(folder_registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        folder_registry.publish(write_files(tmp_path / str(number), {"own": b"%d" % number}), "pets")
    folder_registry.withdraw("pets@2", WHY, is_dry=False)
    folder_registry.prune("pets", keep=1, is_dry=False)
    other = Registry(tmp_path / "other")
    other.publish(write_files(tmp_path / "foreign", {"own": b"foreign"}), "pets")

    with pytest.raises(ConflictError, match=r"knows another version by this number.*: pets@1"):
        other.copy("pets@1", folder_registry.storage.address)


def test_a_pinned_version_is_served_by_the_cache_until_this_machine_is_told(
    folder_registry: Registry, tmp_path: Path
) -> None:
    for number in (1, 2):
        folder_registry.publish(make_bundle(tmp_path / str(number), tag=str(number)), "pets")
    consumer = other_machine(folder_registry, tmp_path)
    assert consumer.load("pets@1").version == 1
    folder_registry.withdraw("pets@1", WHY, is_dry=False)

    assert consumer.load("pets@1").version == 1
    with pytest.raises(WithdrawnError, match="pets@1 was withdrawn"):
        consumer.verify("pets@1")
    with pytest.raises(WithdrawnError, match="pets@1 was withdrawn"):
        consumer.load("pets@1")


@pytest.mark.parametrize("ask", ["pull", "copy"])
def test_a_machine_that_was_told_by_whatever_it_asked_for_asks_each_time_from_then_on(
    folder_registry: Registry, tmp_path: Path, ask: str
) -> None:
    for number in (1, 2):
        bundle = make_bundle(tmp_path / str(number), tag=str(number))
        (bundle / "more").write_bytes(b"%d" % number)
        folder_registry.publish(bundle, "pets")
    consumer = other_machine(folder_registry, tmp_path)
    consumer.load("pets@1")
    folder_registry.withdraw("pets@1", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match="pets@1 was withdrawn"):
        getattr(consumer, ask)("pets@1", tmp_path / "target")
    with pytest.raises(WithdrawnError, match="pets@1 was withdrawn"):
        consumer.load("pets@1")


def test_who_verifies_all_asks_for_what_was_withdrawn_from_then_on(three: Registry, tmp_path: Path) -> None:
    consumer = other_machine(three, tmp_path)
    consumer.manifest("pets@2")
    three.withdraw("pets@2", WHY, is_dry=False)

    assert consumer.verify_all("pets").num_withdrawn == 1

    with pytest.raises(WithdrawnError, match=TOLD):
        consumer.manifest("pets@2")


def test_a_diff_with_a_remembered_version_whose_labels_are_gone_calls_it_withdrawn(
    folder_registry: Registry, tmp_path: Path
) -> None:
    for number in (1, 2):
        files = {"labels.json": b'{"labels": ["%d"]}' % number}
        folder_registry.publish(write_files(tmp_path / str(number), files), "pets")
    consumer = other_machine(folder_registry, tmp_path)
    consumer.manifest("pets@1")
    folder_registry.withdraw("pets@1", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match="pets@1 was withdrawn"):
        consumer.diff("pets@1", "pets@2")


def test_a_withdrawal_that_was_refused_leaves_the_version_to_this_machine_without_a_network(
    three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.pull("pets@3")
    with pytest.raises(RequestError, match="pets@production names it"):
        three.withdraw("pets@3", WHY, is_dry=False)

    cut_off(three, monkeypatch)

    assert three.manifest("pets@3").version == 3


@pytest.mark.slow
def test_a_version_whose_tombstone_was_taken_away_is_there_without_a_network_once_it_was_asked_for(
    three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = version_key("pets", 2)
    was, _ = three.storage.read(key, 10_000)
    three.withdraw("pets@2", WHY, is_dry=False)
    three.storage.delete(key)
    three.storage.create(key, was)
    three.manifest("pets@2")

    cut_off(three, monkeypatch)

    assert three.manifest("pets@2").version == 2


def cut_off(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object) -> None:
        raise UnreachableError("no network")

    for name in ("read", "list", "find"):
        monkeypatch.setattr(registry.storage, name, refused)


def test_a_remembered_version_whose_files_were_not_fetched_is_called_withdrawn_and_not_broken(
    three: Registry, tmp_path: Path
) -> None:
    consumer = other_machine(three, tmp_path)
    consumer.manifest("pets@2")
    three.withdraw("pets@2", WHY, is_dry=False)

    with pytest.raises(WithdrawnError, match=TOLD):
        consumer.pull("pets@2")


def test_a_tombstone_that_was_taken_away_again_lets_only_the_same_manifest_come_back(
    folder_registry: Registry, tmp_path: Path
) -> None:
    folder_registry.publish(write_files(tmp_path / "1", {"own": b"1"}), "pets")
    key = version_key("pets", 1)
    was, _ = folder_registry.storage.read(key, 10_000)
    folder_registry.withdraw("pets@1", WHY, is_dry=False)

    folder_registry.storage.delete(key)
    folder_registry.storage.create(key, was)

    assert folder_registry.manifest("pets@1").version == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [INTENTS, PRUNES])
def test_a_version_that_somebody_else_is_using_or_deleting_stays(three: Registry, kind: str) -> None:
    with (
        note(three.storage, "pets", kind, versions=[2]),
        pytest.raises(ConflictError, match=r"(somebody is promoting|a prune is deleting).*--grace-hours 0.*: pets@2"),
    ):
        three.withdraw("pets@2", WHY, is_dry=False)

    assert read_manifest(three.storage, "pets", 2).version == 2


def test_a_withdrawal_goes_on_where_another_one_was_killed(three: Registry) -> None:
    with note(three.storage, "pets", PRUNES, versions=[2], withdraws=True):
        assert three.withdraw("pets@2", WHY, is_dry=False).is_new

    assert not three.withdraw("pets@2", "again", is_dry=False).is_new


@pytest.mark.slow
def test_what_a_publisher_at_work_counts_on_stays_and_is_told(three: Registry) -> None:
    own = three.manifest("pets@2").files[0]

    with note(three.storage, "pets", INTENTS, blobs=[own.sha256], newest=3):
        done = three.withdraw("pets@2", WHY, is_dry=False)
    again = three.withdraw("pets@2", WHY, is_dry=False)

    assert (done.num_blobs, done.num_left) == (0, 1)
    assert (again.is_new, again.num_blobs, again.num_left) == (False, 1, 0)


def meanwhile(registry: Registry, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have another machine withdraw pets@2 right before the registry's next note of a kind is written."""
    create, other = registry.storage.create, other_machine(registry, tmp_path)
    left = [kind]

    def created(key: str, data: bytes) -> bool:
        if left and f"/{kind}/" in key:
            left.clear()
            other.withdraw("pets@2", WHY, is_dry=False)
        return create(key, data)

    monkeypatch.setattr(registry.storage, "create", created)


@pytest.mark.slow
def test_a_repair_that_was_overtaken_by_a_withdrawal_brings_no_byte_back(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.copy("pets@2", tmp_path / "backup")
    meanwhile(three, INTENTS, monkeypatch, tmp_path)

    with pytest.raises(WithdrawnError, match=TOLD):
        three.repair("pets@2", tmp_path / "backup")

    assert len(blobs_of(three)) == 3


def test_a_withdrawal_that_was_overtaken_by_a_promotion_takes_nothing_back(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, other = three.storage.create, other_machine(three, tmp_path)

    def created(key: str, data: bytes) -> bool:
        other.promote("pets@2", "staging")
        return create(key, data)

    monkeypatch.setattr(three.storage, "create", created)

    with pytest.raises(RequestError, match="pets@staging names it"):
        three.withdraw("pets@2", WHY, is_dry=False)

    assert other.verify("pets@2").findings == ()


@pytest.mark.slow
def test_who_has_read_an_alias_before_it_moved_and_its_version_was_withdrawn_gets_the_new_one(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = other_machine(three, tmp_path)
    read, left = consumer.storage.read, ["alias"]

    def overtaken(key: str, most_bytes: int) -> tuple[bytes, str]:
        found = read(key, most_bytes)
        if left and "/aliases/" in key:
            left.clear()
            three.promote("pets@1", "production")
            three.withdraw("pets@3", WHY, is_dry=False)
        return found

    monkeypatch.setattr(consumer.storage, "read", overtaken)

    assert consumer.manifest("pets@production").version == 1


def test_a_withdrawal_whose_answer_got_lost_knows_its_own_tombstone(
    three: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = three.storage.replace
    monkeypatch.setattr(three.storage, "replace", lambda *given: replace(*given) and False)

    assert three.withdraw("pets@2", WHY, is_dry=False).is_new


@pytest.mark.slow
def test_a_withdrawal_that_was_overtaken_by_another_one_is_not_called_new(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, other = three.storage.replace, other_machine(three, tmp_path)

    def replaced(key: str, data: bytes, etag: str) -> bool:
        other.withdraw("pets@2", "of theirs", is_dry=False)
        return replace(key, data, etag)

    monkeypatch.setattr(three.storage, "replace", replaced)

    assert not three.withdraw("pets@2", WHY, is_dry=False).is_new
    with pytest.raises(WithdrawnError, match="of theirs"):
        three.resolve("pets@2")


@pytest.mark.slow
def test_a_withdrawal_before_whose_note_another_one_was_done_is_not_called_new(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(three, PRUNES, monkeypatch, tmp_path)

    assert not three.withdraw("pets@2", "again", is_dry=False).is_new


def test_a_withdrawal_whose_machine_slept_for_a_day_stops(three: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = time.time, three.storage.read

    def asleep(key: str, most_bytes: int) -> tuple[bytes, str]:
        if "/prunes/" in key:
            monkeypatch.setattr(time, "time", lambda: now() + 25 * 3600)
        return read(key, most_bytes)

    with note(three.storage, "pets", PRUNES, versions=[1]):  # is read after its own note is written
        monkeypatch.setattr(three.storage, "read", asleep)
        with pytest.raises(ConflictError, match="this took more than 12 hours; run it again"):
            three.withdraw("pets@2", WHY, is_dry=False)

    assert read_manifest(three.storage, "pets", 2).version == 2


@pytest.mark.slow
def test_a_promotion_that_was_overtaken_by_a_withdrawal_moves_no_alias(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(three, INTENTS, monkeypatch, tmp_path)

    with pytest.raises(WithdrawnError, match=TOLD):
        three.promote("pets@2", "staging")

    assert [alias.name for alias in three.aliases("pets")] == ["production"]


@pytest.mark.slow
def test_a_prune_that_was_overtaken_by_a_withdrawal_deletes_no_tombstone(
    three: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.promote("pets@1", "production")
    three.promote("pets@3", "production")
    meanwhile(three, PRUNES, monkeypatch, tmp_path)

    assert three.prune("pets", keep=1, is_dry=False).versions == ()

    assert three.verify_all("pets").num_withdrawn == 1


def test_a_broken_neighbour_stops_no_withdrawal_but_the_deleting_and_is_named(
    folder_registry: Registry, tmp_path: Path
) -> None:
    for number in (1, 2):
        folder_registry.publish(write_files(tmp_path / str(number), {"own": b"%d" % number}), "pets")
    first = next((tmp_path / "registry/pets/versions").glob("*-1.json"))
    whole = first.read_bytes()
    first.write_bytes(b"{}")

    with pytest.raises(FormatError, match=r"pets@2 is withdrawn, but nobody can tell .*the manifest of pets@1 is not"):
        folder_registry.withdraw("pets@2", WHY, is_dry=False)
    with pytest.raises(WithdrawnError, match=TOLD):
        folder_registry.resolve("pets@2")
    assert len(blobs_of(folder_registry)) == 2
    first.write_bytes(whole)
    assert folder_registry.withdraw("pets@2", WHY, is_dry=False).num_blobs == 1


def test_an_alias_that_somebody_set_to_a_tombstone_all_the_same_is_a_finding(three: Registry, tmp_path: Path) -> None:
    key = alias_key("pets", "production")
    data, etag = three.storage.read(key, 10_000)
    three.withdraw("pets@2", WHY, is_dry=False)
    three.storage.replace(key, data.splitlines(keepends=True)[0], etag)

    (finding,) = other_machine(three, tmp_path).verify_all("pets").findings

    assert finding.startswith("pets@production: pets@2 was withdrawn on ")
    with pytest.raises(WithdrawnError, match=TOLD):
        other_machine(three, tmp_path).resolve("pets@production")


def test_nobody_promotes_what_is_being_withdrawn(three: Registry) -> None:
    with (
        note(three.storage, "pets", PRUNES, versions=[2], withdraws=True),
        pytest.raises(ConflictError, match="pets@2"),
    ):
        three.promote("pets@2", "staging")


def test_a_prune_leaves_alone_what_is_being_withdrawn(three: Registry) -> None:
    with note(three.storage, "pets", PRUNES, versions=[1], withdraws=True):
        assert three.prune("pets", keep=1, is_dry=False).versions == ()

    assert three.prune("pets", keep=1, is_dry=False).versions == (1,)


@pytest.mark.slow
def test_a_reader_that_knows_format_1_alone_refuses_a_tombstone_in_one_line(three: Registry) -> None:
    three.withdraw("pets@2", WHY, is_dry=False)
    data, _ = three.storage.read(version_key("pets", 2), 10_000)

    with pytest.raises(FormatError, match=r"^the manifest of pets@2 is of a newer format .*; upgrade petmodels: 2$"):
        load_payload(load_statement(data, "the manifest of pets@2"), "the manifest of pets@2")


def test_a_tombstone_is_never_as_large_as_the_manifest_that_it_replaces(
    folder_registry: Registry, tmp_path: Path
) -> None:
    folder_registry.publish(write_files(tmp_path / "1", {"own": b"1"}), "pets")
    folder_registry.publish(write_files(tmp_path / "2", {"own": b"2"}), "pets")
    key = version_key("pets", 2)
    size = folder_registry.storage.find(key).size_bytes  # type: ignore[union-attr]
    folder_registry.withdraw("pets@1", "x", is_dry=False)
    shortest = read_version(folder_registry.storage, "pets", 1).to_statement()  # type: ignore[union-attr]
    parent = len('{\\"version\\":1,\\"sha256\\":\\"\\"}') + 64 - len("null")
    reason = "x" * (size - len(shortest.to_bytes()) - parent + 1)

    folder_registry.withdraw("pets@2", reason, is_dry=False)

    assert folder_registry.storage.find(key).size_bytes == size + 1  # type: ignore[union-attr]
    with pytest.raises(WithdrawnError, match="pets@2 was withdrawn"):
        folder_registry.manifest("pets")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("version", 2, "is another version's: pets@2"),
        ("version", 1.0, "is another version's: pets@1.0"),
        ("withdrawn", "yesterday", "id, time or hash that can't be"),
        ("manifest", "abc", "id, time or hash that can't be"),
        ("reason", 7, "a reason that is no text"),
        ("files", [], "lacks or adds keys: files"),
        ("format", 3, "of a newer format"),
        ("format", 2.0, "of no format that petmodels knows"),
        ("reason", "x" * 66_000, "of a newer format"),
        ("parent", {"version": 0, "sha256": "0" * 64}, "names a parent that can't be"),
    ],
)
def test_a_tombstone_that_another_reader_might_read_otherwise_is_refused(
    folder_registry: Registry, tmp_path: Path, key: str, value: object, told: str
) -> None:
    folder_registry.publish(write_files(tmp_path / "1", {"own": b"1"}), "pets")
    folder_registry.withdraw("pets@1", WHY, is_dry=False)
    data, _ = folder_registry.storage.read(version_key("pets", 1), 10_000)
    content = json.loads(load_statement(data, "").payload)

    path = next((tmp_path / "registry/pets/versions").glob("*-1.json"))
    path.write_bytes(Statement(json.dumps(content | {key: value})).to_bytes())

    with pytest.raises(FormatError, match=told):
        folder_registry.resolve("pets@1")


@pytest.mark.slow
def test_a_broken_tombstone_is_a_finding_that_nobody_repairs_and_no_prune_deletes(
    three: Registry, tmp_path: Path
) -> None:
    three.copy("pets@2", tmp_path / "backup")
    three.withdraw("pets@2", WHY, is_dry=False)
    key = version_key("pets", 2)
    data, etag = three.storage.read(key, 10_000)
    content = json.loads(load_statement(data, "").payload)
    three.storage.replace(key, Statement(json.dumps(content | {"more": 1})).to_bytes(), etag)
    for number in (1, 3, 1):
        three.promote(f"pets@{number}", "production")

    with pytest.raises(FormatError, match="pets@2, which was withdrawn, lacks or adds keys: more"):
        three.repair("pets@2", tmp_path / "backup")
    assert three.prune("pets", keep=1, is_dry=False).versions == ()

    assert len(three.verify_all("pets").findings) == 1
    assert (three.versions("pets"), len(blobs_of(three))) == ([3, 2, 1], 3)


def test_a_manifest_that_speaks_of_something_withdrawn_is_no_tombstone(
    folder_registry: Registry, tmp_path: Path
) -> None:
    folder_registry.publish(write_files(tmp_path / "1", {"card.json": b'{"withdrawn": "never"}'}), "pets")

    assert other_machine(folder_registry, tmp_path).manifest("pets@1").card == {"withdrawn": "never"}


def test_no_signature_is_asked_of_a_tombstone_and_what_is_left_must_be_signed(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "petmodels.key"
    public = new_key(key)
    for number in (1, 2):
        bundle = write_files(tmp_path / str(number), {"own": b"%d" % number})
        folder_registry.publish(bundle, "pets", Origin(key_file=key))
    folder_registry.withdraw("pets@2", WHY, is_dry=False)
    monkeypatch.setenv("PETMODELS_TRUSTED_KEYS", public)

    consumer = other_machine(folder_registry, tmp_path)
    with pytest.raises(WithdrawnError, match=TOLD):
        consumer.resolve("pets@2")
    assert consumer.manifest("pets").version == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        ("pets@production", WHY, "by its number, as pets@7: pets@production"),
        ("pets", WHY, "by its number"),
        ("pets@2", " \n", "say why"),
        ("pets@2", "x" * 10_001, "at most 10000 bytes"),
    ],
)
def test_what_cant_be_withdrawn_is_said_in_a_line(three: Registry, spec: str, reason: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        three.withdraw(spec, reason, is_dry=False)


def test_a_withdrawal_respects_notes_for_no_less_than_0_hours(three: Registry) -> None:
    with pytest.raises(RequestError, match=r"notes are respected for 0 to .*--grace-hours -1"):
        three.withdraw("pets@2", WHY, is_dry=False, grace_hours=-1)

    assert read_manifest(three.storage, "pets", 2).version == 2


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"torn", b'{"payload":"{}","signatures":[]}'])
@pytest.mark.parametrize("is_dry", [True, False])
def test_a_version_whose_manifest_is_broken_is_to_be_repaired_first_and_then_goes(
    three: Registry, tmp_path: Path, data: bytes, is_dry: bool
) -> None:
    three.copy("pets@2", tmp_path / "backup")
    key = version_key("pets", 2)
    three.storage.replace(key, data, three.storage.read(key, 10_000)[1])

    with pytest.raises(
        FormatError,
        match=r"^its manifest is broken; first petmodels repair pets@2 OTHER, then withdraw it: the manifest",
    ):
        three.withdraw("pets@2", WHY, is_dry=is_dry)

    three.repair("pets@2", tmp_path / "backup")
    assert three.withdraw("pets@2", WHY, is_dry=False).is_new


def test_a_version_that_is_not_there_cant_be_withdrawn(three: Registry) -> None:
    with pytest.raises(NotFoundError, match="no version 9 of pets; published versions: 1, 2, 3"):
        three.withdraw("pets@9", WHY, is_dry=False)


def test_the_command_tells_first_and_does_it_with_yes(run: Command, tmp_path: Path) -> None:
    for number in (1, 2):
        run("publish", make_bundle(tmp_path / str(number), tag=str(number)), "--model", "pets")

    told = run("withdraw", "pets@2", "--reason", WHY)
    done = run("withdraw", "pets@2", "--reason", WHY, "--yes")

    assert told.data == ["pets@2: would be withdrawn; would delete 1 blob, 32 B"]
    assert told.talk == [f"nothing was deleted; to do it: petmodels withdraw pets@2 --reason '{WHY}' --yes"]
    assert done.data == ["pets@2: withdrawn; deleted 1 blob, 32 B"]
    for command in ("show", "pull", "verify"):
        asked = run(command, "pets@2")
        assert asked.code == 3
        assert len(asked.talk) == 1
        assert asked.talk[0].startswith("petmodels: pets@2 was withdrawn on ")
    assert "withdrawn on " in run("list", "pets").data[1]
    assert run("list", "pets", "--json").json[0]["withdrawn"].endswith(WHY)
    assert run("verify", "--all").data[-1].endswith("read again; 1 withdrawn version")
    assert run("withdraw", "pets@2", "--reason", "again", "--yes").data == [
        "pets@2: is withdrawn already; deleted 0 blobs, 0 B"
    ]
