"""Whatever a person or the machine does to a stage costs one line with culprit and fix, and no good output.

Each test runs `python -m stages.<name>` as DVC does. The same mistakes in more detail are in the stages' own tests.
"""

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.entry import OUTPUTS
from tests.disks import small_disk
from tests.pictures import content, pet, write_source
from tests.servers import Answer, HttpServer, http_server
from tests.stages.conftest import ROOT, start_stage
from tests.stages.settings import NO_CORRECTIONS, params_yaml

Ended = tuple[int, list[str]]
MIB = 1 << 20
LISTS = {"arrivals": "arrivals.csv", "corrections": "corrections.csv"}
GOOD = {
    "raw": OUTPUTS["download"].always,
    "prepared": OUTPUTS["prepare"].always,
    "split": OUTPUTS["split"].always,
    "train": {"train.json"},
    "eval": OUTPUTS["evaluate"].always,
    "bundle": OUTPUTS["export"].always,
}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep proxies out, list no arrivals, and let each stage have a last good output."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "arrivals.csv").write_text("address,sha256,label,arrived\n")
    (tmp_path / "corrections.csv").write_text(NO_CORRECTIONS)
    for name, left in GOOD.items():
        (tmp_path / "last" / name).mkdir(parents=True)
        for good in left:
            (tmp_path / "last" / name / good).write_text("the last good output")


def ended(name: str, folder: Path, changes: dict[str, dict[str, Any]] | None = None, **paths: Path | str) -> Ended:
    """Run a stage to its end with its output below `last`; return its exit status and the lines that it said."""
    (folder / "params.yaml").write_text(params_yaml(**(changes or {})), encoding="utf-8")
    process = start_stage(name, folder, **paths)
    _, said = process.communicate(timeout=200)
    return process.returncode, said.splitlines()


def assert_nothing_was_lost(folder: Path, out: str) -> None:
    assert {path.name for path in (folder / "last" / out).iterdir()} == GOOD[out]
    assert sorted(path.name for path in (folder / "last").iterdir()) == sorted(GOOD)


# The source.


