"""Archives of every kind are unpacked; none writes elsewhere, fills the disk or passes for whole when it isn't."""

import gzip
import io
import os
import re
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from stages.archives import copy_tree, extract, is_archive
from stages.errors import ArchiveError
from stages.members import Limits
from stages.zip_names import zip_name

ROOT = Path(__file__).parents[2]
LIMITS = Limits(max_files=20, max_bytes=1_000_000, max_ratio=200)
FILES = {"pets/a_1.jpg": b"a" * 3000, "pets/b_2.jpg": b"b", "pets/notes.txt": b""}


def tar_bytes(*members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                tar.addfile(header, io.BytesIO(member[1]))
    return content.getvalue()


def zip_bytes(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as opened:
        for name, data in members:
            opened.writestr(name, data, compression)
    return content.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = kind
    header.linkname = target
    return header


def zipped(name: str, mode: int) -> zipfile.ZipInfo:
    header = zipfile.ZipInfo(name)
    header.create_system = 3
    header.external_attr = mode << 16
    return header


def extracted(tmp_path: Path, content: bytes, limits: Limits = LIMITS) -> dict[str, bytes]:
    """Unpack `content` and return what is there; raises what extract raises."""
    archive, folder = tmp_path / "pets.archive", tmp_path / "folder"
    archive.write_bytes(content)
    folder.mkdir()
    num_files = extract(archive, folder, limits, name="pets.archive")
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert num_files == len(files)
    return files


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_however_it_is_compressed(tmp_path: Path, mode: str) -> None:
    assert extracted(tmp_path, tar_bytes(special("pets", tarfile.DIRTYPE), *FILES.items(), mode=mode)) == FILES


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_is_unpacked_however_it_is_compressed(tmp_path: Path, compression: int) -> None:
    content = zip_bytes((zipped("pets/", stat.S_IFDIR | 0o755), b""), *FILES.items(), compression=compression)

    assert extracted(tmp_path, content) == FILES


def test_what_macos_and_windows_add_is_left_out(tmp_path: Path) -> None:
    noise = {"__MACOSX/pets/._a_1.jpg": b"x", "pets/._a_1.jpg": b"x", "pets/.DS_Store": b"x"}
    noise |= {"pets/Thumbs.db": b"x", "pets/desktop.ini": b"x", "pets/Desktop.ini": b"x"}
    link = special("pets/._b", tarfile.SYMTYPE, "a_1.jpg")

    assert extracted(tmp_path, tar_bytes(*noise.items(), *FILES.items(), link)) == FILES


def test_modes_are_not_taken_over(tmp_path: Path) -> None:
    header = tarfile.TarInfo("run.sh")
    header.mode = 0o4777

    extracted(tmp_path, tar_bytes(header))

    assert (tmp_path / "folder/run.sh").stat().st_mode & 0o7111 == 0


def test_links_inside_a_tar_become_copies(tmp_path: Path) -> None:
    links = [
        special("pets/again.jpg", tarfile.SYMTYPE, "chain.jpg"),
        special("pets/chain.jpg", tarfile.SYMTYPE, "../pets/./b_2.jpg"),
        special("hard.jpg", tarfile.LNKTYPE, "pets/b_2.jpg"),
    ]

    files = extracted(tmp_path, tar_bytes(*links, *FILES.items()))

    assert files == FILES | {"pets/again.jpg": b"b", "pets/chain.jpg": b"b", "hard.jpg": b"b"}
    assert not any(path.is_symlink() for path in (tmp_path / "folder").rglob("*"))


def zip_of(*names: bytes, extra: bytes = b"") -> bytes:
    """Pack files whose names are these bytes, without the flag that says that they are UTF-8."""
    places = [bytes([0x41 + number]) * len(name) for number, name in enumerate(names)]
    headers = [zipfile.ZipInfo(place.decode()) for place in places]
    for header in headers:
        header.extra = extra
    packed = zip_bytes(*((header, b"1") for header in headers))
    for place, name in zip(places, names, strict=True):
        packed = packed.replace(place, name)
    return packed


def unicode_path(raw: bytes, name: str) -> bytes:
    """Return Info-ZIP's field for a name that these bytes were meant to be."""
    text = name.encode()
    return struct.pack("<HHBL", 0x7075, 5 + len(text), 1, zlib.crc32(raw)) + text


@pytest.mark.parametrize(("packed", "name"), [("Grün/1.jpg".encode(), "Grün/1.jpg"), (b"Gr\x81n/1.jpg", "Grün/1.jpg")])
def test_a_name_in_a_zip_without_the_flag_is_utf_8_where_it_can_be(tmp_path: Path, packed: bytes, name: str) -> None:
    assert extracted(tmp_path, zip_of(packed)) == {name: b"1"}


def test_a_zips_unicode_path_is_taken_where_it_belongs_to_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = "Кошка/表.jpg".encode("shift_jis")

    assert extracted(tmp_path, zip_of(raw, extra=unicode_path(raw, "Кошка/表.jpg"))) == {"Кошка/表.jpg": b"1"}
    assert capsys.readouterr().err == ""


def test_a_zips_unicode_path_is_trusted_no_more_than_a_name(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"climbs out by '\.\.': '\.\./evil'"):
        extracted(tmp_path, zip_of(b"good.jpg", extra=unicode_path(b"good.jpg", "../evil")))


@pytest.mark.parametrize(("raw", "name"), [(b"d/", "d.jpg"), (b"d.jpg", "d/")])
def test_a_zips_unicode_path_says_whether_its_member_is_a_folder(tmp_path: Path, raw: bytes, name: str) -> None:
    found = extracted(tmp_path, zip_of(raw, b"x.jpg", extra=unicode_path(raw, name)))

    assert found == {one: b"1" for one in (name, "x.jpg") if not one.endswith("/")}


def test_the_flag_for_utf_8_counts_before_a_unicode_path(tmp_path: Path) -> None:
    header = zipfile.ZipInfo("Кошка.jpg")
    header.extra = unicode_path("Кошка.jpg".encode(), "Ä.jpg")

    assert extracted(tmp_path, zip_bytes((header, b"1"))) == {"Кошка.jpg": b"1"}


FLAGGED = zip_bytes(("Ä.jpg?.exe", b"1")).replace("Ä.jpg?.exe".encode(), "Ä.jpg\0.exe".encode())


@pytest.mark.parametrize("packed", [FLAGGED, zip_of(b"\x8e.jpg\0.exe"), zip_of(b"a.jpg\0.exe")])
def test_a_zips_name_does_not_end_at_a_nul(tmp_path: Path, packed: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"control characters or of no known encoding: '[Äa]\.jpg\\x00\.exe'"):
        extracted(tmp_path, packed)


@pytest.mark.parametrize("field", [unicode_path("Grün.jpg".encode(), "é").replace(b"\xc3", b"\xff"), b"up\3\0abc"])
def test_a_broken_unicode_path_is_passed_over(field: bytes) -> None:
    member = zipfile.ZipInfo("Grün.jpg".encode().decode("cp437"))  # newer Pythons open no archive with such a field
    member.extra = field

    assert zip_name(member) == "Grün.jpg"


FOREIGN = b"\x8epfel/1.jpg"
NO_UNICODE_PATHS = {
    "of another name": unicode_path(b"other", "Кошка/1.jpg"),
    "of a later version": unicode_path(FOREIGN, "Кошка/1.jpg").replace(b"\x01", b"\x02", 1),
    "other field": b"\x55\x54\x05\x00\x01abcd",
}


@pytest.mark.parametrize("extra", NO_UNICODE_PATHS.values(), ids=NO_UNICODE_PATHS)
def test_a_field_that_is_no_unicode_path_of_a_name_is_passed_over(tmp_path: Path, extra: bytes) -> None:
    assert extracted(tmp_path, zip_of(FOREIGN, extra=extra)) == {"Äpfel/1.jpg": b"1"}


def test_names_of_unknown_encoding_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("Кошка/1.jpg".encode("cp866"), "Кошка/2.jpg".encode("cp866"), b"plain.jpg", "é.jpg".encode())

    extracted(tmp_path, zip_of(*names))

    told = (
        "2 names of unknown encoding are read as cp437, if that is wrong save the archive with UTF-8 names, the first: "
    )
    assert capsys.readouterr().err == f"download: pets.archive: {told}{names[0].decode('cp437')}\n"


def test_a_line_about_names_can_not_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zip").write_bytes(zip_of(FOREIGN))
    (tmp_path / "folder").mkdir()

    extract(tmp_path / "zip", tmp_path / "folder", LIMITS, name="pets\x1b[2J.zip")

    assert capsys.readouterr().err.startswith("download: pets\\x1b[2J.zip: 1 name of unknown encoding is read as cp437")


@pytest.mark.parametrize("name", ["表/1.jpg", "猫ソ/1.jpg"])
def test_half_of_a_character_is_no_folders_end(tmp_path: Path, name: str) -> None:
    told = "a backslash that may be half of a character; save the archive with UTF-8 names"

    with pytest.raises(ArchiveError, match=told):
        extracted(tmp_path, zip_of(name.encode("cp932")))


def test_a_backslash_ends_a_folders_name_of_unknown_encoding_too(tmp_path: Path) -> None:
    assert extracted(tmp_path, zip_of("Bärin\\1.jpg".encode("cp437"))) == {"Bärin/1.jpg": b"1"}


def test_a_link_inside_a_zip_becomes_a_copy(tmp_path: Path) -> None:
    link = (zipped("pets/link.jpg", stat.S_IFLNK | 0o777), b"b_2.jpg")

    assert extracted(tmp_path, zip_bytes(*FILES.items(), link))["pets/link.jpg"] == b"b"


HOSTILE_TARS = {
    "climbs out by '..': '../evil'": ("../evil", b"x"),
    "climbs out by '..': 'pets/../../evil'": ("pets/../../evil", b"x"),
    r"climbs out by '..': '..\\evil'": ("..\\evil", b"x"),
    "an absolute path: '/etc/evil'": ("/etc/evil", b"x"),
    "an absolute path: 'C:/evil'": ("C:/evil", b"x"),
    "control characters": ("a\nb.jpg", b"x"),
    "of no known encoding": ("a\udcff.jpg", b"x"),
    "a name too long for this disk": ("n" * 300, b"x"),
    "leads out of it, to 'pets/../../evil'": special("pets/link", tarfile.SYMTYPE, "../../evil"),
    "leads out of it, to '/etc/passwd'": special("pets/link", tarfile.SYMTYPE, "/etc/passwd"),
    "leads out of it, to '../evil'": special("link", tarfile.LNKTYPE, "../evil"),
    "leads to none of its files: 'link'": special("link", tarfile.SYMTYPE, "missing"),
    "leads to none of its files: 'loop'": special("loop", tarfile.SYMTYPE, "loop"),
    "leads to none of its files: 'folder'": special("folder", tarfile.SYMTYPE, "pets"),
    "device, pipe or something unknown: 'disk'": special("disk", tarfile.BLKTYPE),
    "device, pipe or something unknown: 'tty'": special("tty", tarfile.CHRTYPE),
    "device, pipe or something unknown: 'pipe'": special("pipe", tarfile.FIFOTYPE),
    "two members of one name: 'pets/b_2.jpg'": ("pets/b_2.jpg", b"x"),
    "two members of one name: 'pets/b_2.jpg/c'": ("pets/b_2.jpg/c", b"x"),
    "two members of one name: 'pets/a_1.jpg'": special("./pets/a_1.jpg", tarfile.SYMTYPE, "b_2.jpg"),
}


@pytest.mark.parametrize("message", HOSTILE_TARS)
def test_a_hostile_tar_is_refused_by_its_member_and_writes_nothing_elsewhere(tmp_path: Path, message: str) -> None:
    content = tar_bytes(*FILES.items(), HOSTILE_TARS[message])

    with pytest.raises(ArchiveError, match=re.escape(message)):
        extracted(tmp_path, content)

    assert {path.name for path in tmp_path.iterdir()} == {"pets.archive", "folder"}


def test_two_links_of_one_name_are_refused(tmp_path: Path) -> None:
    link = special("link", tarfile.SYMTYPE, "pets/b_2.jpg")

    with pytest.raises(ArchiveError, match="two members of one name: 'link'"):
        extracted(tmp_path, tar_bytes(*FILES.items(), link, link))


def test_a_folder_that_climbs_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"climbs out by '\.\.': '\.\./evil'"):
        extracted(tmp_path, tar_bytes(special("../evil", tarfile.DIRTYPE), *FILES.items()))


HOSTILE_ZIPS = {
    "climbs out by '..': '../evil'": ("../evil", b"x"),
    "an absolute path: '/evil'": ("/evil", b"x"),
    "leads out of it, to '../evil'": (zipped("link", stat.S_IFLNK | 0o777), b"../evil"),
    "device, pipe or something unknown: 'pipe'": (zipped("pipe", stat.S_IFIFO | 0o644), b""),
    "broken or truncated archive ('utf-8' codec can't decode": (zipped("link", stat.S_IFLNK | 0o777), b"\xff\xff"),
}


@pytest.mark.parametrize("message", HOSTILE_ZIPS)
def test_a_hostile_zip_is_refused_by_its_member_and_writes_nothing_elsewhere(tmp_path: Path, message: str) -> None:
    with pytest.raises(ArchiveError, match=re.escape(message)):
        extracted(tmp_path, zip_bytes(*FILES.items(), HOSTILE_ZIPS[message]))

    assert {path.name for path in tmp_path.iterdir()} == {"pets.archive", "folder"}


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # zipfile warns whoever packs such a thing
def test_a_zip_with_two_members_of_one_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"two members of one name: 'a\.jpg'"):
        extracted(tmp_path, zip_bytes(("a.jpg", b"1"), ("a.jpg", b"2")))


