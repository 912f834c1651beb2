"""What writers leave for each other, when it can't be read: only what may be alive stops anybody."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from petmodels.errors import FormatError
from petmodels.notes import INTENTS, MOST_NAMED, PRUNES, note, prunes_at_work, read_notes, stored_notes
from petmodels.registry import Registry
from petmodels.storage import Storage
from tests.petmodels.bundles import write_files

DAY_SECONDS = 86_400
KINDS = ("intents", "prunes")


@pytest.fixture
def two(folder_registry: Registry, tmp_path: Path) -> Registry:
    """Return a registry with pets@1 and pets@2."""
    for number in (1, 2):
        folder_registry.publish(write_files(tmp_path / f"bundle{number}", {"a": bytes([number])}), "pets")
    return folder_registry


def leave(registry: Registry, kind: str, content: str, *, age_seconds: float) -> Path:
    """Write a note, or what lies in the place of one."""
    key = f"pets/{kind}/0123456789abcdef.json"
    assert registry.storage.create(key, content.encode())
    path = Path(registry.storage.address) / key
    os.utime(path, (time.time() - age_seconds,) * 2)
    return path


def test_a_dead_note_that_can_not_be_read_stops_no_writer(two: Registry, tmp_path: Path) -> None:
    leave(two, "prunes", '{"format":2}', age_seconds=DAY_SECONDS + 60)
    two.copy("pets@1", tmp_path / "backup")

    assert two.publish(write_files(tmp_path / "new", {"a": b"new"}), "pets").manifest.version == 3
    assert two.promote("pets@1", "production").version == 1
    assert two.repair("pets@1", tmp_path / "backup") == ()
    assert Registry(tmp_path / "backup").copy("pets@1", two.storage.address) is False


@pytest.mark.parametrize("kind", KINDS)
def test_a_prune_takes_a_dead_note_away_unread(two: Registry, kind: str) -> None:
    path = leave(two, kind, "cut o", age_seconds=DAY_SECONDS + 60)

    dry = two.prune("pets", keep=1)
    assert path.exists()
    done = two.prune("pets", keep=1, is_dry=False)

    assert (dry.num_notes, done.num_notes) == (1, 1)
    assert not path.exists()
    assert two.versions("pets") == [2]


@pytest.mark.parametrize(
    "content",
    [
        "cut o",
        '{"format":2}',
        '{"format":1,"versions":[true],"blobs":[],"newest":null}',
        '{"format":1,"versions":[1],"blobs":{},"newest":null}',
    ],
)
def test_a_young_note_that_can_not_be_read_stops_who_must_heed_it(two: Registry, tmp_path: Path, content: str) -> None:
    leave(two, "prunes", content, age_seconds=DAY_SECONDS - 60)
    leave(two, "intents", content, age_seconds=DAY_SECONDS - 60)

    with pytest.raises(FormatError, match=r"pets/prunes/0123456789abcdef\.json"):
        two.publish(write_files(tmp_path / "new", {"a": b"new"}), "pets")
    with pytest.raises(FormatError, match=r"pets/prunes/0123456789abcdef\.json"):
        two.promote("pets@1", "production")
    with pytest.raises(FormatError, match=r"pets/prunes/0123456789abcdef\.json"):
        two.prune("pets", keep=1, is_dry=False)  # it may say that version 1 is being withdrawn
    with pytest.raises(FormatError, match=r"pets/intents/0123456789abcdef\.json"):
        two.withdraw("pets@1", "asked for", is_dry=False)
    two.storage.delete("pets/prunes/0123456789abcdef.json")
    with pytest.raises(FormatError, match=r"pets/intents/0123456789abcdef\.json"):
        two.prune("pets", keep=1, is_dry=False)

    assert two.versions("pets") == [2, 1]
    assert two.aliases("pets") == []


def test_what_a_dead_prune_condemned_may_be_promoted(two: Registry) -> None:
    note = '{"format":1,"versions":[1],"blobs":[],"newest":null}'
    leave(two, "prunes", note, age_seconds=DAY_SECONDS + 60)

    assert two.promote("pets@1", "production").version == 1


def test_a_note_of_another_language_may_say_more(two: Registry) -> None:
    note = '{"format":1,"versions":[1],"blobs":[],"newest":null,"host":"example"}'
    leave(two, "intents", note, age_seconds=60)

    assert two.prune("pets", keep=1, is_dry=False).versions == ()


def test_what_is_no_blob_lies_beside_the_blobs_and_stops_no_prune(two: Registry, tmp_path: Path) -> None:
    (tmp_path / "registry/pets/blobs/README.txt").write_text("not ours")

    assert two.prune("pets", keep=1, is_dry=False).versions == (1,)
    assert (tmp_path / "registry/pets/blobs/README.txt").exists()


@pytest.mark.parametrize("suffix", ["", f".{'0' * 16}"])
def test_a_blob_that_a_publisher_counts_on_by_either_of_its_names_outlives_a_prune(two: Registry, suffix: str) -> None:
    stored, named = (f"{'a' * 64}{one}" for one in ("", suffix))
    assert two.storage.create(f"pets/blobs/{stored}", b"left by a killed publisher")

    with note(two.storage, "pets", INTENTS, blobs=[named]):
        done = two.prune("pets", keep=2, is_dry=False)

    assert (done.num_blobs, done.num_notes) == (0, 0)  # nor is the note taken for a dead one


def test_without_a_prune_at_work_no_writer_asks_when_its_own_note_was_written(
    two: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with note(two.storage, "pets", INTENTS, versions=[1]) as intent:
        monkeypatch.setattr(type(two.storage), "find", lambda *_: pytest.fail("a request for nothing"))

        assert prunes_at_work(two.storage, intent) == []


def test_a_note_that_names_the_most_is_one_that_readers_take(two: Registry) -> None:
    names = [f"{number:064x}.{number:016x}" for number in range(MOST_NAMED)]

    with note(two.storage, "pets", PRUNES, versions=[99_999_999], blobs=names):
        (found,) = read_notes(two.storage, stored_notes(two.storage, "pets", PRUNES))

    assert found.blobs == set(names)


@pytest.mark.parametrize("most", [1, 2, 3, 99])
def test_a_prune_of_more_than_a_note_names_goes_in_passes_and_leaves_nothing(
    two: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for number in range(3, 7):
        two.publish(write_files(tmp_path / f"bundle{number}", {"a": bytes([number])}), "pets")
    needed = {file.blob for file in two.manifest("pets@6").files}
    left = write_files(tmp_path / "registry/pets/blobs", {f".{'0' * 64}.{'0' * 16}.partial": b"half"})
    os.utime(next(left.glob("*.partial")), (0, 0))
    dry = two.prune("pets", keep=1)
    written, create = [], type(two.storage).create

    def recorded(storage: Storage, key: str, data: bytes) -> bool:
        if "/prunes/" in key:
            written.append(json.loads(data))
        return create(storage, key, data)  # type: ignore[arg-type]

    monkeypatch.setattr(type(two.storage), "create", recorded)
    monkeypatch.setattr("petmodels.prune.MOST_NAMED", most)

    assert replace(two.prune("pets", keep=1, is_dry=False), is_dry=True) == dry

    assert dry.num_uploads == 1
    assert max(len(one["versions"]) + len(one["blobs"]) for one in written) == min(most, 10)
    assert two.versions("pets") == [6]
    assert {path.name for path in (tmp_path / "registry/pets/blobs").iterdir()} == needed


def test_each_pass_spares_what_came_into_use_after_the_first(
    two: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both blobs of old versions are condemned by passes of their own; the second comes into use after the first."""
    old = two.manifest("pets@1").files[0].blob
    two.publish(write_files(tmp_path / "bundle3", {"a": b"3"}), "pets")
    delete, bundle = type(two.storage).delete, write_files(tmp_path / "again", {"a": bytes([1])})

    def used_meanwhile(storage: Storage, key: str) -> None:
        delete(storage, key)  # type: ignore[arg-type]
        if key.endswith("-2.json"):
            two.publish(bundle, "pets")

    monkeypatch.setattr(type(two.storage), "delete", used_meanwhile)
    monkeypatch.setattr("petmodels.prune.MOST_NAMED", 1)

    pruned = two.prune("pets", keep=1, is_dry=False)

    assert (pruned.versions, pruned.kept, pruned.num_blobs) == ((1, 2), (3, 4), 1)
    assert two.manifest("pets@4").files[0].blob == old
    assert two.verify_all("pets").findings == ()
