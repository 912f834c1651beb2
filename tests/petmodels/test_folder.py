"""A registry's folder in which somebody else writes, too: what a link in it names is not read, written or removed."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from petmodels.errors import ChecksumError
from petmodels.folder import FolderStorage
from petmodels.hashing import digest_of, no_progress
from petmodels.storage import Unfinished
from tests.petmodels.bundles import write_files

KEY = "a/b/secret"
PARTIAL = f"a/b/.secret.{'0' * 16}.partial"
DEEDS: dict[str, Callable[[FolderStorage, Path], Any]] = {
    "read": lambda storage, _: storage.read(KEY, 10),
    "find": lambda storage, _: storage.find(KEY),
    "download": lambda storage, _: list(storage.download(KEY, 0, 10)),
    "list": lambda storage, _: list(storage.list("a/b/")),
    "folders": lambda storage, _: list(storage.folders("a/b/")),
    "delete": lambda storage, _: storage.delete(KEY),
    "create": lambda storage, _: storage.create("a/b/new", b"new"),
    "replace": lambda storage, _: storage.replace(KEY, b"new", "any"),
    "upload": lambda storage, new: storage.upload("a/b/new", new, digest_of(new), no_progress),
    "upload below": lambda storage, new: storage.upload("a/b/c/new", new, digest_of(new), no_progress),
    "unfinished": lambda storage, _: list(storage.unfinished("a/b/")),
    "discard": lambda storage, _: storage.discard(Unfinished(KEY, PARTIAL, None)),  # type: ignore[arg-type]
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a folder of somebody's outside the registry, with files named like the registry's."""
    names = [Path(key).name for key in (KEY, PARTIAL)]
    return write_files(tmp_path / "victim", dict.fromkeys([*names, "b/secret", f"b/{names[1]}"], b"private"))


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def swap(folder: Path, victim: Path) -> None:
    folder.rename(folder.with_name("moved away"))
    folder.symlink_to(victim)


