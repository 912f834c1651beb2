"""A stage as a program: what it takes, and one line with an exit status for whatever stops it."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.download import DownloadParams, download
from stages.entry import NAMES, OUTPUTS, run
from stages.errors import NO_THREADS, DataError
from stages.params import section
from tests.stages.settings import NO_CORRECTIONS, params_yaml

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("no images: here"), 1, "split: no images: here\n"),
        (KeyboardInterrupt(), 130, "split: interrupted; nothing half-written; go on with: dvc repro\n"),
        (OSError(errno.ENOSPC, "", "a/b"), 1, "split: no space left; free some and run again: a/b\n"),
        (OSError(errno.ENOSPC, ""), 1, "split: no space left; free some and run again: the disk\n"),
        (MemoryError(), 1, f"split: {LACK}\n"),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for 12 bytes"), 1, f"split: {LACK}\n"),
        (RuntimeError("can't start new thread"), 1, f"split: {NO_THREADS}\n"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 1, f"split: {NO_THREADS}\n"),
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
        "no thread",
        "no process",
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


def test_a_stage_that_begins_no_threads_is_not_refused_where_there_are_none(
    stopped_by: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)

    assert stopped_by(DataError("it worked")) == (1, "split: it worked\n")


@pytest.mark.slow
def test_numpy_begins_as_many_threads_as_a_stage_has_cores() -> None:
    script = """
import os, sys
from pathlib import Path
from stages.entry import run
def split(params: object, *, out: Path) -> None:
    assert "numpy" not in sys.modules
    import numpy
    print(os.environ["OPENBLAS_NUM_THREADS"], len(os.listdir("/proc/self/task")))
