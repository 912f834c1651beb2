"""Pulls: atomic, resumed, shared by hash, offline, on a full disk, and by sixteen processes at once."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

import petmodels
from petmodels.errors import MachineError, RequestError, UnreachableError
from petmodels.locks import lock
from petmodels.registry import Registry
from petmodels.storage import Storage
from tests.petmodels.bundles import make_bundle, write_files
from tests.petmodels.proxy import FOREVER, Fault, Proxy
from tests.petmodels.race_runner import race

MIB = 2**20
ROOT = Path(__file__).parents[2]


@pytest.fixture
def published(folder_registry: Registry, tmp_path: Path) -> Registry:
    """Return a registry with pets@1 and pets@2, which share a large file; production names the second."""
    for number in (1, 2):
        files = {"weights": b"w" * 5 * MIB, "own/n.txt": b"%d" % number, "empty": b""}
        folder_registry.publish(write_files(tmp_path / f"bundle{number}", files), "pets")
    folder_registry.promote("pets@2", "production")
    return folder_registry


class Counted:
    """A storage that counts what it is asked to download, and breaks off after so many bytes."""

    def __init__(self, storage: Storage, break_after: int | None = None) -> None:
        self._storage = storage
        self._left = break_after
        self.asked: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def download(self, key: str, start: int, length: int) -> Iterator[bytes]:
        self.asked.append((start, length))
        for piece in self._storage.download(key, start, length):
            if self._left is not None:
                self._left -= len(piece)
                if self._left < 0:
                    raise UnreachableError("broken off")
            yield piece


def counted(registry: Registry, break_after: int | None = None) -> Counted:
    registry.storage = Counted(registry.storage, break_after)  # type: ignore[assignment]
    return registry.storage


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "partial" in path.name]


def test_a_broken_pull_goes_on_with_what_it_has(published: Registry, tmp_path: Path) -> None:
    counted(published, break_after=2 * MIB + 10)
    with pytest.raises(UnreachableError, match="broken off"):
        published.pull("pets@1", tmp_path / "out")
    assert not (tmp_path / "out").exists()

    again = Registry(tmp_path / "registry")
    storage = counted(again)
    again.pull("pets@1", tmp_path / "out")

    assert (2 * MIB, 3 * MIB) in storage.asked
    assert leftovers(tmp_path) == []


def test_who_waited_for_a_file_that_was_renamed_locks_a_new_one(tmp_path: Path) -> None:
    path, renamed = tmp_path / "blob.partial", tmp_path / "blob"

    def locked() -> int:
        with lock(path):
            return path.stat().st_ino

    with ThreadPoolExecutor(1) as pool:
        with lock(path):
            waiting = pool.submit(locked)
            time.sleep(0.1)
            path.rename(renamed)
        assert waiting.result() != renamed.stat().st_ino


def test_a_partial_file_with_other_bytes_as_a_power_cut_leaves_it_is_fetched_anew(
    published: Registry, tmp_path: Path
) -> None:
    digest = next(file.sha256 for file in published.manifest("pets@1").files if file.path == "weights")
    partial = published.cache.path(digest).with_name(f"{digest}.partial")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(4000))

    target = published.pull("pets@1", tmp_path / "out")

    assert hashlib.sha256((target / "weights").read_bytes()).hexdigest() == digest
    assert not partial.exists()


def test_versions_share_their_files(published: Registry, tmp_path: Path) -> None:
    published.pull("pets@1", tmp_path / "one")
    storage = counted(published)

    published.pull("pets@2", tmp_path / "two")

    assert [length for _, length in storage.asked] == [1]
    assert (tmp_path / "one" / "weights").stat().st_blocks == (tmp_path / "two" / "weights").stat().st_blocks


def test_a_damaged_cache_is_mended(published: Registry, tmp_path: Path) -> None:
    published.pull("pets@1", tmp_path / "one")
    for path in (tmp_path / "cache" / "blobs").rglob("*"):
        if path.is_file() and path.stat().st_size > MIB:
            path.chmod(0o644)
            path.write_bytes(b"x" * path.stat().st_size)
    shutil.rmtree(tmp_path / "one")

    assert (published.pull("pets@1", tmp_path / "two") / "weights").read_bytes() == b"w" * 5 * MIB


def test_a_pulled_folder_that_was_changed_is_made_whole_again(published: Registry, tmp_path: Path) -> None:
    target = published.pull("pets@1", tmp_path / "out")
    (target / "own" / "n.txt").unlink()

    published.pull("pets@1", tmp_path / "out")

    assert sorted(path.name for path in target.rglob("*")) == [".petmodels.json", "empty", "n.txt", "own", "weights"]


def test_a_file_that_lies_some_folders_deep_is_pulled(folder_registry: Registry, tmp_path: Path) -> None:
    folder_registry.publish(write_files(tmp_path / "bundle", {"a/b/c.txt": b"deep"}), "pets")

    target = folder_registry.pull("pets@1", tmp_path / "out")

    assert (target / "a/b/c.txt").read_bytes() == b"deep"


@pytest.mark.parametrize("spec", ["pets@1", "pets@2"])
def test_somebodys_own_file_in_a_pulled_folder_is_named_and_stays(
    published: Registry, tmp_path: Path, spec: str
) -> None:
    target = published.pull("pets@1", tmp_path / "out")
    (target / "own" / "note.txt").write_text("somebody's note")

    with pytest.raises(RequestError, match=r"no pull has put there would be lost; move it away: .*note\.txt$"):
        published.pull(spec, tmp_path / "out")

    assert (target / "own" / "note.txt").read_text() == "somebody's note"
    assert (target / "own" / "n.txt").exists()


@pytest.mark.parametrize("folder", [".", "..", "../here"])
def test_the_folder_that_one_is_in_is_not_pulled_into(
    published: Registry, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(RequestError, match=r"so it can't be one that you are in: \."):
        published.pull("pets@1", folder)

    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep a folder that somebody is in")
def test_from_a_folder_that_is_gone_one_can_pull_into_another(
    published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()

    assert published.pull("pets@1", tmp_path / "out").exists()


def test_nothing_is_fetched_for_a_mount_point(
    published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = counted(published)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "out")

    with pytest.raises(RequestError, match=r"this is a mount point; pull into a folder in it: .*/out/model$"):
        published.pull("pets@1", tmp_path / "out")
    assert storage.asked == []


def test_a_link_to_itself_is_not_pulled_into(published: Registry, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("out")

    with pytest.raises(RequestError, match="something else is there; choose a folder that is empty"):
        published.pull("pets@1", tmp_path / "out")


def test_two_pulls_change_places_in_one_step(
    published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the moment of the exchange, the folder is one of the two versions, whole."""
    target = published.pull("pets@1", tmp_path / "out")

    def killed(*_: object, **__: object) -> None:
        assert {path.name for path in target.iterdir()} >= {".petmodels.json", "weights"}

    monkeypatch.setattr(shutil, "rmtree", killed)
    published.pull("pets@2", target)

    assert json.loads(json.loads((target / ".petmodels.json").read_text())["payload"])["version"] == 2
    before = next(tmp_path.glob(".out.*.partial"))
    assert json.loads(json.loads((before / ".petmodels.json").read_text())["payload"])["version"] == 1