@pytest.mark.parametrize("swapped", ["a/b", "a"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_link_in_a_folders_place_is_refused_and_what_it_names_untouched(
    deed: str, swapped: str, victim: Path, tmp_path: Path
) -> None:
    root = write_files(tmp_path / "registry", {KEY: b"published", PARTIAL: b"half"})
    new = write_files(tmp_path, {"new": b"new"}) / "new"
    swap(root / swapped, victim)
    before = content_of(victim)

    with pytest.raises(ChecksumError, match=f"holds a symbolic link instead of a folder: {root}/{swapped}$"):
        DEEDS[deed](FolderStorage(root), new)
    assert content_of(victim) == before


def test_a_folder_that_is_swapped_in_the_instant_of_a_deletion_costs_the_registrys_file(
    victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files(tmp_path / "registry", {KEY: b"published"})
    before, unlink = content_of(victim), os.unlink

    def unlink_late(*path: Any, **more: Any) -> None:
        swap(root / "a/b", victim)
        unlink(*path, **more)

    monkeypatch.setattr(os, "unlink", unlink_late)
    FolderStorage(root).delete(KEY)

    assert content_of(victim) == before
    assert content_of(root / "a/moved away") == {}


@pytest.mark.parametrize(("call", "deed"), [("replace", "upload"), ("link", "create")])
def test_a_folder_that_is_swapped_in_the_instant_of_a_writing_gets_the_file(
    call: str, deed: str, victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files(tmp_path / "registry", {KEY: b"published"})
    new = write_files(tmp_path, {"new": b"new"}) / "new"
    before, called = content_of(victim), getattr(os, call)

    def called_late(*paths: Any, **more: Any) -> None:
        swap(root / "a/b", victim)
        called(*paths, **more)

    monkeypatch.setattr(os, call, called_late)
    DEEDS[deed](FolderStorage(root), new)

    assert content_of(victim) == before
    assert (root / "a/moved away/new").read_bytes() == b"new"


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/.lock").symlink_to(tmp_path / "made")

    with pytest.raises(ChecksumError, match=r"holds a symbolic link instead of a file: .*/registry/\.lock$"):
        FolderStorage(tmp_path / "registry").create("a/new", b"new")
    assert not (tmp_path / "made").exists()


def test_a_registrys_folder_may_itself_lie_behind_links(tmp_path: Path) -> None:
    (tmp_path / "disk/registry").mkdir(parents=True)
    (tmp_path / "mounted").symlink_to(tmp_path / "disk")
    (tmp_path / "mounted/named").symlink_to(tmp_path / "disk/registry")
    storage = FolderStorage(tmp_path / "mounted/named")

    storage.create("a/b/new", b"new")

    assert storage.read("a/b/new", 10)[0] == b"new"
    assert [stored.key for stored in storage.list("a/b/")] == ["a/b/new"]
    assert list(storage.folders("a/")) == ["b"]


def test_what_a_killed_writer_left_is_found_at_any_depth_and_removed(tmp_path: Path) -> None:
    root = write_files(tmp_path / "registry", {PARTIAL: b"half", KEY: b"published"})
    storage = FolderStorage(root)

    (found,) = storage.unfinished("a/")
    storage.discard(found)

    assert (found.key, found.id) == (KEY, PARTIAL)
    assert content_of(root) == {root / KEY: b"published"}


LEASED = """
import fcntl, os, signal, sys, time

def given_back(*_):
    time.sleep(0.3)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

signal.signal(signal.SIGIO, given_back)
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
time.sleep(30)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_file_on_which_a_server_has_a_lease_is_waited_for(tmp_path: Path) -> None:
    write_files(tmp_path / "registry", {KEY: b"published"})
    command = [sys.executable, "-c", LEASED, str(tmp_path / "registry" / KEY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            if server.stdout.readline() != "held\n":
                pytest.skip("this disk has no leases")

            assert FolderStorage(tmp_path / "registry").read(KEY, 10)[0] == b"published"
        finally:
            server.kill()


def test_what_this_machine_does_not_see_yet_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk on the network a file is there for a while before each machine knows of it."""
    storage = FolderStorage(write_files(tmp_path / "registry", {KEY: b"another machine's"}))
    monkeypatch.setattr(storage, "find", lambda _key: None)

    assert not storage.create(KEY, b"ours")

    assert storage.read(KEY, 100)[0] == b"another machine's"
    assert list(storage.unfinished("a/b/")) == []


def test_where_a_file_can_have_no_two_names_it_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", no_link)
    storage = FolderStorage(tmp_path / "registry")

    assert storage.create(KEY, b"ours")

    assert storage.read(KEY, 10)[0] == b"ours"


@pytest.mark.slow
def test_folders_of_any_depth_hide_no_model(tmp_path: Path) -> None:
    root = write_files(tmp_path / "registry", {"model/versions/1": b"one", "other/versions/1": b"one"})
    deep = os.open(root / "model", os.O_RDONLY)
    for _ in range(1500):  # of more than a path may have letters
        os.mkdir("d", dir_fd=deep)
        deep, above = os.open("d", os.O_RDONLY, dir_fd=deep), deep
        os.close(above)
    os.close(deep)

    storage = FolderStorage(root)

    assert list(storage.folders("")) == ["model", "other"]
    assert list(storage.unfinished("")) == []
    subprocess.run(["rm", "-rf", root], check=True)  # pytest's own removal goes as deep as Python may


def test_a_pipe_is_no_file_of_a_registry(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    os.mkfifo(tmp_path / "registry/pipe")
    storage = FolderStorage(tmp_path / "registry")
    writer = os.open(tmp_path / "registry/pipe", os.O_RDWR)
    try:
        for deed in (lambda: storage.read("pipe", 10), lambda: list(storage.download("pipe", 0, 10))):
            with pytest.raises(ChecksumError, match="the registry holds what is no file: /"):
                deed()
    finally:
        os.close(writer)


def test_a_time_that_no_date_can_say_is_the_last_one(tmp_path: Path) -> None:
    storage = FolderStorage(write_files(tmp_path / "registry", {KEY: b"published"}))
    path = tmp_path / "registry" / KEY
    os.utime(path, (4e11, 4e11))
    if path.stat().st_mtime < 4e11:
        pytest.skip("this disk keeps no such times")

    found = storage.find(KEY)

    assert found
    assert found.modified.year == 9999