def test_an_encrypted_zip_is_refused_by_its_member(tmp_path: Path) -> None:
    content = bytearray(zip_bytes(("a.jpg", b"secret")))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1

    with pytest.raises(ArchiveError, match=r"an encrypted file; pack it again without a password: 'a\.jpg'"):
        extracted(tmp_path, bytes(content))


def test_a_bomb_of_many_files_is_refused(tmp_path: Path) -> None:
    members = [(f"{number}.jpg", b"x") for number in range(21)]

    with pytest.raises(ArchiveError, match=r"more than 20 members, which is download\.max_files.*'20\.jpg'"):
        extracted(tmp_path, tar_bytes(*members))


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_a_bomb_of_many_bytes_is_refused_before_it_is_written(tmp_path: Path, pack: object) -> None:
    noise = os.urandom(1000)
    content = pack(("a.jpg", noise), ("b.jpg", noise))  # type: ignore[operator]

    with pytest.raises(ArchiveError, match=r"unpacks to more than 1500 bytes; download\.max_bytes is 1500"):
        extracted(tmp_path, content, Limits(max_files=20, max_bytes=1500, max_ratio=200))

    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("mode", ["zip", "w:gz", "w:bz2", "w:xz"])
def test_a_bomb_that_grows_too_much_is_refused(tmp_path: Path, mode: str) -> None:
    zeros = ("zeros.jpg", bytes(900_000))
    content = zip_bytes(zeros) if mode == "zip" else tar_bytes(zeros, mode=mode)

    with pytest.raises(ArchiveError, match=r"download\.max_ratio is 200"):
        extracted(tmp_path, content)

    assert list((tmp_path / "folder").iterdir()) == []