def test_a_warm_pull_asks_once_for_an_alias_and_never_for_a_version(
    proxy: Proxy, s3_address: str, bundle: Path, tmp_path: Path
) -> None:
    registry = Registry(s3_address)
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")
    for spec in ("pets@1", "pets@production"):
        registry.load(spec)
        registry.pull(spec)

    def num_requests(spec: str) -> int:
        proxy.requests.clear()
        registry.load(spec)
        once = len(proxy.requests)
        registry.pull(spec)
        assert len(proxy.requests) == 2 * once
        return once

    assert (num_requests("pets@1"), num_requests("pets@production")) == (0, 1)


@pytest.mark.slow
def test_offline_what_is_here_is_served_with_a_notice(
    proxy: Proxy, s3_address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Registry(s3_address).publish(bundle, "pets")
    Registry(s3_address).promote("pets@1", "production")
    petmodels.load("pets@production", registry=s3_address)
    proxy.faults.append(Fault(reset="before", times=FOREVER))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    told: list[str] = []

    model = petmodels.load("pets@production", registry=s3_address, notice=told.append)

    assert model.name == "pets@1"
    assert len(told) == 1
    assert told[0].startswith("offline: pets@production is pets@1 as confirmed 0 hours ago (")
    assert petmodels.load("pets@1", registry=s3_address, notice=told.append).version == 1
    assert len(told) == 1
    with pytest.raises(UnreachableError, match="did not answer"):
        petmodels.load("pets@staging", registry=s3_address)


@pytest.mark.slow
def test_a_remembered_alias_says_when_it_was_confirmed(
    proxy: Proxy, s3_address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(s3_address, notice=lambda _line: time.sleep(2))  # whoever is told may take their time
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")
    assert registry.resolve("pets@production").confirmed_at is None
    history = registry.memory.folder / "pets/aliases/production.jsonl"
    os.utime(history, (1_700_000_000, 1_700_000_000))
    proxy.faults.append(Fault(reset="before", times=FOREVER))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    assert registry.resolve("pets@production").confirmed_at in {"2023-11-14T22:13:20Z", "2023-11-14T22:13:19Z"}
    assert registry.resolve("pets@1").confirmed_at is None


@pytest.mark.slow
def test_offline_the_newest_is_not_guessed(
    proxy: Proxy, s3_address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may have published a newer one: an alias is moved by a person, the newest by nobody."""
    Registry(s3_address).publish(bundle, "pets")
    petmodels.load("pets", registry=s3_address)
    proxy.faults.append(Fault(reset="before", times=FOREVER))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    for spec in ("pets", "pets@latest"):
        with pytest.raises(
            UnreachableError, match=r"did not answer .*; offline the newest version isn't guessed: pets@1"
        ):
            petmodels.load(spec, registry=s3_address)
    with pytest.raises(
        UnreachableError, match=r"did not answer \(connection closed\); try again later: list the registry$"
    ):
        petmodels.load("others", registry=s3_address)


@pytest.mark.slow
def test_offline_no_version_is_named_that_was_withdrawn(
    proxy: Proxy, s3_address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(s3_address)
    for tag in ("older", "newer"):
        registry.publish(make_bundle(bundle, tag=tag), "pets")
    registry.withdraw("pets@2", "asked for", is_dry=False)
    registry.load("pets")
    proxy.faults.append(Fault(reset="before", times=FOREVER))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(UnreachableError, match=r"offline the newest version isn't guessed: pets@1$"):
        registry.load("pets")


@pytest.mark.slow
def test_offline_an_alias_that_was_long_not_confirmed_is_called_stale(
    proxy: Proxy, s3_address: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(s3_address)
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")
    registry.load("pets@production")
    seen = next((tmp_path / "cache" / "seen").rglob("production.jsonl"))
    os.utime(seen, (seen.stat().st_atime, seen.stat().st_mtime - 9 * 86_400))
    proxy.faults.append(Fault(reset="before", times=FOREVER))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    told: list[str] = []

    petmodels.load("pets@production", registry=s3_address, notice=told.append)

    assert told[0].startswith("stale offline: pets@production is pets@1 as confirmed 9 days ago (")
    assert told[0].endswith("; that is more than 7 days, it may have moved since")


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["pets@1", "pets@production"])
def test_sixteen_processes_share_one_cache(s3_address: str, tmp_path: Path, spec: str) -> None:
    registry = Registry(s3_address)
    files = {f"{number}.bin": os.urandom(100_000) for number in range(10)}
    registry.publish(write_files(tmp_path / "b", files), "pets")
    registry.promote("pets@1", "production")

    shared = {"address": s3_address, "cache": tmp_path / "shared", "spec": spec}
    own = race("pull", 16, target=tmp_path / "own" / "{number}", **shared)
    one = race("pull", 16, target=tmp_path / "one", **shared)

    assert own == [str(tmp_path / "own" / str(number)) for number in range(16)]
    assert set(one) == {str(tmp_path / "one")}
    for folder in [tmp_path / "one", *(tmp_path / "own").iterdir()]:
        assert {path.name: path.read_bytes() for path in folder.glob("*.bin")} == files
    assert leftovers(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0, 1, 3])
def test_a_killed_pull_leaves_nothing_and_the_next_one_goes_on(
    proxy: Proxy, s3_address: str, tmp_path: Path, moment: int
) -> None:
    registry = Registry(s3_address)
    files = {f"{number}.bin": os.urandom(3 * MIB) for number in range(3)}
    registry.publish(write_files(tmp_path / "b", files), "pets")
    proxy.faults.append(Fault(method="GET", part="/blobs/", skip=moment, stall_seconds=60, times=FOREVER))
    command = [sys.executable, "-m", "petmodels", "pull", "pets@1", str(tmp_path / "out"), "--registry", s3_address]
    proxy.requests.clear()

    with subprocess.Popen(command, cwd=ROOT) as process:
        while len([path for _, path, _ in proxy.requests if "/blobs/" in path]) < min(moment + 1, 3):
            assert process.poll() is None
            if moment == 3 and (tmp_path / "out").exists():
                break
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists() or moment == 3

    proxy.faults.clear()
    target = registry.pull("pets@1", tmp_path / "out")

    assert {path.name: path.read_bytes() for path in target.glob("*.bin")} == files
    assert leftovers(tmp_path) == []


def test_too_little_space_is_said_before_anything_is_fetched(
    published: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    storage = counted(published)

    with pytest.raises(MachineError, match=r"bytes are to be downloaded and 1000 are free on this disk: "):
        published.pull("pets@1", tmp_path / "out")
    assert storage.asked == []


def _can_mount() -> bool:
    command = ["unshare", "--user", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("full", ["cache", "target"])
def test_a_disk_that_runs_full_leaves_nothing_behind(published: Registry, tmp_path: Path, full: str) -> None:
    if not _can_mount():
        pytest.skip("no right to mount a small disk")
    (tmp_path / "disk").mkdir()
    target = tmp_path / ("disk" if full == "target" else "") / "out"
    cache = tmp_path / ("disk" if full == "cache" else "") / "cache"
    script = f"""
import shutil
from petmodels import fetch, errors, Registry
fetch._check_space = lambda *_: None  # others fill the disk after we looked
try:
    Registry({str(tmp_path / "registry")!r}, cache=fetch.Path({str(cache)!r})).pull("pets@1", {str(target)!r})
except errors.MachineError as error:
    print(error)
print(sorted(str(path) for path in fetch.Path({str(tmp_path / "disk")!r}).rglob("*") if path.stat().st_size > 1000))
"""
    mount = f'mount -t tmpfs -o size=2m none {tmp_path / "disk"} && exec {quote(sys.executable)} -c "$0"'
    command = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", mount, script]

    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)

    line, left = done.stdout.splitlines()
    assert line.startswith("no space left; free some, or choose another disk with PETMODELS_CACHE: ")
    assert left == "[]"


def test_a_cache_that_may_not_be_written_is_one_line(published: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(MachineError, match=r"this can't be used \(Not a directory\); .* set PETMODELS_CACHE: .*file"):
        Registry(tmp_path / "registry", cache=tmp_path / "file").pull("pets@1", tmp_path / "out")


def test_load_fetches_only_what_predicting_needs(folder_registry: Registry, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "learner.pkl").write_bytes(b"never asked for")
    folder_registry.publish(bundle, "pets")

    model = folder_registry.load("pets@1")

    assert "learner.pkl" not in model.files
    assert set(model.files) >= {"model.onnx", "labels.json", "preprocess.json", "self_test.json"}
