"""What was looked at is what is used: aliases vouch for it, writers write what readers take, and races lose nothing."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from petmodels import notes
from petmodels.documents import LONGEST_DOCUMENT_BYTES, Statement, load_statement
from petmodels.errors import (
    BundleError,
    ChecksumError,
    ConflictError,
    FormatError,
    NotFoundError,
    ReplayError,
    RequestError,
    SignatureError,
)
from petmodels.memory import Memory
from petmodels.names import alias_key, version_key
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.signing import TRUSTED_KEYS, new_key
from petmodels.storage import Storage
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command


@pytest.fixture
def two(folder_registry: Registry, tmp_path: Path) -> Registry:
    """Return a registry with pets@1 and pets@2 that this machine has seen, production names the first."""
    for number in (1, 2):
        folder_registry.publish(write_files(tmp_path / f"bundle{number}", {"a": bytes([number])}), "pets")
        folder_registry.manifest(f"pets@{number}")
    folder_registry.promote("pets@1", "production")
    return folder_registry


def swap(registry: Registry, version: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a stored manifest as somebody would who may write to the bucket."""
    key = version_key("pets", version)
    payload = json.loads(load_statement(registry.storage.read(key, 10**6)[0], "").payload)
    change(payload)
    registry.storage.delete(key)
    registry.storage.create(key, Statement(json.dumps(payload)).to_bytes())


def elsewhere(registry: Registry, tmp_path: Path) -> Registry:
    """Return the registry as a machine sees it that has nothing in its cache."""
    return Registry(registry.storage.address, cache=tmp_path / "another machine")


def test_a_manifest_that_was_swapped_after_it_was_seen_is_not_promoted(two: Registry) -> None:
    swap(two, 2, lambda payload: payload.update(message="swapped"))

    with pytest.raises(ChecksumError, match="manifest of pets@2 is not the one that was seen before; it was swapped"):
        two.promote("pets@2", "production")

    assert [alias.version for alias in two.aliases("pets")] == [1]


def test_an_unsigned_manifest_is_not_promoted_where_signatures_are_asked_for(
    folder_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUSTED_KEYS, new_key(tmp_path / "key"))
    origin = Origin(key_file=tmp_path / "key")
    folder_registry.publish(write_files(tmp_path / "bundle", {"a": b"1"}), "pets", origin)
    folder_registry.manifest("pets@1")
    key = version_key("pets", 1)
    payload = load_statement(folder_registry.storage.read(key, 10**6)[0], "").payload
    folder_registry.storage.delete(key)
    folder_registry.storage.create(key, Statement(payload).to_bytes())

    with pytest.raises(SignatureError, match="manifest of pets@1 is not signed"):
        folder_registry.promote("pets@1", "production")


def test_a_rollback_goes_to_the_manifest_that_was_promoted_and_to_no_other(two: Registry) -> None:
    two.promote("pets@2", "production")
    swap(two, 1, lambda payload: payload.update(message="swapped"))

    with pytest.raises(ChecksumError, match="manifest of pets@1 is not the one that was seen before; it was swapped"):
        two.rollback("pets", "production")


def test_verify_of_one_version_tells_that_its_manifest_was_swapped(two: Registry) -> None:
    swap(two, 1, lambda payload: payload.update(message="swapped"))

    for spec in ("pets@1", "pets@production"):
        assert "another pets@1 than this machine has seen" in two.verify(spec).findings[0]


def test_an_alias_that_was_set_back_is_neither_shown_nor_moved(two: Registry) -> None:
    key = alias_key("pets", "production")
    old, _ = two.storage.read(key, 10**6)
    two.promote("pets@2", "production")
    two.manifest("pets@production")
    two.storage.delete(key)
    two.storage.create(key, old)

    for ask in (lambda: two.aliases("pets"), lambda: two.promote("pets@2", "production"),
                lambda: two.rollback("pets", "production")):  # fmt: skip
        with pytest.raises(ReplayError, match=r"the registry shows an older pets@production"):
            ask()