def archive(name: str = "pets/images/pug_1.jpg", *, image: bytes = b"") -> bytes:
    """Return a tar.gz with one member."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        header = tarfile.TarInfo(name)
        header.size = len(image)
        tar.addfile(header, io.BytesIO(image))
    return packed.getvalue()


NOISE = content(pet(0, 0, width=400, height=300), quality=95)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packed", "settings", "told"),
    [
        (archive(image=NOISE), {"checksum": f"md5:{'0' * 32}"}, "wrong checksum, md5:"),
        (archive(image=NOISE)[:-900], {}, "broken or truncated archive"),
        (archive("../out.jpg", image=NOISE), {}, "'../out.jpg'"),
        (archive(image=bytes(10**7)), {}, "download.max_ratio"),
        (archive(image=NOISE), {"max_bytes": 1000}, "download.max_bytes"),
    ],
    ids=["wrong checksum", "truncated", "climbing out", "bomb by ratio", "bomb by bytes"],
)
def test_a_source_that_must_not_be_opened_is_named(
    tmp_path: Path, packed: bytes, settings: dict[str, Any], told: str
) -> None:
    (tmp_path / "pets.tgz").write_bytes(packed)

    status, said = ended(
        "download",
        tmp_path,
        {"download": {"source": "pets.tgz"} | settings},
        **LISTS,
        cache="cache",
        out="last/raw",
    )

    assert (status, len(said)) == (1, 1), said
    assert said[0].startswith("download: ")
    assert told in said[0]
    assert "pets.tgz" in said[0]
    assert_nothing_was_lost(tmp_path, "raw")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("~nobody-of-that-name/pets", "download: no such file or folder; check the path: ~nobody-of-that-name/pets"),
        ("pets\0.tgz", r"download: no address and no path holds the character NUL: 'pets\x00.tgz'"),
        # From Python 3.14 on a path that is too long merely doesn't exist.
        (
            "p" * 5000,
            "download: no such file or folder; check the path: pppp"
            if sys.version_info >= (3, 14)
            else "download: can't be read or written (File name too long): pppp",
        ),
    ],
    ids=["no such user", "NUL", "a name too long"],
)
def test_a_source_that_no_path_can_be_is_named(tmp_path: Path, source: str, told: str) -> None:
    places = LISTS | {"cache": "cache", "out": "last/raw"}

    status, said = ended("download", tmp_path, {"download": {"source": source}}, **places)

    assert (status, len(said)) == (1, 1), said
    assert said[0].startswith(told)
    assert_nothing_was_lost(tmp_path, "raw")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server({"/pets.tgz": archive(image=NOISE)}) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(status=404), "the server answered 404 Not Found; check the address"),
        (Answer(break_after=500), "the connection broke off, also after 0 retries; what came is kept, run again later"),
    ],
    ids=["404", "breaks off midway"],
)
def test_a_server_that_gives_no_file_is_named(tmp_path: Path, server: HttpServer, answer: Answer, told: str) -> None:
    server.answers["/pets.tgz"] = [answer] * 3
    checksum = f"sha256:{hashlib.sha256(server.files['/pets.tgz']).hexdigest()}"
    settings = {"source": server.url("/pets.tgz"), "checksum": checksum, "retries": 0}

    status, said = ended("download", tmp_path, {"download": settings}, **LISTS, cache="cache", out="last/raw")

    assert (status, len(said)) == (1, 1), said
    assert said[0].startswith(f"download: {told}")
    assert server.url("/pets.tgz") in said[0]
    assert_nothing_was_lost(tmp_path, "raw")


# The images and their labels.


def html_image(images: Path) -> str:
    (images / "pug_1.jpg").write_bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    return "source/images/pug_1.jpg: not an image"


def unlabelled_image(images: Path) -> str:
    (images / "pug_1.jpg").rename(images / "nobody.jpg")
    return "source/images/nobody.jpg: no label by the pattern"


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [html_image, unlabelled_image])
def test_an_image_that_can_not_be_used_stops_the_run_where_none_may_be_rejected(
    tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    write_source(tmp_path / "raw/source")
    told = spoil(tmp_path / "raw/source/images")

    status, said = ended("prepare", tmp_path, {"prepare": {"max_rejected_share": 0.01}}, raw="raw", out="last/prepared")

    assert (status, len(said)) == (1, 1), said
    assert said[0].startswith("prepare: 1 of 18 files can't be used, more than prepare.max_rejected_share 0.01; ")
    assert said[0].endswith(told)
    assert_nothing_was_lost(tmp_path, "prepared")


@pytest.mark.slow
def test_labels_that_the_pattern_does_not_find_name_the_pattern(tmp_path: Path) -> None:
    write_source(tmp_path / "raw/source")

    status, said = ended(
        "prepare", tmp_path, {"prepare": {"label_pattern": r"^(.+)-\d+\.png$"}}, raw="raw", out="last/prepared"
    )

    assert (status, len(said)) == (1, 1), said
    assert r"the first: source/images/Bengal_1.jpg: no label by the pattern" in said[0]
    assert_nothing_was_lost(tmp_path, "prepared")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"patient_(\d+", r"prepare: params.yaml: prepare: group_pattern: not a regular expression (missing ), "),
        (r"patient_\d+/", r"prepare: params.yaml: prepare: group_pattern needs a group (…) that holds "),
        (
            r"patient_(\d+)/",
            r"prepare: no image's path fits prepare.group_pattern; the first path: images/Bengal_1.jpg; ",
        ),
    ],
)
def test_a_group_pattern_that_says_nothing_is_named(tmp_path: Path, pattern: str, told: str) -> None:
    write_source(tmp_path / "raw/source")

    status, said = ended("prepare", tmp_path, {"prepare": {"group_pattern": pattern}}, raw="raw", out="last/prepared")

    assert (status, len(said)) == (1, 1), said
    assert said[0].startswith(told)
    assert_nothing_was_lost(tmp_path, "prepared")


@pytest.mark.slow
def test_a_breed_with_one_image_is_named(tmp_path: Path) -> None:
    write_source(tmp_path / "raw/source", num_images=4)
    (tmp_path / "raw/source/images/Sphynx_1.jpg").write_bytes(content(pet(1, 99)))
    assert ended("prepare", tmp_path, raw="raw", out="prepared")[0] == 0

    status, said = ended("split", tmp_path, prepared="prepared", out="last/split")

    assert (status, len(said)) == (1, 1), said
    assert said[0].endswith("an image without copies is one): Sphynx (images: 1, groups: 1)")
    assert_nothing_was_lost(tmp_path, "split")


# The training.


@pytest.mark.slow
def test_an_unknown_architecture_is_told_with_the_nearest_names(tmp_path: Path, sides: Path) -> None:
    changes = {"train": {"architecture": "resnt34"}}

    status, said = ended(
        "train", tmp_path, changes, **places(sides), checkpoints="checkpoints", features="features", out="last/train"
    )

    assert (status, len(said)) == (1, 1), said
    assert said[0].startswith("train: params.yaml: train: architecture: unknown: resnt34; nearest: resnet34, ")
    assert_nothing_was_lost(tmp_path, "train")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't hold a process to its address space")
def test_a_training_that_finds_no_memory_says_what_to_lower(tmp_path: Path, sides: Path) -> None:
    """The process may take 100 MiB more than it has when all is imported; VGG's gradients alone take as much."""
    settings = {"architecture": "vgg16", "frozen_epochs": 0, "epochs": 1, "batch_size": 18, "augmentation": "none"}
    (tmp_path / "params.yaml").write_text(params_yaml(train=settings), encoding="utf-8")
    paths = [
        *places(sides).items(),
        *((name, tmp_path / name) for name in ("checkpoints", "features")),
        ("out", tmp_path / "train"),
    ]
    options = [str(part) for name, place in paths for part in (f"--{name}", place)]

    done = subprocess.run(
        [sys.executable, "-c", HELD_TO_ITS_MEMORY, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    said = done.stderr.splitlines()
    assert done.returncode == 1, said
    assert said[-1] == "train: out of memory; lower train.batch_size (18) or train.image_size (32)"
    assert "Traceback" not in done.stderr


HELD_TO_ITS_MEMORY = f"""
import resource, warnings
warnings.simplefilter("ignore")
import fastai.vision.all, timm, dvclive
from stages.entry import run
from stages.train import train
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 100 * {MIB}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
run(train)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /dev/shm")
def test_a_container_s_small_shared_memory_is_told_as_that(tmp_path: Path, sides: Path) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(train={"epochs": 1}), encoding="utf-8")
    paths = [
        *places(sides).items(),
        *((name, tmp_path / name) for name in ("checkpoints", "features")),
        ("out", tmp_path / "train"),
    ]
    options = [str(part) for name, place in paths for part in (f"--{name}", place)]
    apart = ["unshare", "--mount"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a small /dev/shm needs root")
    mount = 'mount -t tmpfs -o size=64k none /dev/shm && exec "$@"'

    done = subprocess.run(
        [*apart, "sh", "-c", mount, "sh", sys.executable, "-W", "ignore", "-c", WITH_PROCESSES_THAT_DECODE, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    said = done.stderr.splitlines()
    assert done.returncode == 1, said
    assert said[-1] == "train: no shared memory left; give /dev/shm more, as in: docker run --shm-size=8g"
    assert "Traceback" not in done.stderr


WITH_PROCESSES_THAT_DECODE = """
from stages import views
from stages.entry import run
from stages.train import train
views._MANY = 0
run(train)
"""


# The disk.


def places(sides: Path) -> dict[str, Path]:
    """Return what train reads, and the stages after it too."""
    return {"prepared": sides / "prepared", "split": sides / "split"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num_kib"), [("prepare", 64), ("split", 12)])
def test_a_full_disk_is_named_and_keeps_the_last_output(tmp_path: Path, sides: Path, name: str, num_kib: int) -> None:
    paths = {"prepare": {"raw": sides / "raw"}, "split": {"prepared": sides / "prepared"}}[name]
    with small_disk(tmp_path / "disk", num_kib) as disk:
        (disk / "out").mkdir()
        for good in OUTPUTS[name].always:
            (disk / "out" / good).touch()

        status, said = ended(name, tmp_path, **paths, out="disk/out")

        assert (status, said) == (1, [f"{name}: no space left; free some and run again: disk/out"])
        assert [path.name for path in disk.iterdir()] == ["out"]
        assert {path.name for path in (disk / "out").iterdir()} == OUTPUTS[name].always


@pytest.mark.slow
def test_a_disk_that_fills_up_in_training_is_named(tmp_path: Path, sides: Path) -> None:
    """fastai puts words of its own before an error that passes through it; they aren't shown."""
    with small_disk(tmp_path / "disk", num_kib=64):
        status, said = ended("train", tmp_path, **places(sides), checkpoints="disk/checkpoints", features="features")

    assert status == 1, said
    assert re.fullmatch(r"train: no space left; free some and run again: disk/checkpoints/\w+\.pt", said[-1]), said
    assert all(line.startswith("train: ") for line in said), said


@pytest.mark.slow
def test_a_disk_that_fills_up_in_evaluate_keeps_the_last_report(tmp_path: Path, sides: Path, trained: Path) -> None:
    paths = {**places(sides), "train": trained, "features": "features", "settings": "params.yaml"}
    with small_disk(tmp_path / "disk", num_kib=64) as disk:
        (disk / "out").mkdir()
        for good in OUTPUTS["evaluate"].always:
            (disk / "out" / good).touch()

        status, said = ended("evaluate", tmp_path, **paths, out="disk/out")

        assert (status, said[-1]) == (1, "evaluate: no space left; free some and run again: disk/out")
        assert [path.name for path in disk.iterdir()] == ["out"]
        assert {path.name for path in (disk / "out").iterdir()} == OUTPUTS["evaluate"].always


# Ctrl-C. A named pipe in the place of a file that the stage reads holds it there until the signal comes.


@pytest.mark.parametrize(
    ("name", "pipe", "out"),
    [
        ("split", "prepared/index.csv", "split"),
        pytest.param("evaluate", "prepared/prepare.json", "eval", marks=pytest.mark.slow),
        pytest.param("export", "split/test.csv", "bundle", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_is_one_line_and_keeps_the_last_output(
    tmp_path: Path, sides: Path, request: pytest.FixtureRequest, name: str, pipe: str, out: str
) -> None:
    work = shutil.copytree(sides, tmp_path / "work")
    (work / pipe).unlink()
    os.mkfifo(work / pipe)
    paths: dict[str, Path | str] = {"prepared": work / "prepared"}
    if name != "split":
        paths |= {"split": work / "split", "train": request.getfixturevalue("trained")}
    if name == "evaluate":
        paths |= {"features": "features", "settings": "params.yaml"}
    if name == "export":
        paths["eval"] = request.getfixturevalue("judged")
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    process = start_stage(name, tmp_path, **paths, out=f"last/{out}")
    wait_until_read(work / pipe, process)

    status, said = interrupted(process)

    assert (status, said) == (130, [f"{name}: interrupted; nothing half-written; go on with: dvc repro"])
    assert_nothing_was_lost(tmp_path, out)


@pytest.mark.slow
def test_ctrl_c_amid_the_decoding_is_one_line_and_keeps_the_last_output(tmp_path: Path) -> None:
    write_source(tmp_path / "raw/source", num_images=1)
    for number in range(2, 3000):
        os.link(tmp_path / "raw/source/images/pug_1.jpg", tmp_path / f"raw/source/images/pug_{number}.jpg")
    (tmp_path / "params.yaml").write_text(params_yaml(), encoding="utf-8")
    process = start_stage("prepare", tmp_path, raw="raw", out="last/prepared")
    while not list((tmp_path / "last").glob(".prepared.*.partial/images/pug/*.jpg")):
        time.sleep(0.01)

    status, said = interrupted(process)

    assert (status, said) == (130, ["prepare: interrupted; nothing half-written; go on with: dvc repro"])
    assert_nothing_was_lost(tmp_path, "prepared")


@pytest.mark.slow
def test_ctrl_c_between_two_epochs_is_one_line_and_keeps_the_last_epoch(tmp_path: Path, sides: Path) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(train={"epochs": 500}), encoding="utf-8")
    process = start_stage("train", tmp_path, **places(sides), checkpoints="checkpoints", features="features")
    assert process.stderr is not None
    while not process.stderr.readline().startswith("train: unfrozen:"):
        assert process.poll() is None

    status, said = interrupted(process)

    assert (status, said[-1]) == (130, "train: interrupted; nothing half-written; go on with: dvc repro")
    assert all(line.startswith("train: ") for line in said), said
    assert [path.suffix for path in (tmp_path / "checkpoints").iterdir()] == [".pt"]


def interrupted(process: "subprocess.Popen[str]") -> Ended:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    return process.returncode, said.splitlines()


def wait_until_read(pipe: Path, process: "subprocess.Popen[str]") -> None:
    """Return when the process waits for something to read in the pipe, from which nothing will come."""
    while True:
        try:
            os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # closed with this process, else the other one would read on
        except OSError:  # nobody reads it yet
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        else:
            # It is past opening the file; a signal that came before it reads would not be seen by it as it waits.
            time.sleep(1)
            return
