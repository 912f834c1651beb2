"""The list of arrivals is read whole or refused by its line; what it pins is added to the source or named."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from stages.arrivals import Arrival, read_arrivals
from stages.download import DownloadParams, download
from stages.errors import ArchiveError, ChecksumError, DataError, SourceError, UnreachableError
from tests.pictures import also_a_tar, content, pet
from tests.servers import Answer, http_server
from tests.stages.settings import NO_CORRECTIONS

HEADER = "address,sha256,label,arrived\n"
PHOTO = b"\xff\xd8\xff\xe0 not much of a photograph"
SHA256 = hashlib.sha256(PHOTO).hexdigest()
ROW = f"photos/pug_1.jpg,{SHA256},pug,2025-03-01\n"


def listed(folder: Path, text: str) -> Path:
    path = folder / "arrivals.csv"
    path.write_text(text, encoding="utf-8")
    return path


def row_of(address: str, photo: bytes) -> str:
    return f"{address},{hashlib.sha256(photo).hexdigest()},pug,2025-03-01\n"


def tar_of(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        header = tarfile.TarInfo(name)
        header.size = len(content)
        tar.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def downloaded(folder: Path, *rows: str, corrected: str = NO_CORRECTIONS) -> dict[str, bytes]:
    """Return the files that the stage leaves below arrivals/ for rows added to a source of one image."""
    (folder / "pets").mkdir(exist_ok=True)
    (folder / "pets/pug_0.jpg").write_bytes(b"the source")
    params = DownloadParams(
        source=str(folder / "pets"),
        checksum=None,
        size_bytes=None,
        retries=0,
        timeout_seconds=1,
        max_files=10,
        max_bytes=10**6,
        max_ratio=200,
    )
    arrivals = listed(folder, HEADER + "".join(rows))
    (folder / "corrections.csv").write_text(corrected, encoding="utf-8")
    corrections = folder / "corrections.csv"
    download(params, arrivals=arrivals, corrections=corrections, cache=folder / "cache", out=folder / "raw")
    assert (folder / "raw/source/pug_0.jpg").read_bytes() == b"the source"
    added = folder / "raw/arrivals"
    return {path.relative_to(added).as_posix(): path.read_bytes() for path in added.rglob("*") if path.is_file()}


def test_rows_are_read_in_their_order_without_blanks_around(tmp_path: Path) -> None:
    path = listed(tmp_path, "\ufeff" + HEADER + ROW + f"\n s3://a/b.tgz ,{SHA256},, 2025-03-02\n")

    assert read_arrivals(path) == [
        Arrival("photos/pug_1.jpg", SHA256, "pug", "2025-03-01"),
        Arrival("s3://a/b.tgz", SHA256, "", "2025-03-02"),
    ]


MALFORMED = {
    "line 1: expected address,sha256,label,arrived, found: $": "",
    "line 1: expected address,sha256,label,arrived, found: address,label": "address,label\n",
    "line 3: expected 4 cells, found: 3": HEADER + ROW + f"a.jpg,{SHA256},pug\n",
    "line 2: address must name an image or an archive: ''": f"{HEADER},{SHA256},pug,2025-03-01\n",
    "line 2: address must name an image or an archive: 'sample:'": f"{HEADER}sample:,{SHA256},,2025-03-01\n",
    "line 2: a signature or token doesn't belong in an address .*: https://h/b.jpg": (
        f"{HEADER}https://h/b.jpg?X-Amz-Signature=abc,{SHA256},pug,2025-03-01\n"
    ),
    "line 2: unknown kind of address.*: ftp://a/b": f"{HEADER}ftp://a/b,{SHA256},pug,2025-03-01\n",
    "line 2: sha256 must be 64 hex digits in small letters: 'abc'": f"{HEADER}a.jpg,abc,pug,2025-03-01\n",
    "line 2: label must be able to name a folder.*: 'a/b'": f"{HEADER}a.jpg,{SHA256},a/b,2025-03-01\n",
    r"line 2: label must be able to name a folder.*: '\.\.'": f"{HEADER}a.jpg,{SHA256},..,2025-03-01\n",
    "line 2: arrived must be a day as 2025-12-31: '20250301'": f"{HEADER}a.jpg,{SHA256},pug,20250301\n",
    "line 2: arrived must be a day as 2025-12-31: 'yesterday'": f"{HEADER}a.jpg,{SHA256},pug,yesterday\n",
    "not a CSV file in UTF-8": HEADER + '"a.jpg,never closed\n',
}


@pytest.mark.parametrize("message", MALFORMED)
def test_a_malformed_row_is_refused_by_its_line(tmp_path: Path, message: str) -> None:
    with pytest.raises(DataError, match=rf"arrivals\.csv: {message}"):
        read_arrivals(listed(tmp_path, MALFORMED[message]))


@pytest.mark.parametrize("day", ["2569-11-20", "1405-08-29", "0115-11-20", "1989-12-31", "2101-01-01"])
def test_a_year_of_another_calendar_is_refused_by_its_line(tmp_path: Path, day: str) -> None:
    told = f"line 2: arrived must be a day of the Gregorian calendar, from 1990 to 2100: '{day}'"

    with pytest.raises(DataError, match=told):
        read_arrivals(listed(tmp_path, HEADER + ROW.replace("2025-03-01", day)))


@pytest.mark.parametrize("day", ["1990-01-01", "2100-12-31"])
def test_a_day_of_this_calendar_is_taken(tmp_path: Path, day: str) -> None:
    assert read_arrivals(listed(tmp_path, HEADER + ROW.replace("2025-03-01", day)))[0].arrived == day


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "arrivals.csv").write_bytes((HEADER + ROW.replace("pug", "Köter")).encode("latin-1"))

    with pytest.raises(DataError, match=r"arrivals\.csv: not a CSV file in UTF-8"):
        read_arrivals(tmp_path / "arrivals.csv")


def test_a_missing_list_is_named_with_the_line_to_begin_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"make it with the one line address,sha256,label,arrived: .*/none\.csv"):
        read_arrivals(tmp_path / "none.csv")


def test_no_arrivals_leave_only_their_empty_list(tmp_path: Path) -> None:
    assert downloaded(tmp_path) == {}
    assert (tmp_path / "raw/arrivals.csv").read_text() == HEADER


def test_a_single_image_and_an_archive_are_added_under_their_rows(tmp_path: Path) -> None:
    archive = tar_of("more/pug_2.jpg", b"second")
    (tmp_path / "more.tgz").write_bytes(archive)
    with http_server({"/pug_1.jpg": PHOTO}) as server:
        first = f"{server.url('/pug_1.jpg')},{SHA256},pug,2025-03-01\n"
        second = f"{tmp_path}/more.tgz,{hashlib.sha256(archive).hexdigest()},,2025-03-02\n"

        assert downloaded(tmp_path, first, second) == {"00001/pug_1.jpg": PHOTO, "00002/more/pug_2.jpg": b"second"}

    assert (tmp_path / "raw/arrivals.csv").read_text() == HEADER + first + second


@pytest.mark.parametrize("name", ["pug_1.jpg", "PUG.JPEG"])
def test_what_is_named_as_an_image_is_never_unpacked(tmp_path: Path, name: str) -> None:
    data = also_a_tar(content(pet(0, 1)), {"pug_2.jpg": content(pet(0, 2))})
    (tmp_path / name).write_bytes(data)

    added = downloaded(tmp_path, f"{tmp_path}/{name},{hashlib.sha256(data).hexdigest()},pug,2025-03-01\n")

    assert added == {f"00001/{name}": data}


def test_a_missing_arrival_stops_the_stage_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"arrivals\.csv: row 2: no such file or folder.*: photos/pug_1\.jpg"):
        downloaded(tmp_path, f"{__file__},{_own_sha256()},,2025-03-01\n", ROW)

    assert not (tmp_path / "raw").exists()


def test_a_changed_arrival_stops_the_stage_by_its_row(tmp_path: Path) -> None:
    (tmp_path / "pug_1.jpg").write_bytes(b"retouched")

    with pytest.raises(ChecksumError, match=rf"row 1: wrong checksum, .* instead of sha256:{SHA256}; .*pug_1\.jpg"):
        downloaded(tmp_path, ROW.replace("photos", str(tmp_path)))


def test_an_arrival_out_of_reach_stops_the_stage_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"arrivals\.csv: row 1: can't reach 127\.0\.0\.1:9"):
        downloaded(tmp_path, ROW.replace("photos", "http://127.0.0.1:9"))


def test_a_hostile_arrival_stops_the_stage_by_its_row(tmp_path: Path) -> None:
    archive = tar_of("../evil.jpg", b"x")
    (tmp_path / "evil.tgz").write_bytes(archive)

    with pytest.raises(ArchiveError, match=r"row 1: .*evil\.tgz: holds a path that climbs out by '\.\.'"):
        downloaded(tmp_path, f"{tmp_path}/evil.tgz,{hashlib.sha256(archive).hexdigest()},,2025-03-01\n")


def test_a_withdrawn_arrival_needs_not_be_there_and_the_others_keep_their_rows(tmp_path: Path) -> None:
    row = f"{tmp_path}/kept.jpg,{hashlib.sha256(b'kept').hexdigest()},pug,2025-03-02\n"
    (tmp_path / "kept.jpg").write_bytes(b"kept")

    added = downloaded(tmp_path, ROW, row, corrected=f"{NO_CORRECTIONS}{SHA256},,pug,,,,1,2025-03-01\n")

    assert added == {"00002/kept.jpg": b"kept"}
    assert (tmp_path / "raw/arrivals.csv").read_text() == HEADER + ROW + row


def test_what_was_withdrawn_is_left_out_of_source_and_archives_and_nothing_else(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in {"a.jpg": PHOTO, "b.jpg": b"another"}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    (tmp_path / "more.tar").write_bytes(packed.getvalue())
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets/copy.jpg").write_bytes(PHOTO)
    rows = f"{NO_CORRECTIONS}{SHA256},,pug,,,,0,\n"

    added = downloaded(
        tmp_path, f"{tmp_path}/more.tar,{hashlib.sha256(packed.getvalue()).hexdigest()},,2025-03-01\n", corrected=rows
    )

    assert added == {"00001/b.jpg": b"another"}
    assert [path.name for path in (tmp_path / "raw/source").iterdir()] == ["pug_0.jpg"]
    assert (tmp_path / "raw/corrections.csv").read_text() == rows


def test_the_cached_copy_of_a_withdrawn_arrival_is_removed(tmp_path: Path) -> None:
    with http_server({"/pug_1.jpg": PHOTO}) as server:
        row = f"{server.url('/pug_1.jpg')},{SHA256},pug,2025-03-01\n"
        downloaded(tmp_path, row)
        assert PHOTO in {path.read_bytes() for path in (tmp_path / "cache").iterdir()}

        downloaded(tmp_path, row, corrected=f"{NO_CORRECTIONS}{SHA256},,pug,,,,1,2025-03-01\n")

        assert [path.read_bytes() for path in (tmp_path / "cache").iterdir()] in ([], [b""])
        assert len(server.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["http", "s3"])
def test_many_arrivals_share_a_client_and_are_fetched_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    photos = {f"/drop/{number:02d}.jpg": PHOTO + bytes([number]) for number in range(40)}
    with http_server(photos) as server:
        variables = {"AWS_ENDPOINT_URL": server.url(""), "AWS_DEFAULT_REGION": "eu-central-1", "NO_PROXY": "127.0.0.1"}
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in (variables | keys).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers the credentials of the test before
        server.pause_seconds = 0.05
        added = downloaded(tmp_path, *(row_of(server.url(path) if kind == "http" else f"s3:/{path}", photo)
                                       for path, photo in photos.items()))  # fmt: skip

        assert sorted(added.items()) == [
            (f"{row:05d}/{Path(path).name}", photo) for row, (path, photo) in enumerate(photos.items(), start=1)
        ]
        assert len(server.requests) == len(photos)
        assert server.most_at_once > 1
        assert server.num_connections <= 1 + 8  # a look whether it can be reached, and one for each thread


def test_of_arrivals_that_fail_the_first_is_told_however_late_its_answer_comes(tmp_path: Path) -> None:
    with http_server({f"/{number}.jpg": PHOTO for number in range(3)}) as server:
        server.answers["/1.jpg"] = [Answer(break_after=10, stall=True)]
        rows = [row_of(server.url(f"/{number}.jpg"), PHOTO if number < 2 else b"other") for number in range(40)]

        with pytest.raises(UnreachableError, match=r"arrivals\.csv: row 2: .*no answer for 1 s, also after 0 retries"):
            downloaded(tmp_path, *rows)

        assert len(server.requests) < len(rows)


def test_an_address_that_is_listed_twice_is_fetched_in_its_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with http_server({"/pug.jpg": PHOTO}) as server:
        first, second = (row_of(server.url("/pug.jpg"), photo) for photo in (PHOTO, b"other"))

        with pytest.raises(ChecksumError, match=r"arrivals\.csv: row 3: "):
            downloaded(tmp_path, first, first, second)

    assert "another process" not in capsys.readouterr().err


def test_a_withdrawn_arrival_takes_no_file_from_a_later_one_of_its_address(tmp_path: Path) -> None:
    with http_server({"/pug.jpg": PHOTO}) as server:
        rows = [row_of(server.url("/pug.jpg"), photo) for photo in (b"withdrawn", PHOTO)]
        gone = hashlib.sha256(b"withdrawn").hexdigest()

        added = downloaded(tmp_path, *rows, corrected=f"{NO_CORRECTIONS}{gone},,pug,,,,1,2025-03-01\n")

    assert added == {"00002/pug.jpg": PHOTO}


def test_a_corrected_label_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "pug_1.jpg").write_bytes(PHOTO)
    corrected = f"{NO_CORRECTIONS}{SHA256},Bengal,pug,,,,1,2025-03-01\n"

    added = downloaded(tmp_path, ROW.replace("photos", str(tmp_path)), corrected=corrected)

    assert added == {"00001/pug_1.jpg": PHOTO}


def test_a_list_of_corrections_that_cannot_be_right_stops_the_stage_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"corrections\.csv: line 1: expected sha256,label,dealt_as,.*, found: $"):
        downloaded(tmp_path, corrected="")


def _own_sha256() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
