"""A file comes whole and as promised, or the run says why not; what came once is not fetched again."""

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

import pytest

from stages.checksums import check_bytes
from stages.errors import ChecksumError, SourceError, UnreachableError
from stages.fetching import LONGEST_PAUSE_SECONDS, Fetcher
from tests.servers import Answer, HttpServer, http_server

CONTENT = Random(1).randbytes(200_000)
OTHER = Random(2).randbytes(150_000)
PATH = "/pets.tgz"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server({PATH: CONTENT}) as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of the pauses that would have been made."""
    made: list[float] = []
    monkeypatch.setattr("stages.fetching.time.sleep", made.append)
    return made


def fetched(
    cache: Path,
    server: HttpServer,
    *answers: Answer,
    content: bytes = CONTENT,
    retries: int = 2,
    size_bytes: int | None = None,
    max_bytes: int = 10**6,
) -> bytes:
    """Return what a Fetcher brings when the server answers so, expecting `content`."""
    server.answers[PATH] = list(answers)
    fetcher = Fetcher(cache=cache, retries=retries, timeout_seconds=0.5, max_bytes=max_bytes, first_pause_seconds=0.001)
    return fetcher.file(server.url(PATH), checksum=sha256(content), size_bytes=size_bytes).read_bytes()


def kept(cache: Path) -> list[str]:
    return sorted(path.suffix for path in cache.iterdir() if path.suffix != ".lock")


def test_a_file_comes_whole_and_nothing_else_stays(tmp_path: Path, server: HttpServer) -> None:
    assert fetched(tmp_path, server, size_bytes=len(CONTENT)) == CONTENT
    assert kept(tmp_path) == [""]


def test_after_a_break_only_the_rest_is_asked_for(tmp_path: Path, server: HttpServer) -> None:
    assert fetched(tmp_path, server, Answer(break_after=140_000)) == CONTENT

    start = int((server.ranges[1] or "").removeprefix("bytes=").removesuffix("-"))
    assert server.ranges[0] is None
    assert 60_000 < start <= 140_000
    assert server.requests[1][1]["if-range"]


def test_the_next_run_goes_on_where_the_last_one_broke_off(tmp_path: Path, server: HttpServer) -> None:
    with pytest.raises(UnreachableError, match="broke off, also after 0 retries; what came is kept, run again later"):
        fetched(tmp_path, server, Answer(break_after=140_000), retries=0)

    assert fetched(tmp_path, server) == CONTENT
    assert server.ranges[1] is not None


@pytest.mark.parametrize("left", [b"\0\0\0\0", b"\xff\xfe", b'"a"\r\nX-Other: b'])
def test_a_servers_word_that_a_power_cut_has_spoilt_is_not_sent(
    left: bytes, tmp_path: Path, server: HttpServer
) -> None:
    with pytest.raises(UnreachableError):
        fetched(tmp_path, server, Answer(break_after=140_000), retries=0)
    next(tmp_path.glob("*.validator")).write_bytes(left)

    assert fetched(tmp_path, server) == CONTENT
    assert server.ranges[1] is None


def test_breaks_that_bring_new_bytes_do_not_use_up_the_retries(tmp_path: Path, server: HttpServer) -> None:
    assert fetched(tmp_path, server, *[Answer(break_after=70_000)] * 2, retries=1) == CONTENT


@pytest.mark.parametrize("size_bytes", [None, len(CONTENT)])
def test_a_server_that_ignores_ranges_is_read_from_the_beginning(
    tmp_path: Path, server: HttpServer, size_bytes: int | None
) -> None:
    answers = [Answer(break_after=140_000), Answer(ignore_range=True)]

    assert fetched(tmp_path, server, *answers, size_bytes=size_bytes) == CONTENT


def test_a_file_that_changes_between_attempts_is_not_patched_together(tmp_path: Path, server: HttpServer) -> None:
    answers = [Answer(break_after=140_000), Answer(content=OTHER)]

    assert fetched(tmp_path, server, *answers, content=OTHER) == OTHER


def test_a_server_that_goes_on_with_a_changed_file_is_not_believed(tmp_path: Path, server: HttpServer) -> None:
    changed = Answer(ignore_condition=True, headers={"ETag": '"other"'})

    assert fetched(tmp_path, server, Answer(break_after=140_000), changed) == CONTENT
    assert server.ranges[2] is None


def test_a_part_from_another_place_than_asked_is_not_used(tmp_path: Path, server: HttpServer) -> None:
    misplaced = Answer(headers={"Content-Range": "bytes 7-199999/200000"})

    assert fetched(tmp_path, server, Answer(break_after=140_000), misplaced) == CONTENT
    assert server.ranges[2] is None


def test_a_file_that_has_become_shorter_is_fetched_anew(tmp_path: Path, server: HttpServer) -> None:
    with pytest.raises(UnreachableError, match="broke off"):
        fetched(tmp_path, server, Answer(break_after=190_000), retries=0)

    assert fetched(tmp_path, server, Answer(status=416), Answer(content=OTHER), content=OTHER) == OTHER


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_etag_the_date_tells_the_same_file(tmp_path: Path, server: HttpServer, etag: str) -> None:
    headers = {"ETag": etag}

    assert fetched(tmp_path, server, Answer(break_after=140_000, headers=headers), Answer(headers=headers)) == CONTENT
    assert server.requests[1][1]["if-range"].startswith("Mon, ")


def test_without_any_word_to_know_the_file_by_it_is_fetched_anew(tmp_path: Path, server: HttpServer) -> None:
    headers = {"ETag": "", "Last-Modified": ""}

    assert fetched(tmp_path, server, Answer(break_after=140_000, headers=headers)) == CONTENT
    assert server.ranges == [None, None]


def test_a_404_is_not_repeated(tmp_path: Path, server: HttpServer) -> None:
    del server.files[PATH]

    with pytest.raises(SourceError, match=r"answered 404 Not Found; check the address.*: http://127.*/pets\.tgz"):
        fetched(tmp_path, server)

    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_with_a_passing_trouble_is_asked_again(tmp_path: Path, server: HttpServer, status: int) -> None:
    assert fetched(tmp_path, server, Answer(status=status)) == CONTENT


def test_the_pauses_grow_and_end_when_the_retries_are_used_up(
    tmp_path: Path, server: HttpServer, pauses: list[float]
) -> None:
    with pytest.raises(UnreachableError, match=r"answered 500 Internal Server Error, also after 3 retries"):
        fetched(tmp_path, server, *[Answer(status=500)] * 4, retries=3)

    assert pauses == [0.001, 0.002, 0.004]


def test_a_server_that_says_when_to_come_again_is_obeyed_within_reason(
    tmp_path: Path, server: HttpServer, pauses: list[float]
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    wishes = ["7", date, "99999", "soon", ""]
    answers = [Answer(status=503, headers={"Retry-After": wish}) for wish in wishes]

    assert fetched(tmp_path, server, *answers, retries=5) == CONTENT
    assert [round(pause, -1) for pause in pauses] == [10, 30, LONGEST_PAUSE_SECONDS, 0, 0]


def test_a_server_that_falls_silent_is_left_and_asked_again(tmp_path: Path, server: HttpServer) -> None:
    assert fetched(tmp_path, server, Answer(break_after=140_000, stall=True)) == CONTENT
    assert server.ranges[1] is not None


def test_a_server_that_stays_silent_is_named(tmp_path: Path, server: HttpServer) -> None:
    with pytest.raises(UnreachableError, match=r"no answer for 0\.5 s, also after 0 retries.*127\.0\.0\.1"):
        fetched(tmp_path, server, Answer(stall=True), retries=0)


def test_a_web_page_in_the_place_of_the_file_is_not_taken_for_it(tmp_path: Path, server: HttpServer) -> None:
    page = Answer(content=b"<html>Sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})

    with pytest.raises(SourceError, match="sent a web page instead of the file"):
        fetched(tmp_path, server, page)


def test_a_file_of_the_wrong_length_is_refused_before_it_comes(tmp_path: Path, server: HttpServer) -> None:
    with pytest.raises(ChecksumError, match="wrong size, 200000 bytes instead of 123; get the file again or correct"):
        fetched(tmp_path, server, size_bytes=123)

    assert kept(tmp_path) == []


def test_a_file_longer_than_promised_is_left_where_the_promise_ends(tmp_path: Path, server: HttpServer) -> None:
    with pytest.raises(ChecksumError, match=r"longer than 70000 bytes, which is download\.size_bytes"):
        fetched(tmp_path, server, Answer(length=""), size_bytes=70_000)

    assert kept(tmp_path) == []


def test_a_file_of_no_promised_length_may_not_fill_the_disk(tmp_path: Path, server: HttpServer) -> None:
    with pytest.raises(ChecksumError, match=r"longer than 70000 bytes, which is download\.max_bytes"):
        fetched(tmp_path, server, max_bytes=70_000)


def test_an_end_before_the_promised_length_counts_as_a_break(tmp_path: Path, server: HttpServer) -> None:
    answers = [Answer(break_after=140_000, length="")]

    assert fetched(tmp_path, server, *answers, size_bytes=len(CONTENT)) == CONTENT
    assert server.ranges[1] == "bytes=140000-"


def test_other_bytes_than_promised_are_thrown_away(tmp_path: Path, server: HttpServer) -> None:
    found = hashlib.sha256(CONTENT).hexdigest()

    with pytest.raises(ChecksumError, match=f"wrong checksum, sha256:{found} instead of sha256:.*; get the file again"):
        fetched(tmp_path, server, content=OTHER)

    assert kept(tmp_path) == []


def test_what_was_fetched_is_used_without_the_network(tmp_path: Path) -> None:
    with http_server({PATH: CONTENT}) as server:
        fetched(tmp_path, server)

    assert fetched(tmp_path, server) == CONTENT
    assert len(server.requests) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, server: HttpServer) -> None:
    fetched(tmp_path, server)
    next(path for path in tmp_path.iterdir() if not path.suffix).write_bytes(b"damaged")

    assert fetched(tmp_path, server) == CONTENT
    assert len(server.requests) == 2


def test_a_part_that_is_already_whole_is_only_checked(tmp_path: Path, server: HttpServer) -> None:
    fetched(tmp_path, server)
    final = next(path for path in tmp_path.iterdir() if not path.suffix)
    final.rename(final.with_suffix(".partial"))

    assert fetched(tmp_path, server, size_bytes=len(CONTENT)) == CONTENT
    assert len(server.requests) == 1


def test_of_two_fetches_at_once_one_fetches_and_one_waits(
    tmp_path: Path, server: HttpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers[PATH] = [Answer(break_after=140_000, stall=True)]
    fetcher = Fetcher(cache=tmp_path, retries=2, timeout_seconds=0.5, max_bytes=10**6, first_pause_seconds=0.001)
    found: list[bytes] = []

    def fetch() -> None:
        found.append(fetcher.file(server.url(PATH), checksum=sha256(CONTENT)).read_bytes())

    first, second = threading.Thread(target=fetch), threading.Thread(target=fetch)
    first.start()
    while not server.requests:
        time.sleep(0.01)
    second.start()
    first.join()
    second.join()

    assert found == [CONTENT, CONTENT]
    assert len(server.requests) == 2
    assert "another process fetches the same, waiting" in capsys.readouterr().err


def test_a_line_is_written_at_once_because_threads_write_theirs_between(
    tmp_path: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", written.append)

    fetched(tmp_path, server, Answer(status=503))

    (line,) = written
    assert line.startswith("download: the server answered 503 ")
    assert line.endswith("/pets.tgz\n")


def test_progress_is_a_line_now_and_then_where_no_terminal_is(
    tmp_path: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.fetching.REPORT_SECONDS", 0.0)

    fetched(tmp_path, server)

    assert capsys.readouterr().err.splitlines()[-1] == "download: 0 MB of 0"


def test_progress_is_a_bar_on_a_terminal(
    tmp_path: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    fetched(tmp_path, server)

    assert "B/s]" in capsys.readouterr().err


def test_a_file_of_this_machine_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pets.tgz"
    path.write_bytes(CONTENT)
    fetcher = Fetcher(cache=tmp_path / "cache", retries=0, timeout_seconds=1, max_bytes=10)

    assert fetcher.file(str(path), checksum=sha256(CONTENT), size_bytes=len(CONTENT)) == path
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_of_this_machine_is_named(tmp_path: Path) -> None:
    fetcher = Fetcher(cache=tmp_path, retries=0, timeout_seconds=1, max_bytes=10)

    with pytest.raises(SourceError, match=r"no such file or folder; check the path: .*/missing\.tgz"):
        fetcher.file(str(tmp_path / "missing.tgz"), checksum=None)


@pytest.mark.parametrize(
    "checksum",
    [
        f"sha256:{hashlib.sha256(CONTENT * 8).hexdigest()}",
        f"md5:{hashlib.md5(CONTENT * 8, usedforsecurity=False).hexdigest()}",
        f"md5-of-first-mib:{hashlib.md5((CONTENT * 8)[: 1 << 20], usedforsecurity=False).hexdigest()}",
    ],
)
def test_each_kind_of_checksum_knows_its_file_and_no_other(tmp_path: Path, checksum: str) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    same.write_bytes(CONTENT * 8)
    other.write_bytes(OTHER * 8)

    check_bytes(same, checksum=checksum, size_bytes=None, name="same")

    kind = checksum.partition(":")[0]
    with pytest.raises(ChecksumError, match=f"wrong checksum, {kind}:[0-9a-f]+ instead of {checksum}; .*: other"):
        check_bytes(other, checksum=checksum, size_bytes=None, name="other")
