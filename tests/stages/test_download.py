"""Whatever the source is, the stage leaves it whole and known, or leaves what was there and one line."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from stages.download import DownloadParams, download
from stages.errors import ArchiveError, ChecksumError, ParamsError, SourceError, UnreachableError
from stages.params import section
from tests.disks import small_disk
from tests.servers import Answer, HttpServer, http_server
from tests.stages.settings import NO_CORRECTIONS, params_yaml

REPOSITORY = Path(__file__).parents[2]
PHOTOS = Path(os.environ.get("PETS_PHOTOS", REPOSITORY.parent / "shared/pets"))
FILES = {f"pets/images/pug_{number}.jpg": Random(number).randbytes(30_000) for number in range(4)}


def tar_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return packed.getvalue()


ARCHIVE = tar_of(FILES)
CHECKSUM = f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
KNOWN = {"source": "sample:", "checksum": None, "size_bytes": None, "retries": 1, "timeout_seconds": 1.0}
LIMITS = {"max_files": 500, "max_bytes": 10**8, "max_ratio": 200.0}


def write_lists(folder: Path) -> None:
    (folder / "arrivals.csv").write_text("address,sha256,label,arrived\n")
    (folder / "corrections.csv").write_text(NO_CORRECTIONS)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make empty lists of arrivals and corrections and an earlier output, and keep proxies out."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    write_lists(tmp_path)
    (tmp_path / "raw/source").mkdir(parents=True)
    (tmp_path / "raw/source/earlier.txt").write_text("the last good output")
    (tmp_path / "raw/arrivals.csv").touch()


def downloaded(folder: Path, source: str | Path, **changes: Any) -> dict[str, bytes]:
    """Return what the stage leaves in source/ of its output."""
    params = DownloadParams(**(KNOWN | LIMITS | {"source": str(source)} | changes))
    lists = {name: folder / f"{name}.csv" for name in ("arrivals", "corrections")}
    download(params, **lists, cache=folder / "cache", out=folder / "raw")
    left = folder / "raw/source"
    return {path.relative_to(left).as_posix(): path.read_bytes() for path in left.rglob("*") if path.is_file()}


def assert_the_last_output_stays(folder: Path) -> None:
    assert {path.name for path in (folder / "raw").rglob("*")} == {"arrivals.csv", "earlier.txt", "source"}
    assert not list(folder.glob(".raw.*"))


@contextmanager
def started(
    folder: Path, source: str, *, cache: str = "cache", out: str = "raw", **changes: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start the stage as its own process; it is killed when the block ends."""
    settings = KNOWN | LIMITS | {"source": source, "timeout_seconds": 30.0} | changes
    (folder / "params.yaml").write_text(params_yaml(download=settings))
    paths = {"params": "params.yaml", "arrivals": "arrivals.csv", "corrections": "corrections.csv", "cache": cache,
             "out": out}  # fmt: skip
    options = [part for name, path in paths.items() for part in (f"--{name}", str(folder / path))]
    command = [sys.executable, "-m", "stages.download", *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_the_part(folder: Path) -> None:
    """Wait until the first bytes of a download are on the disk."""
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in folder.glob("cache/*.partial")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_drawn_sample_is_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = downloaded(tmp_path, "sample:images_per_breed=2,image_side=64")

    images = [content for name, content in files.items() if name.endswith(".jpg")]
    assert len(images) >= 37 * 2 - 2
    assert Image.open(io.BytesIO(images[0])).size
    assert capsys.readouterr().err.splitlines()[-1].endswith("/raw; next: dvc repro prepare")


def test_a_folder_is_a_source(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    assert {f"pets/{name}": content for name, content in downloaded(tmp_path, tmp_path / "pets").items()} == FILES


def test_an_archive_of_this_machine_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "pets.tgz").write_bytes(ARCHIVE)

    assert downloaded(tmp_path, tmp_path / "pets.tgz", checksum=CHECKSUM, size_bytes=len(ARCHIVE)) == FILES


def test_an_archive_in_the_home_folder_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pets.tgz").write_bytes(ARCHIVE)

    assert downloaded(tmp_path, "~/pets.tgz") == FILES


def test_an_archive_from_a_server_is_a_source_and_is_fetched_once(tmp_path: Path) -> None:
    with http_server({"/pets.tgz": ARCHIVE}) as server:
        source = server.url("/pets.tgz")
        assert downloaded(tmp_path, source, checksum=CHECKSUM) == FILES

    assert downloaded(tmp_path, source, checksum=CHECKSUM) == FILES
    assert len(server.requests) == 1


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photographs are not here")
def test_the_real_photographs_are_a_source(tmp_path: Path) -> None:
    checksum = "sha256:785f79da5b33e1de698e5a81a1144230cd914a00c83bb88e6cebb43a7948191a"

    files = downloaded(tmp_path, PHOTOS / "oxford-iiit-pet-sample.tgz", checksum=checksum)

    assert len(files) == 37 * 7 + 5
    assert all(name.startswith("oxford-iiit-pet/images/") for name in files)


def test_the_output_is_the_same_however_often_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "pets.tgz").write_bytes(ARCHIVE)

    first = downloaded(tmp_path, tmp_path / "pets.tgz")

    assert downloaded(tmp_path, tmp_path / "pets.tgz") == first
    assert not (tmp_path / "raw/source/earlier.txt").exists()