def test_a_bomb_behind_the_end_of_a_tar_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(tar_bytes(("a.jpg", b"x")) + bytes(3_000_000))

    with pytest.raises(ArchiveError, match=r"unpacks to more than"):
        extracted(tmp_path, content)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_bytes(("a.jpg", b"x" * 5000)))
    start = content.index(b"PK\x01\x02") + 24
    content[start : start + 4] = (10).to_bytes(4, "little")

    with pytest.raises(ArchiveError, match=r"broken or truncated archive .*Bad CRC-32"):
        extracted(tmp_path, bytes(content))


def test_large_headers_are_not_kept_in_memory(tmp_path: Path) -> None:
    members = []
    for number in range(8):
        header = tarfile.TarInfo(f"{number}.jpg")
        header.pax_headers = {"comment": "x" * 4_000_000}
        members.append(header)
    content = gzip.compress(tar_bytes(*members), compresslevel=1)

    tracemalloc.start()
    extracted(tmp_path, content, Limits(max_files=20, max_bytes=1_000_000, max_ratio=1e6))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 24_000_000


def test_a_header_that_claims_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    header = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    header.size = 1 << 33
    content = header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)

    with pytest.raises(ArchiveError, match="broken or truncated archive"):
        extracted(tmp_path, content)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_tar_never_passes_for_whole(tmp_path: Path, mode: str, share: float) -> None:
    content = tar_bytes(*[(f"{number}.jpg", os.urandom(2000)) for number in range(10)], mode=mode)
    kept = content[: int(share * 25_000)] if mode == "w" else content[: int(share * len(content))]

    with pytest.raises(ArchiveError, match=r"broken or truncated archive .*; get it again: pets\.archive"):
        extracted(tmp_path, kept)


