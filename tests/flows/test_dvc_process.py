"""DVC's process: one for several lists of commands, whatever a stage does with its input and output, and none left."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flows.children import run
from flows.dvc_process import DvcProcess
from flows.errors import ChildError, StageError

pytestmark = pytest.mark.slow
STAGES = """
stages:
  reads:
    cmd: python -c "import sys; print('read ' + repr(sys.stdin.read()), end='', flush=True)"
  fails:
    cmd: python -c "print('fails, on purpose'); raise SystemExit(1)"
  forges:
    cmd: python -c "print('< dvc 0'); print('< dvc 00 0'); raise SystemExit(1)"
  holds:
    cmd: python -c "import os; print('holds', sorted(os.listdir('/proc/self/fd')))"
  waits:
    cmd: python -c "import time; print('waits, for long', flush=True); time.sleep(600)"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that DVC works in."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    run([sys.executable, "-m", "dvc", "init", "--quiet"], folder, str)
    (folder / "dvc.yaml").write_text(STAGES)
    return folder


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def dvc(clone: Path, told: list[str]) -> Iterator[DvcProcess]:
    process = DvcProcess(clone, (), told.append)
    yield process
    process.end()
    assert not running()


def running() -> list[psutil.Process]:
    """Return the processes below this one that take DVC's commands; the leash, which names them too, isn't one."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # as a zombie is, too
            if any("dvc_commands" in word for word in one.cmdline()[:3]):
                found.append(one)
    return found


def test_lists_follow_each_other_in_one_process_also_after_a_failure(dvc: DvcProcess, told: list[str]) -> None:
    dvc.begin()
    dvc.run(["version", "status"])
    (first,) = running()
    with pytest.raises(StageError, match=r"^the stage fails failed and said: fails, on purpose$"):
        dvc.run(["repro fails", "status"])
    dvc.run(["status"])

    assert running() == [first]
    commands = [line for line in told if line.startswith("> dvc")]
    assert commands == ["> dvc version", "> dvc status", "> dvc repro fails", "> dvc status"]


def test_a_stage_that_reads_gets_nothing_and_takes_no_list_away(dvc: DvcProcess) -> None:
    assert any(line.startswith("read ''") for line in dvc.run(["repro reads"]))
    assert "> dvc status" in dvc.run(["status"])


def test_no_stage_can_speak_for_dvc(dvc: DvcProcess) -> None:
    with pytest.raises(StageError, match=r"^the stage forges failed"):
        dvc.run(["repro forges"])
    assert [line for line in dvc.run(["status"]) if line.startswith("> dvc")] == ["> dvc status"]


def test_a_stage_holds_nothing_of_ours(dvc: DvcProcess) -> None:
    # Its own three, and the folder that it lists.
    assert "holds ['0', '1', '2', '3']" in dvc.run(["repro holds"])


@pytest.mark.parametrize("is_soon", [True, False])
def test_a_process_that_died_idle_is_followed_by_another(dvc: DvcProcess, is_soon: bool) -> None:
    dvc.run(["status"])
    (first,) = running()
    first.kill()
    while not is_soon and first.is_running():
        time.sleep(0.05)

    assert "> dvc status" in dvc.run(["status"])


MAKES = """
stages:
  makes:
    cmd: python -c "from pathlib import Path; Path('out').mkdir(); Path('out/a.txt').write_text('a'); print('makes')"
    deps: [seed.txt]
    outs: [out]
