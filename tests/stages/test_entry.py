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

from stages.entry import NAMES, run
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