def test_a_source_out_of_reach_offers_two_ways_on(tmp_path: Path) -> None:
    began = time.monotonic()

    with pytest.raises(UnreachableError, match=r"can't reach 127\.0\.0\.1:9 .*; two ways on: .*`make demo`"):
        downloaded(tmp_path, "http://127.0.0.1:9/pets.tgz", checksum=CHECKSUM)

    assert time.monotonic() - began < 10
    assert_the_last_output_stays(tmp_path)


def test_a_wrong_checksum_keeps_the_archive_closed(tmp_path: Path) -> None:
    (tmp_path / "pets.tgz").write_bytes(b"not even an archive")

    with pytest.raises(ChecksumError, match=rf"wrong checksum, sha256:\w+ instead of {CHECKSUM}; get .*pets\.tgz"):
        downloaded(tmp_path, tmp_path / "pets.tgz", checksum=CHECKSUM)

    assert_the_last_output_stays(tmp_path)


def test_a_wrong_size_is_told_in_numbers(tmp_path: Path) -> None:
    (tmp_path / "pets.tgz").write_bytes(ARCHIVE)

    with pytest.raises(
        ChecksumError, match=rf"wrong size, {len(ARCHIVE)} bytes instead of 7; .* set both to null .*pets\.tgz"
    ):
        downloaded(tmp_path, tmp_path / "pets.tgz", size_bytes=7)


def test_a_truncated_archive_leaves_the_last_output(tmp_path: Path) -> None:
    (tmp_path / "pets.tgz").write_bytes(ARCHIVE[:-5000])

    with pytest.raises(ArchiveError, match=r"broken or truncated archive .*pets\.tgz"):
        downloaded(tmp_path, tmp_path / "pets.tgz")

    assert_the_last_output_stays(tmp_path)


def test_limits_from_the_params_hold(tmp_path: Path) -> None:
    (tmp_path / "pets.tgz").write_bytes(ARCHIVE)

    with pytest.raises(ArchiveError, match=r"more than 3 members, which is download\.max_files"):
        downloaded(tmp_path, tmp_path / "pets.tgz", max_files=3)

    assert_the_last_output_stays(tmp_path)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder; check the path: nowhere"):
        downloaded(tmp_path, "nowhere")


def test_what_the_sample_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unknown key 'breeds'; known keys: "):
        downloaded(tmp_path, "sample:breeds=3")


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ("sample:", {"checksum": CHECKSUM}, "set download.checksum and download.size_bytes to null.*: sample:"),
        ("pets", {"size_bytes": 7}, "set download.checksum and download.size_bytes to null"),
        ("http://127.0.0.1:9/a", {}, "set download.checksum, what is fetched is checked before.*: http://127"),
        ("s3://pets/a.tgz", {}, "set download.checksum"),
        ("pets.tgz", {"checksum": f"md5-of-first-mib:{'0' * 32}"}, "set download.size_bytes, a checksum of the first"),
    ],
)
def test_settings_that_promise_too_little_or_cannot_take_effect_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()

    with pytest.raises(ParamsError, match=message):
        downloaded(tmp_path, source, **changes)


@pytest.mark.parametrize("place", [".", "raw", "raw/pets"])
def test_a_source_in_or_around_the_output_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)

    with pytest.raises(ParamsError, match=r"must be neither in nor around .*/raw, which is replaced"):
        downloaded(tmp_path, tmp_path / place)