def test_a_step_that_another_process_here_saw_first_is_no_set_back(
    two: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process reads the alias; then somebody promotes and another process of this machine reads it."""
    other, read = Registry(two.storage.address), type(two.storage).read
    waiting = ["promote"]

    def slow(storage: Storage, key: str, limit: int) -> tuple[bytes, str]:
        found = read(storage, key, limit)  # type: ignore[arg-type]
        if key.endswith("production.jsonl") and storage is two.storage and waiting:
            waiting.clear()
            elsewhere(two, tmp_path).promote("pets@2", "production")
            other.manifest("pets@production")
        return found

    monkeypatch.setattr(type(two.storage), "read", slow)

    assert two.manifest("pets@production").version == 2


@pytest.mark.parametrize("name", [".petmodels.json", "more/.PetModels.JSON", ".petmodels.json/x"])
def test_no_version_brings_a_file_by_the_name_of_a_pulled_folders_manifest(
    two: Registry, tmp_path: Path, name: str
) -> None:
    swap(two, 2, lambda payload: payload["files"][0].update(path=name))

    with pytest.raises(FormatError, match="lists a file by the name that a pulled folder's manifest has"):
        elsewhere(two, tmp_path).pull("pets@2", tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "message", "match"),
    [
        ({"card.json": b'{"a":' * 63 + b"1" + b"}" * 63}, "", "no reader would take this version: .* 64 levels deep"),
        ({f"{number}.png": b"" for number in range(10_001)}, "", "no reader would .* lists more than 10000 files"),
        ({"a": b"1"}, "\udcff", "the message or another text holds bytes that are no text"),
        ({"a": b"1"}, "寿" * (LONGEST_DOCUMENT_BYTES // 3), "too large|larger than"),
        ({"params.yaml": b"\x01" * 800_000}, "", "too large|larger than"),
    ],
    ids=["deep", "many", "no text", "wide", "escaped"],
)
def test_what_no_reader_would_take_is_not_published(
    folder_registry: Registry, tmp_path: Path, files: dict[str, bytes], message: str, match: str
) -> None:
    bundle = write_files(tmp_path / "bundle", files)

    with pytest.raises(BundleError, match=match):
        folder_registry.publish(bundle, "pets", Origin(message=message))

    assert folder_registry.newest("pets") is None
    assert not (tmp_path / "registry/pets/blobs").exists()


@pytest.mark.parametrize(
    ("message", "match"), [("\udcff", "the message holds bytes that are no text"), ("x" * 10_001, "at most 10000 byt")]
)
def test_a_message_that_no_reader_would_take_moves_no_alias(two: Registry, message: str, match: str) -> None:
    two.promote("pets@2", "production")

    with pytest.raises(RequestError, match=match):
        two.promote("pets@1", "production", message=message)
    with pytest.raises(RequestError, match=match):
        two.rollback("pets", "production", message=message)

    assert two.manifest("pets@production").version == 2


def test_a_history_without_its_last_line_end_goes_on(two: Registry) -> None:
    key = alias_key("pets", "production")
    data, etag = two.storage.read(key, 10**6)
    two.storage.replace(key, data.rstrip(b"\n"), etag)

    assert [step.version for step in two.promote("pets@2", "production").steps] == [1, 2]
    assert two.manifest("pets@production").version == 2


def test_a_full_history_takes_no_step_more_and_says_what_now(two: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petmodels.promotion.LONGEST_ALIAS_BYTES", 600)

    with pytest.raises(
        RequestError, match=r"history is full at 600 bytes; .* an alias of another name: pets@production"
    ):
        two.promote("pets@2", "production")

    assert two.manifest("pets@production").version == 1


@pytest.mark.parametrize("content", ['{"format":1,"kind":"petmodels cache"}', '{"format":1}', '{"format":1.0}'])
def test_what_says_that_it_is_no_registry_is_not_written_to(two: Registry, tmp_path: Path, content: str) -> None:
    (tmp_path / "registry/petmodels.json").write_text(content)

    with pytest.raises(FormatError, match=r"registry/petmodels\.json (says that this is no|is of no format)"):
        elsewhere(two, tmp_path).promote("pets@2", "production")

    assert elsewhere(two, tmp_path).manifest("pets@production").version == 1


def test_foreign_objects_beside_the_versions_hide_none_and_stop_no_publisher(
    registry: Registry, tmp_path: Path
) -> None:
    registry.publish(write_files(tmp_path / "one", {"a": b"1"}), "pets")
    for name in ("00-README.txt", "00000000-7.json", "0.json", "99999999-0.json"):
        registry.storage.create(f"pets/versions/{name}", b"x")

    registry.publish(write_files(tmp_path / "two", {"a": b"2"}), "pets")

    assert registry.newest("pets") == 2
    assert registry.versions("pets", limit=2) == [2, 1]
    assert registry.manifest("pets").version == 2


def test_no_version_is_numbered_nought(folder_registry: Registry) -> None:
    folder_registry.storage.create("pets/versions/99999999-0.json", b"x")

    assert folder_registry.newest("pets") is None


def test_publishing_again_makes_a_whole_version_of_one_that_has_lost_bytes(two: Registry, tmp_path: Path) -> None:
    blob = two.manifest("pets@2").files[0].blob
    path = tmp_path / "registry/pets/blobs" / blob
    path.chmod(0o644)
    path.write_bytes(b"x")

    again = two.publish(tmp_path / "bundle2", "pets")

    assert (again.is_new, again.manifest.version) == (True, 3)
    assert (elsewhere(two, tmp_path).pull("pets@3", tmp_path / "out") / "a").read_bytes() == b"\x02"
    assert two.publish(tmp_path / "bundle2", "pets").is_new is False


def test_signing_what_was_published_unsigned_makes_a_signed_version(two: Registry, tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")

    signed = two.publish(tmp_path / "bundle2", "pets", Origin(key_file=tmp_path / "key"))

    assert (signed.is_new, signed.manifest.version) == (True, 3)
    assert [one.key for one in two.resolve("pets@3").statement.signatures] == [public]
    assert two.publish(tmp_path / "bundle2", "pets", Origin(key_file=tmp_path / "key")).is_new is False


@pytest.mark.parametrize("key", ["shared", "production's"])
def test_a_signature_names_no_registry_so_that_each_wants_a_key_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Who may write to production puts a candidate of staging there, whole and signed, that nobody has released."""
    keys = {name: new_key(tmp_path / name) for name in ("shared", "production's")}
    candidate = write_files(tmp_path / "bundle", {"a": b"a candidate"})
    Registry(tmp_path / "staging").publish(candidate, "pets", Origin(key_file=tmp_path / "shared"))
    shutil.copytree(tmp_path / "staging", tmp_path / "production")
    monkeypatch.setenv(TRUSTED_KEYS, keys[key])

    consumer = Registry(tmp_path / "production", cache=tmp_path / "consumer")

    if key == "shared":
        assert (consumer.pull("pets@1", tmp_path / "out") / "a").read_bytes() == b"a candidate"
    else:
        with pytest.raises(SignatureError, match="the manifest of pets@1 is signed by a key that isn't trusted here"):
            consumer.pull("pets@1", tmp_path / "out")


def test_repair_brings_a_lost_signature_back(folder_registry: Registry, tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    origin = Origin(key_file=tmp_path / "key")
    folder_registry.publish(write_files(tmp_path / "bundle", {"a": b"1"}), "pets", origin)
    folder_registry.copy("pets@1", tmp_path / "backup")
    key = version_key("pets", 1)
    whole, etag = folder_registry.storage.read(key, 10**6)
    folder_registry.storage.replace(key, Statement(load_statement(whole, "").payload).to_bytes(), etag)

    assert folder_registry.repair("pets@1", tmp_path / "backup") == ("pets@1: its manifest lost a signature",)
    assert folder_registry.storage.read(key, 10**6)[0] == whole
    assert folder_registry.repair("pets@1", tmp_path / "backup") == ()


def test_repair_leaves_what_a_prune_is_deleting(two: Registry, tmp_path: Path) -> None:
    two.copy("pets@2", tmp_path / "backup")
    two.storage.delete(version_key("pets", 2))

    with (
        notes.note(two.storage, "pets", notes.PRUNES, versions=[2]),
        pytest.raises(ConflictError, match="a prune is deleting this version; wait for it and run again: pets@2"),
    ):
        two.repair("pets@2", tmp_path / "backup")

    assert two.storage.find(version_key("pets", 2)) is None


def test_an_upload_that_the_store_refuses_is_no_success(
    two: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.copy("pets@1", tmp_path / "backup")
    two.storage.delete(f"pets/blobs/{two.manifest('pets@1').files[0].blob}")
    monkeypatch.setattr(type(two.storage), "upload", lambda *_: False)

    with pytest.raises(ConflictError, match="somebody else is writing this file over there; run it again"):
        two.copy("pets@2", tmp_path / "other")
    with pytest.raises(ConflictError, match="somebody else is writing this file; run it again: pets@1/a"):
        two.repair("pets@1", tmp_path / "backup")
    with pytest.raises(ConflictError, match="the store neither took nor has this file; run it again: a"):
        two.publish(write_files(tmp_path / "new", {"a": b"new"}), "pets")


@pytest.fixture
def four(two: Registry, tmp_path: Path) -> Registry:
    """Return a registry in which each writer has something to do, beside a mirror and one that lost its manifest."""
    for number in (3, 4):
        two.publish(write_files(tmp_path / f"bundle{number}", {"a": bytes([number])}), "pets")
    two.mirror(tmp_path / "mirror")
    two.promote("pets@2", "production")
    two.copy("pets@1", tmp_path / "lost")
    Registry(tmp_path / "lost").storage.delete(version_key("pets", 1))
    return two


WRITERS: dict[str, Callable[[Registry, Path], object]] = {
    "publish": lambda four, folder: four.publish(write_files(folder / "new", {"a": b"new"}), "pets"),
    "promote": lambda four, _: four.promote("pets@3", "production"),
    "rollback": lambda four, _: four.rollback("pets", "production"),
    "prune": lambda four, _: four.prune("pets", keep=1, is_dry=False),
    "copy": lambda four, folder: four.copy("pets@4", folder / "lost"),
    "mirror": lambda four, folder: four.mirror(folder / "mirror"),
    "repair": lambda four, folder: Registry(folder / "lost").repair("pets@1", four.storage.address),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_whose_machine_slept_for_a_day_stops(
    four: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """The clock that nobody sets stands still while a machine sleeps. Withdraw's is in test_withdraw."""
    now, create = time.time, type(four.storage).create

    def asleep(storage: Storage, key: str, data: bytes) -> bool:
        is_done = create(storage, key, data)
        if "/intents/" in key or "/prunes/" in key:
            monkeypatch.setattr(time, "time", lambda: now() + 25 * 3600)
        return is_done

    monkeypatch.setattr(type(four.storage), "create", asleep)
    before = _named(tmp_path)

    with pytest.raises(ConflictError, match="this took more than 12 hours; run it again"):
        WRITERS[writer](four, tmp_path)

    assert _named(tmp_path) == before


def _named(folder: Path) -> dict[Path, bytes]:
    """Return all that versions and aliases are, in each of the registries."""
    paths = [path for kind in ("versions", "aliases") for path in folder.glob(f"*/pets/{kind}/*")]
    return {path: path.read_bytes() for path in paths}


def test_two_stores_with_a_bucket_of_the_same_name_share_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory_at(endpoint: str) -> Memory:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        return Registry("s3://bucket/models", cache=tmp_path).memory

    assert memory_at("http://one:9000").folder != memory_at("http://two:9000").folder
    assert memory_at("http://one:9000").folder == memory_at("http://one:9000").folder


def test_strangers_words_in_an_error_steer_no_terminal(run: Command, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", cache=tmp_path / "the publisher's")
    registry.publish(write_files(tmp_path / "bundle", {"a": b"1"}), "pets")
    swap(registry, 1, lambda payload: payload.update({"\x1b[31mRED\n": 1}))

    done = run("show", "pets@1")

    assert (done.code, len(done.talk)) == (6, 1)
    assert "\x1b" not in done.talk[0]


def test_an_endpoints_password_is_in_no_error(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:my-password@[x")

    done = run("list", "--registry", "s3://bucket/models")

    assert done.code == 1
    assert "my-password" not in done.talk[0]


def test_a_folder_in_the_place_of_a_document_is_no_document(two: Registry, tmp_path: Path) -> None:
    two.storage.delete(version_key("pets", 2))
    (tmp_path / "registry" / version_key("pets", 2)).mkdir()
    (tmp_path / "registry/pets/aliases/staging.jsonl").mkdir()

    with pytest.raises(NotFoundError, match="no version 2 of pets; published versions: 1"):
        elsewhere(two, tmp_path).manifest("pets@2")
    with pytest.raises(NotFoundError, match="pets has no alias staging; it has: production"):
        two.manifest("pets@staging")


def test_of_two_repairs_the_slower_one_leaves_what_the_other_put_back(
    two: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.copy("pets@1", tmp_path / "backup")
    key = f"pets/blobs/{two.manifest('pets@1').files[0].blob}"
    two.storage.delete(key)
    backup = Registry(tmp_path / "backup")
    download = type(two.storage).download

    def quicker(storage: Storage, wanted: str, start: int, length: int) -> Any:
        if storage.address == backup.storage.address and two.storage.find(key) is None:
            two.storage.create(key, b"\x01")
        return download(storage, wanted, start, length)  # type: ignore[arg-type]

    monkeypatch.setattr(type(two.storage), "download", quicker)

    assert elsewhere(two, tmp_path).repair("pets@1", backup.storage.address) == ()
    assert two.storage.read(key, 10)[0] == b"\x01"


def test_looking_at_histories_needs_no_place_to_write(two: Registry, tmp_path: Path) -> None:
    found = Registry(two.storage.address, cache=tmp_path / "none")

    assert [alias.version for alias in found.aliases("pets")] == [1]
    assert [one.manifest.version for one in found.listing("pets") if one.manifest] == [2, 1]
    assert not (tmp_path / "none").exists()


def test_without_keys_a_planted_memory_is_believed_and_with_keys_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write to a cache says what a number means to all who share it: it isn't asked for again."""
    key, cache = new_key(tmp_path / "key"), tmp_path / "shared"
    registries = {name: Registry(tmp_path / name, cache=cache) for name in ("real", "other")}
    for name, registry in registries.items():
        origin = Origin(key_file=tmp_path / "key" if name == "real" else None)
        publisher = Registry(registry.storage.address, cache=tmp_path / "publisher")
        publisher.publish(write_files(tmp_path / f"bundle of {name}", {"name": name.encode()}), "pets", origin)
    registries["other"].pull("pets@1")
    memories = [Memory(cache, str(tmp_path / name)).folder for name in ("other", "real")]
    shutil.copytree(*memories)

    planted = registries["real"].pull("pets@1", tmp_path / "mine")
    monkeypatch.setenv(TRUSTED_KEYS, key)

    assert (planted / "name").read_bytes() == b"other"
    with pytest.raises(ReplayError, match=r"the registry shows another pets@1 than this machine has seen"):
        registries["real"].pull("pets@1", tmp_path / "again")  # without a trusted signature it is asked for again