run(split, ["--out", "here"])
"""
    setting = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    setting |= {"LOKY_MAX_CPU_COUNT": "1", "PYTHONPATH": str(ROOT)}

    said = subprocess.run([sys.executable, "-c", script], env=setting, check=True, capture_output=True, text=True)

    assert said.stdout.split() == ["1", "1"]


@pytest.mark.parametrize("stage", [*NAMES, "screen"])
def test_a_stages_module_leaves_numpy_for_later(stage: str) -> None:
    script = f"import sys, stages.{stage}, stages.entry; print('numpy' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)

    assert said.stdout == "False\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EBADF, "a bug")])
def test_a_bug_shows_its_traceback(error: Exception) -> None:
    def split(params: Any, *, out: Path) -> None:
        raise error

    with pytest.raises(type(error), match="a bug"):
        run(split, ["--out", "here"])


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("data", "--out holds --prepared (HERE/data/prepared); name a folder of its own: data"),
        ("data/prepared", "--out holds --prepared (HERE/data/prepared); name a folder of its"),
        ("link", "--out holds --prepared (HERE/data/prepared); name a folder of its own: link"),
        ("settings", "--out holds --params (HERE/settings/p.yaml); name a folder of its own: s"),
        (".", "--out holds --prepared (HERE/data/prepared); name a folder of its own: ."),
        ("", "--out holds --prepared (HERE/data/prepared); name a folder of its own: ."),
        ("/", "--out holds --prepared (HERE/data/prepared); name a folder of its own: /"),
        ("../elsewhere/../here", "--out holds --prepared"),
        ("settings/p.yaml", "--out holds --params (HERE/settings/p.yaml); name a folder of its"),
        ("notes.txt", "--out is a folder's place, and something else is there; name another one: notes.txt"),
        ("photos", "--out is replaced whole, and what is there is no output of split (it holds cat.jpg); move it "
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

    told = "split: --out holds the folder that you are in; name a folder of its own: ../../a\n"
    assert capsys.readouterr().err == told


SPLIT = sorted(OUTPUTS["split"].always)


@pytest.mark.parametrize(
    "there",
    [None, [], [".DS_Store", ".gitignore"], SPLIT, [*SPLIT, ".DS_Store"]],
    ids=["none", "an empty folder", "what others put anywhere", "an older output", "an older output, looked at"],
)
def test_an_older_output_an_empty_folder_or_none_may_be_replaced(tmp_path: Path, there: list[str] | None) -> None:
    if there is not None:
        write_empty(tmp_path / "out", there)

    assert worked("split", tmp_path / "out")


def test_an_older_output_whose_files_are_links_into_an_emptied_cache_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in SPLIT:
        (tmp_path / "out" / name).symlink_to("nowhere")

    assert worked("split", tmp_path / "out")


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (SPLIT[1:], "it lacks split.json"),
        ([*SPLIT, "notes.txt"], "it holds notes.txt"),
        ([".git"], "it holds .git"),
        ([*SPLIT, ".git"], "it holds .git"),
    ],
)
def test_a_folder_that_is_not_just_an_older_output_stays(
    tmp_path: Path, there: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_empty(tmp_path / "out", there)

    assert not worked("split", tmp_path / "out")

    assert f"what is there is no output of split ({told}); move it away" in capsys.readouterr().err


TRAIN = {"history.csv", "learner.pkl", "learning_rate.csv", "live", "metrics.json", "preprocess.json", "train.json",
         "weights.safetensors"}  # fmt: skip
FOLDERS = {name: sorted(left.always | left.sometimes) for name, left in OUTPUTS.items()} | {
    "train": sorted(TRAIN),
    "data": ["arrivals.csv", "corrections.csv"],
    "data in use": [
        "arrivals.csv",
        "corrections.csv",
        "bundle",
        "eval",
        "prepared",
        "raw",
        "split",
        "train",
        ".gitignore",
    ],
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("place", FOLDERS)
def test_a_stage_replaces_no_other_stages_output_and_not_the_datas_folder(
    tmp_path: Path, name: str, place: str
) -> None:
    write_empty(tmp_path / "out", FOLDERS[place])

    assert worked(name, tmp_path / "out") == (name == place)


def test_the_folder_of_the_projects_own_list_of_arrivals_is_replaced_by_no_stage(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("[!ac]*"))  # what runs left

    assert [name for name in OUTPUTS if worked(name, tmp_path / "data")] == []


def test_a_training_is_not_said_to_replace_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(params: Any, *, prepared: Path, out: Path) -> None:
        raise AssertionError("it worked")

    with pytest.raises(SystemExit, match="1"):
        run(train, ["--prepared", "data/prepared", "--out", "data"])

    place = tmp_path / "data/prepared"
    assert capsys.readouterr().err == f"train: --out holds --prepared ({place}); name a folder of its own: data\n"


def write_empty(folder: Path, names: list[str]) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).touch()


def worked(name: str, out: Path) -> bool:
    """Say whether a stage of this name gets to work with such an output."""
    seen: list[Path] = []

    def stage(params: Any, *, out: Path) -> None:
        seen.append(out)

    stage.__name__ = name
    with contextlib.suppress(SystemExit):
        run(stage, ["--out", str(out)])
    return seen == [out]


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    (tmp_path / "arrivals.csv").write_text("address,sha256,label,arrived\n", encoding="utf-8")
    (tmp_path / "corrections.csv").write_text(NO_CORRECTIONS, encoding="utf-8")
    lists = {name: tmp_path / f"{name}.csv" for name in ("arrivals", "corrections")}
    few = params_yaml(download={"source": "sample:images_per_breed=1,image_side=64"})
    (tmp_path / "params.yaml").write_text(few, encoding="utf-8")
    params = section(tmp_path / "params.yaml", "download", DownloadParams)
    download(params, **lists, cache=tmp_path / "cache", out=tmp_path / "raw")
    return tmp_path / "raw"


@pytest.mark.slow
def test_what_tells_an_older_output_is_what_the_first_stages_leave(sides: Path, downloaded: Path) -> None:
    found = {"download": downloaded, "prepare": sides / "prepared", "split": sides / "split"}

    # An older release left no list of corrections.
    newer = {"download": {"corrections.csv"}, "prepare": {"corrected.csv"}, "split": set()}
    assert {name: names_in(found[name]) - newer[name] for name in found} == {
        name: OUTPUTS[name].always for name in found
    }
    assert set(OUTPUTS) == set(NAMES) - {"train"}


@pytest.mark.slow
def test_what_tells_an_older_output_is_what_the_last_stages_leave(trained: Path, judged: Path, made: Path) -> None:
    assert names_in(trained) == TRAIN
    assert names_in(judged) == OUTPUTS["evaluate"].always | OUTPUTS["evaluate"].sometimes
    assert names_in(made) == OUTPUTS["export"].always | OUTPUTS["export"].sometimes


def test_a_new_stage_is_told_what_to_write_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_empty(tmp_path / "precious", ["thesis.txt"])

    assert not worked("calibrate", tmp_path / "precious")
    told = "calibrate: a stage that stages/entry.py doesn't know; write it into NAMES there: calibrate\n"
    assert capsys.readouterr().err == told

    monkeypatch.setattr("stages.entry.NAMES", (*NAMES, "calibrate"))
    assert not worked("calibrate", tmp_path / "precious")
    told = "write into OUTPUTS in stages/entry.py what the stage leaves; its --out is replaced: calibrate\n"
    assert capsys.readouterr().err == f"calibrate: {told}"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


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


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2> >(true)"], ids=["closed", "full", "nobody listens"])
@pytest.mark.parametrize(("last", "status"), [("print('done', file=sys.stderr)", 0), ("raise DataError('no')", 1)])
def test_talk_that_nobody_hears_changes_no_exit_status(stderr: str, last: str, status: int) -> None:
    code = f"""
import sys, time
from pathlib import Path
from stages.entry import run
from stages.errors import NO_THREADS, DataError
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


@pytest.mark.slow
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