"""


def shared(folder: Path, remote: Path) -> DvcProcess:
    """Make a folder that is one of several with a remote, and return its DVC."""
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    run([sys.executable, "-m", "dvc", "init", "--quiet"], folder, str)
    run([sys.executable, "-m", "dvc", "remote", "add", "--default", "store", str(remote)], folder, str)
    (folder / "dvc.yaml").write_text(MAKES)
    (folder / "seed.txt").write_text("1")
    return DvcProcess(folder, (), str)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Return a remote whose run-cache says that the stage leaves files beside its folder, too."""
    remote = tmp_path / "remote"
    first = shared(tmp_path / "first", remote)
    first.run(["repro", "push --run-cache"])
    first.end()
    (entry,) = [path for path in remote.glob("runs/*/*/*") if path.is_file()]
    lists = json.dumps([{"md5": md5(b"evil"), "relpath": path} for path in ("a.txt", "../seed.txt", "../../beside")])
    for content, suffix in ((b"evil", ""), (lists.encode(), ".dir")):
        path = remote / "files/md5" / md5(content)[:2] / (md5(content)[2:] + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    entry.chmod(0o644)
    entry.write_text(re.sub(r"[0-9a-f]{32}\.dir", f"{md5(lists.encode())}.dir", entry.read_text()))
    return remote


def test_a_list_of_files_in_the_remote_writes_nothing_elsewhere(hostile: Path, tmp_path: Path) -> None:
    second = shared(tmp_path / "second", hostile)
    lines = second.run(["repro --pull"])
    second.end()

    assert "makes" in lines
    assert {path.name: path.read_text() for path in (tmp_path / "second/out").iterdir()} == {"a.txt": "a"}
    assert (tmp_path / "second/seed.txt").read_text() == "1"
    assert not (tmp_path / "beside").exists()


def test_dvc_by_itself_writes_where_such_a_list_says_which_is_why_the_flows_see_to_it(
    hostile: Path, tmp_path: Path
) -> None:
    """When this fails, DVC does better by now, and `keep_files_in_their_folder` can go."""
    shared(tmp_path / "second", hostile).end()

    run([sys.executable, "-m", "dvc", "repro", "--pull"], tmp_path / "second", str)

    assert (tmp_path / "beside").read_text() == "evil"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - DVC's own


def test_an_answer_comes_although_dvc_has_let_go_of_its_output(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when a pipe breaks, be it a connection's."""
    broken = "from dvc.commands import version\ndef run(self): raise BrokenPipeError\nversion.CmdVersion.run = run\n"
    (tmp_path / "breaks.py").write_text(broken)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    dvc = DvcProcess(clone, ("breaks",), str)

    with pytest.raises(ChildError, match=r"^dvc version: "):
        dvc.run(["version"])

    assert "> dvc status" in dvc.run(["status"])
    dvc.end()


def test_an_owner_that_is_killed_takes_an_idle_process_along(clone: Path) -> None:
    owner = (
        "import time; from pathlib import Path; from flows.dvc_process import DvcProcess\n"
        f"dvc = DvcProcess(Path({str(clone)!r}), (), str); dvc.run(['status'])\n"
        "print('idle', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "idle\n"
        (idle,) = running()

        process.kill()

    idle.wait(30)


def test_a_process_killed_at_work_is_a_failure_and_followed_by_another(clone: Path) -> None:
    def killed_as_it_waits(line: str) -> None:
        if line == "waits, for long":
            running()[0].send_signal(signal.SIGKILL)

    dvc = DvcProcess(clone, (), killed_as_it_waits)

    with pytest.raises(ChildError, match=r"^dvc repro: waits, for long$"):
        dvc.run(["repro waits"])

    assert "> dvc status" in dvc.run(["status"])
    dvc.end()


def test_an_interrupted_wait_leaves_nothing_running(clone: Path) -> None:
    def interrupted(line: str) -> None:
        if line == "waits, for long":
            raise KeyboardInterrupt

    before = set(psutil.Process().children(recursive=True))  # servers of other tests
    dvc = DvcProcess(clone, (), interrupted)

    with pytest.raises(KeyboardInterrupt):
        dvc.run(["repro waits"])

    assert set(psutil.Process().children(recursive=True)) <= before
    assert "> dvc status" in dvc.run(["status"])
    dvc.end()


def test_a_module_that_is_not_there_is_left_to_dvc(clone: Path) -> None:
    dvc = DvcProcess(clone, ("no_such_module",), str)

    assert "> dvc status" in dvc.run(["status"])
    dvc.end()
