"""A stage as a program: what it takes, and one line with an exit status for whatever stops it."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.entry import MARKS, NAMES, run
from stages.errors import DataError
from tests.stages.settings import params_yaml

ROOT = Path(__file__).parents[2]
LACK = "out of memory; end what else runs here, or lower train.image_size or prepare.short_side"
Stopped = Callable[[BaseException], tuple[int, str]]


@pytest.fixture(autouse=True)
def in_a_folder_with_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def stopped_by(capsys: pytest.CaptureFixture[str]) -> Stopped:
    """Return a function that runs a stage which raises an error, and gives its exit status and what it said."""

    def stopped(error: BaseException) -> tuple[int, str]:
        def split(params: Any, *, out: Path) -> None:
            raise error

        with pytest.raises(SystemExit, match=r"\d") as caught:
            run(split, ["--out", "here"])
        return int(str(caught.value.code)), capsys.readouterr().err

    return stopped


def test_a_stage_gets_its_section_and_its_paths() -> None:
    seen: dict[str, Any] = {}

    def split(params: Any, *, some_folder: Path, out: Path) -> None:
        seen.update(seed=params.seed, some_folder=some_folder, out=out)

    run(split, ["--some-folder", "a/b", "--out", "c"])

    assert seen == {"seed": 42, "some_folder": Path("a/b"), "out": Path("c")}


def test_params_may_stand_in_another_file(tmp_path: Path) -> None:
    seen: list[int] = []

    def split(params: Any, *, out: Path) -> None:
        seen.append(params.seed)

    (tmp_path / "other.yaml").write_text(params_yaml(split={"seed": 7}), encoding="utf-8")
    run(split, ["--params", "other.yaml", "--out", "c"])

    assert seen == [7]


def test_a_program_that_is_no_stage_may_read_a_stages_section() -> None:
    seen: list[int] = []

    def screen(params: Any, *, out: Path) -> None:
        seen.append(params.seed)

    run(screen, ["--out", "c"], reads="split")

    assert seen == [42]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("no images: here"), 1, "split: no images: here\n"),
        (KeyboardInterrupt(), 130, "split: interrupted; nothing half-written; go on with: dvc repro\n"),
        (OSError(errno.ENOSPC, "", "a/b"), 1, "split: no space left; free some and run again: a/b\n"),
        (OSError(errno.ENOSPC, ""), 1, "split: no space left; free some and run again: the disk\n"),
        (MemoryError(), 1, f"split: {LACK}\n"),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for 12 bytes"), 1, f"split: {LACK}\n"),
        (OSError(errno.EACCES, "", "a"), 1, "split: not allowed to read or write; check its rights: a\n"),
        (
            FileNotFoundError(errno.ENOENT, "", "a"),
            1,
            "split: No such file or directory; run `dvc repro`, which makes what a stage reads: a\n",
        ),
        (OSError(errno.EIO, "", "a"), 1, "split: can't be read or written (Input/output error): a\n"),
        (
            OSError(errno.ENAMETOOLONG, "", "a" * 5000),
            1,
            f"split: can't be read or written (File name too long): {'a' * 200}\n",
        ),
    ],
    ids=[
        "data",
        "Ctrl-C",
        "full disk",
        "full disk without a name",
        "no memory",
        "none for ONNX",
        "no rights",
        "no file",
        "a broken disk",
        "a name too long",
    ],
)
def test_what_a_person_can_mend_costs_one_line(
    stopped_by: Stopped, error: BaseException, status: int, said: str
) -> None:
    assert stopped_by(error) == (status, said)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EBADF, "a bug")])
def test_a_bug_shows_its_traceback(error: Exception) -> None:
    def split(params: Any, *, out: Path) -> None:
        raise error

    with pytest.raises(type(error), match="a bug"):
        run(split, ["--out", "here"])


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("data", "--out is replaced whole and holds --prepared (HERE/data/prepared); name a folder of its own: data"),
        ("data/prepared", "--out is replaced whole and holds --prepared (HERE/data/prepared); name a folder of its"),
        ("link", "--out is replaced whole and holds --prepared (HERE/data/prepared); name a folder of its own: link"),
        ("settings", "--out is replaced whole and holds --params (HERE/settings/p.yaml); name a folder of its own: s"),
        (".", "--out is replaced whole and holds --prepared (HERE/data/prepared); name a folder of its own: ."),
        ("", "--out is replaced whole and holds --prepared (HERE/data/prepared); name a folder of its own: ."),
        ("/", "--out is replaced whole and holds --prepared (HERE/data/prepared); name a folder of its own: /"),
        ("../elsewhere/../here", "--out is replaced whole and holds --prepared"),
        ("settings/p.yaml", "--out is replaced whole and holds --params (HERE/settings/p.yaml); name a folder of its"),
        ("notes.txt", "--out is replaced by a folder, and something else is there; name another place: notes.txt"),
        ("photos", "--out is replaced whole, and what is there is no output of split (it holds no split.json); move it "
         "away or name another place: photos"),
    ],
)  # fmt: skip
def test_an_output_that_would_take_the_place_of_something_else_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str, told: str
) -> None:
    here = tmp_path / "here"
    for name in ("data/prepared/index.csv", "settings/p.yaml", "photos/cat.jpg", "notes.txt"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("kept")
    (here / "link").symlink_to("data/prepared")
    monkeypatch.chdir(here)

    def split(params: Any, *, prepared: Path, out: Path) -> None:
        raise AssertionError("it worked")

    with pytest.raises(SystemExit, match="1"):
        run(split, ["--prepared", "data/prepared", "--params", "settings/p.yaml", "--out", out])

    assert capsys.readouterr().err.startswith(f"split: {told.replace('HERE', str(here))}")


def test_the_folder_that_one_is_in_is_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")

    def split(params: Any, *, out: Path) -> None:
        raise AssertionError("it worked")

    with pytest.raises(SystemExit, match="1"):
        run(split, ["--params", "../../params.yaml", "--out", "../../a"])

    told = "split: --out is replaced whole and holds the folder that you are in; name a folder of its own: ../../a\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("there", ["", "out", "out/split.json"])
def test_an_older_output_an_empty_folder_or_none_may_be_replaced(tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.write_text("{}")
    seen: list[Path] = []

    def split(params: Any, *, out: Path) -> None:
        seen.append(out)

    run(split, ["--out", "out"])

    assert seen == [Path("out")]


def test_what_tells_an_older_output_is_what_the_stages_leave(sides: Path) -> None:
    assert (sides / "split" / MARKS["split"]).exists()
    assert (sides / "prepared" / MARKS["prepare"]).exists()
    assert set(MARKS) == set(NAMES) - {"train"}


def test_a_missing_path_is_told_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    def split(params: Any, *, out: Path) -> None:
        """Never run."""

    with pytest.raises(SystemExit, match="2"):
        run(split, [])

    assert "--out" in capsys.readouterr().err


def test_a_terminated_stage_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = """
import time
from pathlib import Path
from stages.entry import run
from stages.outputs import new_folder
def split(params, *, out: Path) -> None:
    with new_folder(out) as folder:
        (folder / "half").touch()
        print("ready", flush=True)
        time.sleep(60)
