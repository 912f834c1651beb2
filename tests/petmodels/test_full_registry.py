"""A registry on a disk that is full, or may only be read: one line, what is there stays whole, nothing is left over."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from petmodels.registry import Registry
from tests.disks import small_disk
from tests.petmodels.bundles import write_files
from tests.petmodels.commands import Command

FULL = "petmodels: no space left in the registry's folder; free some and run again: "
LARGE = os.urandom(60_000)
WRITING = [
    "publish ../second --model pets",
    "promote pets@1 staging",
    "prune pets --keep 1 --yes",
    "repair pets@1 ./backup",
]


@pytest.fixture
def disk(run: Command, tmp_path: Path) -> Iterator[Path]:
    """A small disk with the registry: one version, in production; a copy of it is elsewhere, in `backup`."""
    with small_disk(tmp_path / "registry", 400) as folder:
        run("publish", write_files(tmp_path / "first", {"a": LARGE, "b": b"first"}), "--model", "pets")
        run("promote", "pets@1", "production")
        run("copy", "pets@1", "./backup")
        write_files(tmp_path / "second", {"a": LARGE[::-1], "b": b"second"})
        yield folder


def fill(disk: Path, *, but_bytes: int = 0) -> None:
    with (disk / ".filler").open("wb", buffering=0) as file:
        file.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - but_bytes))


def files(disk: Path) -> dict[str, bytes]:
    found = (path for path in disk.rglob("*") if path.is_file() and path.name != ".filler")
    return {path.relative_to(disk).as_posix(): path.read_bytes() for path in found}


def lose_the_large_file(disk: Path) -> None:
    max((disk / "pets/blobs").iterdir(), key=lambda path: path.stat().st_size).unlink()


@pytest.mark.parametrize("command", WRITING)
def test_a_full_disk_is_one_line_and_changes_nothing(run: Command, disk: Path, command: str) -> None:
    if command.startswith("repair"):
        lose_the_large_file(disk)
    before = files(disk)
    fill(disk)

    done = run(*command.split())

    assert (done.code, done.talk) == (9, [f"{FULL}{disk}"])
    assert files(disk) == before
    (disk / ".filler").unlink()
    assert run(*command.split()).code == 0
    assert run("verify", "--all").code == 0


def test_a_disk_that_runs_full_in_the_middle_keeps_no_half_of_a_version(run: Command, disk: Path) -> None:
    before = files(disk)
    fill(disk, but_bytes=32_768)

    done = run("publish", "../second", "--model", "pets")

    assert (done.code, done.talk) == (9, [f"{FULL}{disk}"])
    assert before.items() <= files(disk).items()
    new = {path for path in files(disk) if path not in before}
    assert all(path.startswith("pets/blobs/") for path in new)
    assert Registry(disk).versions("pets") == [1]


def test_a_repair_that_finds_the_disk_full_in_the_middle_is_run_again(run: Command, disk: Path) -> None:
    lose_the_large_file(disk)
    fill(disk, but_bytes=32_768)

    done = run("repair", "pets@1", "./backup")

    assert (done.code, done.talk) == (9, [f"{FULL}{disk}"])
    assert run("verify", "pets@1").data[0] == "pets@1/a: its bytes are gone"
    (disk / ".filler").unlink()
    assert run("repair", "pets@1", "./backup").data[-1] == "pets@1: 1 repaired"
    assert run("verify", "pets@1").code == 0


@pytest.mark.parametrize("command", WRITING)
def test_a_disk_that_may_only_be_read_is_one_line(run: Command, disk: Path, command: str) -> None:
    before = files(disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    done = run(*command.split())

    assert (done.code, done.talk) == (4, [f"petmodels: not allowed to write in the registry's folder: {disk}"])
    assert run("history", "pets").code == 0
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert files(disk) == before


def test_doctor_tries_to_write(run: Command, disk: Path) -> None:
    def answer() -> tuple[int, str]:
        done = run("doctor", "--json")
        return done.code, next(row["answer"] for row in done.json if "written" in row["question"])

    assert answer() == (0, "yes")
    before = files(disk)
    fill(disk)
    assert answer() == (9, "no")
    (disk / ".filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert answer() == (0, "not allowed")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert files(disk) == before