def test_a_gzip_without_its_last_byte_never_passes_for_whole(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="broken or truncated archive"):
        extracted(tmp_path, tar_bytes(*FILES.items(), mode="w:gz")[:-1])


def test_a_gzip_with_a_flipped_bit_never_passes_for_whole(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(tar_bytes(("a.jpg", os.urandom(5000))), compresslevel=0))
    content[3000] ^= 1

    with pytest.raises(ArchiveError, match=r"broken or truncated archive .*CRC check failed"):
        extracted(tmp_path, bytes(content))


def test_a_tar_with_a_damaged_header_in_its_middle_never_passes_for_whole(tmp_path: Path) -> None:
    content = bytearray(tar_bytes(("a.jpg", b"x"), ("b.jpg", b"y")))
    content[1024] ^= 1

    with pytest.raises(ArchiveError, match="no end mark"):
        extracted(tmp_path, bytes(content))


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="broken or truncated archive"):
        extracted(tmp_path, zip_bytes(*FILES.items())[:-30])


NO_ARCHIVES = {
    "an empty file": b"",
    "a web page": b"\n <!DOCTYPE html><p>Sign in</p>",
    r"a file that begins with b'\\x89PNG": b"\x89PNG\r\n\x1a\n" + bytes(600),
}


@pytest.mark.parametrize("message", NO_ARCHIVES)
def test_what_is_no_archive_is_told_by_its_first_bytes(tmp_path: Path, message: str) -> None:
    with pytest.raises(ArchiveError, match=rf"not a tar .* archive but {message}.*: pets\.archive"):
        extracted(tmp_path, NO_ARCHIVES[message])

    assert not is_archive(tmp_path / "pets.archive")


