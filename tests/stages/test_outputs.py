"""What a stage leaves is there whole or not at all."""

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
import torch

from stages.errors import ResourceError
from stages.outputs import new_file, new_folder, read_csv, write_csv, write_json
from tests.disks import small_disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "data/out") as folder:
        (folder / "a.txt").write_text("new", encoding="utf-8")
        assert not (tmp_path / "data/out").exists()

    assert names(tmp_path / "data") == ["out"]
    assert (tmp_path / "data/out/a.txt").read_text(encoding="utf-8") == "new"
    assert (tmp_path / "data/out").stat().st_mode & 0o777 == 0o755


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old.txt").touch()

    with new_folder(tmp_path / "out") as folder:
        (folder / "new.txt").touch()

    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new.txt"]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_block_leaves_the_old_folder(tmp_path: Path, interruption: type[BaseException]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old.txt").touch()

    with pytest.raises(interruption, match="stop"), new_folder(tmp_path / "out") as folder:
        _write_half(folder / "new.txt", interruption("stop"))

    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old.txt"]


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".out.abc.partial/deep").mkdir(parents=True)
    (tmp_path / ".other.abc.partial").mkdir()

    with new_folder(tmp_path / "out"):
        pass

    assert names(tmp_path) == [".other.abc.partial", "out"]


@pytest.mark.parametrize("goes_well", [True, False])
def test_an_output_that_a_kill_caught_out_of_its_place_comes_back(tmp_path: Path, goes_well: bool) -> None:
    (tmp_path / ".out.before.partial").mkdir()
    (tmp_path / ".out.before.partial/good.txt").touch()

    with suppress(ValueError), new_folder(tmp_path / "out") as folder:
        (folder / "new.txt").touch()
        if not goes_well:
            raise ValueError

    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new.txt" if goes_well else "good.txt"]


def test_an_output_whose_successor_can_not_take_its_place_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/good.txt").touch()
    rename = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if target.name == "out" and path.name != ".out.before.partial":
            raise PermissionError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(PermissionError, match="no"), new_folder(tmp_path / "out"):
        pass

    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["good.txt"]


def test_what_stood_there_when_the_new_output_came_is_not_brought_back(tmp_path: Path) -> None:
    for name in ("out/new.txt", ".out.before.partial/old.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()

    with suppress(ValueError), new_folder(tmp_path / "out"):
        raise ValueError

    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new.txt"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_new_folder_takes_the_place_of_a_file_or_a_link(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    if kind == "file":
        (tmp_path / "out").touch()
    else:
        (tmp_path / "out").symlink_to(tmp_path / "elsewhere")

    with new_folder(tmp_path / "out") as folder:
        (folder / "new.txt").touch()

    assert not (tmp_path / "out").is_symlink()
    assert names(tmp_path / "out") == ["new.txt"]
    assert names(tmp_path / "elsewhere") == []


def test_a_new_file_replaces_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")

    with new_file(tmp_path / "a.txt") as path:
        path.write_text("new", encoding="utf-8")
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"

    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new"


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")

    with pytest.raises(OSError, match="full"), new_file(tmp_path / "a.txt") as path:
        _write_half(path, OSError("full"))

    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_what_killed_runs_left_of_a_file_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, age_hours in ((".a.txt.1.partial", 25), (".a.txt.2.partial", 1), (".b.txt.1.partial", 25)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_hours * 3600,) * 2)

    with new_file(tmp_path / "a.txt") as path:
        path.touch()

    assert names(tmp_path) == [".a.txt.2.partial", ".b.txt.1.partial", "a.txt"]


def save_by_safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(100_000)}, path)


def save_by_torch(path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, path)


def save_by_torch_into_an_open_file(path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"a": torch.zeros(100_000)}, file)


@pytest.mark.parametrize(
    "save",
    [
        lambda path: path.write_bytes(bytes(400_000)),
        save_by_torch,
        save_by_torch_into_an_open_file,
        save_by_safetensors,
    ],
    ids=["Python", "torch", "torch into a file", "safetensors"],
)
@pytest.mark.parametrize("new", [new_file, new_folder])
def test_a_full_disk_is_told_alike_by_whatever_library_it_is_met(
    tmp_path: Path, new: Callable[[Path], AbstractContextManager[Path]], save: Callable[[Path], object]
) -> None:
    with small_disk(tmp_path / "disk", num_kib=64) as disk:
        told = r"^no space left; free some and run again: .*/disk/out$"
        with pytest.raises(ResourceError, match=told), new(disk / "out") as path:
            save(path / "file" if path.is_dir() else path)

        assert names(disk) == []


def test_a_full_disk_elsewhere_is_not_laid_to_the_output(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), new_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "no space", str(tmp_path / "elsewhere"))


def test_json_keeps_its_order_and_letters_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"z": "é", "a": [1, 2.5]})

    assert (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()[:2] == ["{", '  "z": "é",']
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "b.json", {"a": float("nan")})


def test_csv_lines_end_alike_on_every_system(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["a", "b"], [(1, 'said "no"'), ("x,y", None)])

    assert (tmp_path / "a.csv").read_bytes() == b'a,b\n1,"said ""no"""\n"x,y",\n'


def _write_half(path: Path, error: BaseException) -> None:
    path.write_text("ne", encoding="utf-8")
    raise error


def test_a_second_writer_is_refused_and_the_first_loses_nothing(tmp_path: Path) -> None:
    final = tmp_path / "out"

    with new_folder(final) as folder:
        (folder / "a").write_text("kept")
        with pytest.raises(ResourceError, match=r"another run is writing .*/out"), new_folder(final):
            pass

    assert [path.name for path in final.iterdir()] == ["a"]


def test_a_table_is_read_however_long_a_cell_is(tmp_path: Path) -> None:
    """One picture under thousands of names is one row of conflicts.csv."""
    write_csv(tmp_path / "a.csv", ["sources"], [["x" * 200_000]])

    assert [len(row["sources"]) for row in read_csv(tmp_path / "a.csv")] == [200_000]


@pytest.mark.parametrize(("mask", "folder_mode", "file_mode"), [(0o022, 0o755, 0o644), (0o007, 0o2770, 0o660)])
def test_what_is_left_has_the_rights_that_the_user_gives(
    tmp_path: Path, mask: int, folder_mode: int, file_mode: int
) -> None:
    """In a folder of a group's too, whose files are the group's."""
    tmp_path.chmod(folder_mode)
    before = os.umask(mask)
    try:
        with new_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("a")
        with new_file(tmp_path / "b") as path:
            path.touch(mode=0o600)  # as some libraries do
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == folder_mode
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == file_mode