@pytest.mark.parametrize("checksum", ["sha256:ABC", "sha1:" + "0" * 40, "0" * 64])
def test_a_checksum_of_unknown_form_is_refused_with_the_forms(tmp_path: Path, checksum: str) -> None:
    (tmp_path / "params.yaml").write_text(params_yaml(download={"checksum": checksum}))

    with pytest.raises(ParamsError, match=r"download: checksum: must be sha256:<64 hex digits>, md5:<32> or md5-of"):
        section(tmp_path / "params.yaml", "download", DownloadParams)


@pytest.fixture
def stalling() -> Iterator[HttpServer]:
    with http_server({"/pets.tgz": ARCHIVE}) as server:
        server.answers["/pets.tgz"] = [Answer(break_after=100_000, stall=True)]
        yield server


def test_killed_midway_it_keeps_the_last_output_and_goes_on_next_time(tmp_path: Path, stalling: HttpServer) -> None:
    with started(tmp_path, stalling.url("/pets.tgz"), checksum=CHECKSUM) as process:
        wait_for_the_part(tmp_path)
        process.kill()

    assert {path.name for path in (tmp_path / "raw").rglob("*")} == {"arrivals.csv", "earlier.txt", "source"}
    assert downloaded(tmp_path, stalling.url("/pets.tgz"), checksum=CHECKSUM) == FILES
    assert stalling.ranges[1] is not None
    assert not list(tmp_path.glob(".raw.*"))


def test_ctrl_c_is_one_line_and_keeps_the_last_output(tmp_path: Path, stalling: HttpServer) -> None:
    with started(tmp_path, stalling.url("/pets.tgz"), checksum=CHECKSUM) as process:
        wait_for_the_part(tmp_path)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)

    assert (process.returncode, said.count("\n")) == (130, 1)
    assert said.startswith("download: interrupted")
    assert_the_last_output_stays(tmp_path)


@pytest.mark.slow
def test_ctrl_c_waits_for_no_arrival_that_is_fetched_ahead(tmp_path: Path) -> None:
    paths = [f"/{number}.jpg" for number in range(20)]
    with http_server(dict.fromkeys(paths, ARCHIVE)) as server:
        server.answers = {path: [Answer(break_after=100_000, stall=True)] for path in paths}
        sha256 = hashlib.sha256(ARCHIVE).hexdigest()
        with (tmp_path / "arrivals.csv").open("a") as file:
            file.writelines(f"{server.url(path)},{sha256},pug,2025-03-01\n" for path in paths)
        (tmp_path / "pets").mkdir()
        (tmp_path / "pets/pug_0.jpg").touch()
        with started(tmp_path, str(tmp_path / "pets")) as process:
            wait_for_the_part(tmp_path)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=25)  # a silent server is waited for longer

    assert (process.returncode, said.count("\n")) == (130, 1)
    assert_the_last_output_stays(tmp_path)


@pytest.mark.slow
def test_two_downloads_at_once_fetch_once(tmp_path: Path, stalling: HttpServer) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_lists(other)
    (other / "cache").symlink_to(tmp_path / "cache")
    with started(tmp_path, stalling.url("/pets.tgz"), checksum=CHECKSUM, timeout_seconds=3.0) as first:
        wait_for_the_part(tmp_path)
        with started(other, stalling.url("/pets.tgz"), checksum=CHECKSUM) as second:
            said = [process.communicate(timeout=60)[1] for process in (first, second)]

    assert [first.returncode, second.returncode] == [0, 0]
    assert "another process fetches the same, waiting" in said[1]
    assert len(stalling.requests) == 2
    assert (other / "raw/source/pets/images/pug_3.jpg").read_bytes() == FILES["pets/images/pug_3.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("full", ["cache", "out"])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, full: str) -> None:
    with small_disk(tmp_path / "disk", num_kib=64) as disk, http_server({"/pets.tgz": ARCHIVE}) as server:
        shutil.copytree(tmp_path / "raw", disk / "raw")
        places = {"cache": "cache", "out": "raw"} | {full: f"disk/{full}".replace("out", "raw")}
        with started(tmp_path, server.url("/pets.tgz"), checksum=CHECKSUM, **places) as process:
            _, said = process.communicate(timeout=60)

        assert (process.returncode, said.count("\n")) == (1, 1)
        assert said.startswith("download: no space left; free some and run again: ")
        assert str(tmp_path / places[full]) in said
        assert_the_last_output_stays(disk if full == "out" else tmp_path)