@pytest.mark.parametrize("content", [tar_bytes(special("empty", tarfile.DIRTYPE)), zip_bytes()])
def test_an_archive_without_files_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"no files in it: pets\.archive"):
        extracted(tmp_path, content)


@pytest.mark.parametrize("kind", ["gnu tar", "pax tar", "zip", "folder"])
def test_a_locale_that_cant_write_a_name_is_not_called_a_broken_archive(tmp_path: Path, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets/Bärin.jpg").touch()
    with tarfile.open(tmp_path / "gnu tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(tmp_path / "pets", "pets")
    with tarfile.open(tmp_path / "pax tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(tmp_path / "pets", "pets")
    (tmp_path / "zip").write_bytes(zip_bytes(("pets/Bärin.jpg", b"")))
    unpack = "copy_tree(Path('pets'), Path('folder'), limits)"
    if kind != "folder":
        unpack = f"extract(Path('{kind}'), Path('folder'), limits, name='pets')"
    code = (
        "from pathlib import Path\nfrom stages.archives import copy_tree, extract\nfrom stages.members import Limits\n"
        f"limits = Limits(max_files=20, max_bytes=10**6, max_ratio=200)\n{unpack}"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}

    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )

    told = "pets: holds a name that this locale can't write, set LANG=C.UTF-8 or PYTHONUTF8=1: "
    assert told in ended.stderr.decode().splitlines()[-1]


def test_a_full_disk_is_not_called_a_broken_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stages.members.MemberWriter.add_file", full)

    with pytest.raises(OSError, match="No space left on device"):
        extracted(tmp_path, tar_bytes(*FILES.items()))


def test_a_folder_is_copied_with_what_its_links_lead_to(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    (source / "cats").mkdir(parents=True)
    folder.mkdir()
    (tmp_path / "elsewhere.jpg").write_bytes(b"e")
    (source / "cats/a.jpg").write_bytes(b"a")
    (source / "cats/.DS_Store").write_bytes(b"x")
    (source / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")

    assert copy_tree(source, folder, LIMITS) == 2
    assert (folder / "link.jpg").read_bytes() == b"e"
    assert not (folder / "link.jpg").is_symlink()


@pytest.mark.parametrize("kind", ["pipe", "folder link", "broken link"])
def test_a_folder_with_something_else_than_files_is_refused(tmp_path: Path, kind: str) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.mkdir()
    folder.mkdir()
    if kind == "pipe":
        os.mkfifo(source / "odd")
    else:
        (source / "odd").symlink_to(tmp_path if kind == "folder link" else tmp_path / "missing")

    told = "a link to a folder" if kind == "folder link" else "neither a file nor a folder"
    with pytest.raises(ArchiveError, match=f"{told}; remove it or put a copy there: 'odd'"):
        copy_tree(source, folder, LIMITS)


def test_a_folder_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.mkdir()
    folder.mkdir()
    (source / "large.jpg").write_bytes(bytes(2000))

    with pytest.raises(ArchiveError, match=r"download\.max_bytes is 1000"):
        copy_tree(source, folder, Limits(max_files=20, max_bytes=1000, max_ratio=200))


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        copy_tree(tmp_path / "missing", tmp_path, LIMITS)