run(split)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--out", "out"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate()

    assert process.returncode == 143
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2> >(true)"], ids=["closed", "full", "nobody listens"])
@pytest.mark.parametrize(("last", "status"), [("print('done', file=sys.stderr)", 0), ("raise DataError('no')", 1)])
def test_talk_that_nobody_hears_changes_no_exit_status(stderr: str, last: str, status: int) -> None:
    code = f"""
import sys, time
from pathlib import Path
from stages.entry import run
from stages.errors import DataError
from stages.progress import counted
def split(params, *, out: Path) -> None:
    time.sleep(0.2)
    assert list(counted("ab", 2, "split")) == ["a", "b"]
    print("on the way", file=sys.stderr)
    {last}
run(split)
"""
    command = ["bash", "-c", f'"$@" {stderr}', "bash", sys.executable, "-c", code, "--out", "out"]

    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_stages_help_comes_without_its_libraries(name: str) -> None:
    heavy = "torch fastai timm pandas matplotlib sklearn torchvision scipy boto3"
    code = f"""
import contextlib, runpy, sys
sys.argv = ["stages.{name}", "--help"]
with contextlib.suppress(SystemExit):
    runpy.run_module("stages.{name}", run_name="__main__")
print([one for one in {heavy.split()!r} if one in sys.modules])
"""

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[0].startswith(f"usage: python -m stages.{name} ")
    assert done.stdout.splitlines()[-1] == "[]"
