"""How many cores a stage has: what it may use, not what the machine has."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from petmodels import parallel
from stages import cores
from stages.errors import NO_THREADS, ParamsError, ResourceError
from stages.imports import import_large
from stages.prepare import PrepareParams, prepare
from stages.screen import screen
from tests.petmodels.bundles import write_files
from tests.pictures import write_source
from tests.stages.settings import NO_CORRECTIONS, PREPARE

V1 = "cpu/cpu.cfs_{}_us"


@pytest.mark.parametrize(
    ("own", "files", "found"),
    [
        ("0::/system.slice/worker.service\n", {"system.slice/worker.service/cpu.max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("0::/a/b\n", {"cpu.max": "100000 100000\n", "a/b/cpu.max": "300000 100000\n"}, 1),
        (
            "5:memory:/m\n4:cpu,cpuacct:/a b\n",
            {"cpu/a b/cpu.cfs_quota_us": "250000\n", "cpu/a b/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("5:memory:/m\n", {"m/cpu.max": "100000 100000\n"}, 0),
        ("0::/seen/from/outside\n", {"cpu.max": "400000 100000\n"}, 4),
        ("", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/../other\n", {"x": ""}, 0),
        ("0::/a\x0bb\n", {"a\x0bb/cpu.max": "100000 100000\n"}, 1),
        ("not a list\n\n", {"cpu.max": "100000 100000\n"}, 1),
    ],
    ids=[
        "a unit",
        "its slice",
        "the root",
        "an older Linux",
        "no group",
        "a container",
        "no list",
        "another root",
        "an odd name",
        "an odd list",
    ],
)
def test_the_quota_of_a_systemd_unit_counts(own: str, files: dict[str, str], found: int, tmp_path: Path) -> None:
    write_files(tmp_path / "groups", {name: text.encode() for name, text in files.items()})
    (tmp_path / "own").write_text(own, encoding="utf-8")

    for quota in (cores.quota, parallel.quota):
        assert quota(tmp_path / "groups", tmp_path / "own") == found


def test_fewer_cores_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, found in (("1", 1), ("1000000", cores.num_cores()), ("", cores.num_cores())):
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", text)

        assert cores.num_cores() == found


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_a_number_of_cores_that_is_none_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", text)

    with pytest.raises(ParamsError, match=f"^LOKY_MAX_CPU_COUNT must be a whole number from 1 up: {text}$"):
        cores.num_cores()


def test_stages_and_the_client_count_the_same_cores() -> None:
    assert cores.num_cores() == parallel.num_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"])
def test_a_number_of_threads_that_is_given_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "3")
    before = dict(os.environ)

    cores.settle_threads()

    assert dict(os.environ) == before


def a_large_import(folder: Path) -> None:
    import_large("a_package_that_is_not_here")


def preparing(folder: Path) -> None:
    write_source(folder / "raw/source", num_images=1)
    prepare(PrepareParams(**PREPARE), raw=folder / "raw", out=folder / "prepared")


def screening(folder: Path) -> None:
    lists = {"index": "sha256,phash,label,source\n", "arrivals": "address,sha256,label,arrived\n", "labels": ""}
    write_files(folder, {name: text.encode() for name, text in (lists | {"files": "file,name,label\n"}).items()})
    write_files(folder, {"corrections": NO_CORRECTIONS.encode()})
    screen(PrepareParams(**PREPARE), **{name: folder / name for name in (*lists, "files", "corrections", "out")})


@pytest.mark.parametrize("work", [a_large_import, preparing, screening])
def test_what_would_begin_more_threads_than_it_may_says_so_before(
    work: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, start = threading.active_count() + 64, threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if threading.active_count() >= most:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    monkeypatch.setattr("stages.cores.num_cores", lambda: 64)

    with pytest.raises(ResourceError) as caught:
        work(tmp_path)

    assert str(caught.value) == f"{NO_THREADS} (cores: 64)"
