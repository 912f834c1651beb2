"""One process at a time in one place, and work that goes on where the disk has no locks."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.errors import ResourceError
from stages.locks import alone, held
from stages.outputs import new_folder

ROOT = Path(__file__).parents[2]


def test_a_folder_is_held_until_the_block_ends(tmp_path: Path) -> None:
    with held(tmp_path) as first, held(tmp_path) as second:
        pass
    with held(tmp_path) as third:
        pass

    assert (first, second, third) == (True, False, True)


def test_who_is_not_alone_is_told_of_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"

    with (
        alone(folder, "another training"),
        pytest.raises(ResourceError, match=r"another training writes here; wait for it, or end it: .*/checkpoints"),
        alone(folder, "another training", patience_seconds=0),
    ):
        pass


def test_what_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    """Such as the processes that load images for a training that was killed: they have its lock."""
    script = "import sys, time\nfrom pathlib import Path\nfrom stages.locks import alone\n"
    script += "with alone(Path(sys.argv[1]), 'x'):\n    print('held', flush=True)\n    time.sleep(1)"
    command = [sys.executable, "-c", script, str(tmp_path / "checkpoints")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout
        other.stdout.readline()

        with alone(tmp_path / "checkpoints", "another training", patience_seconds=60):
            pass

        assert other.wait(60) == 0


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `flock` do as on NFS, which holds for writing only what is open for writing."""
    here = fcntl.flock

    def flock(handle: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        here(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("nfs")
def test_a_stage_writes_where_folders_have_no_locks_and_leaves_what_may_be_another_runs(tmp_path: Path) -> None:
    young, old = tmp_path / ".out.young.partial", tmp_path / ".out.old.partial"
    young.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))

    with new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("kept")

    assert sorted(path.name for path in tmp_path.glob("*out*")) == [".out.young.partial", "out"]


@pytest.mark.usefixtures("nfs")
def test_two_trainings_are_kept_apart_where_folders_have_no_locks(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "checkpoints", "another training"),
        pytest.raises(ResourceError, match="another training writes here"),
        alone(tmp_path / "checkpoints", "another training", patience_seconds=0),
    ):
        pass


def test_any_other_failure_of_a_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_handle: int, _operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(OSError, match="Input/output error"), held(tmp_path):
        pass
