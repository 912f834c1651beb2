"""Unpack a tar or zip archive, or copy a folder.

Reads one archive or folder; leaves its files below a folder that the caller made. What its members may be, and how much
they may be, is checked by the MemberWriter. Longer than most modules, because each format stands here with the ways in
which the standard library trusts it too much.
"""

import bz2
import gzip
import lzma
import os
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn, cast

from stages.errors import ArchiveError, printable
from stages.members import Limits, MemberWriter
from stages.zip_names import is_guess, is_torn, told_guesses, zip_name

_CHUNK_BYTES = 1 << 20
_LARGEST_READ_BYTES = 1 << 24
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
_BROKEN_HEADER = (struct.error, ValueError, OverflowError, RecursionError)  # what the two modules let through


def is_archive(path: Path) -> bool:
    """Tell by its bytes, not by its name, whether a file is, or begins like, a tar (also compressed) or a zip."""
    head = _head(path)
    return head.startswith((*_ZIP, *_COMPRESSED)) or _is_tar_header(head)


def extract(archive: Path, folder: Path, limits: Limits, *, name: str) -> int:
    """Write the archive's files below `folder`, an existing empty one, and return how many; messages say `name`.

    Modes, owners and times are not taken over; links become copies of the files they lead to; what macOS and Windows
    add (`__MACOSX`, `._x`, `.DS_Store`, `Thumbs.db`, `desktop.ini`) is left out. Raises ArchiveError for a broken
    archive, for one beyond the limits, and for a member that is absolute, climbs out by `..`, leads out by a link, is a
    device, encrypted or there twice.
    """
    if not is_archive(archive):
        raise ArchiveError(f"not a tar (also gz, bz2, xz) or zip archive but {_first_bytes(archive)}: {name}")
    largest = min(limits.max_bytes, int(limits.max_ratio * archive.stat().st_size))
    writer = MemberWriter(name=name, folder=folder, limits=limits, largest_bytes=largest)
    unpack = _unzip if _head(archive).startswith(_ZIP) else _untar
    try:
        unpack(archive, writer)
    except (OSError, *_BROKEN, *_BROKEN_HEADER) as error:
        # gzip and bz2 report bad bytes as an OSError without a number; one with a number is the disk's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(f"broken or truncated archive ({_one_line(error)}); get it again: {name}") from error
    return writer.finish()


def copy_tree(source: Path, folder: Path, limits: Limits) -> int:
    """Copy the files below `source` into `folder`, an existing empty one, and return how many.

    A link to a file is copied as that file, wherever it leads: the tree is the user's own. Raises ArchiveError for a
    link to a folder, a device, or a tree beyond the limits.
    """
    writer = MemberWriter(name=str(source), folder=folder, limits=limits, largest_bytes=limits.max_bytes)
    for parent, folders, files in os.walk(source, onerror=_raise):
        folders.sort()
        for child in sorted(files + [folder for folder in folders if Path(parent, folder).is_symlink()]):
            path = Path(parent, child)
            # Whatever the locale reads in a name, as tars and zips have them.
            member = os.fsencode(path.relative_to(source)).decode(errors="surrogateescape")
            if not path.is_file():
                kind = "a link to a folder" if path.is_dir() else "neither a file nor a folder"
                writer.refuse(f"{kind}; remove it or put a copy there", member)
            with path.open("rb") as file:
                writer.add_file(member, file)
    return writer.finish()


class _Stream:
    """What tarfile reads from: a header may claim any length, and tarfile would read as much into memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, num_bytes: int) -> bytes:
        if num_bytes > _LARGEST_READ_BYTES:
            raise tarfile.ReadError(f"a header of {num_bytes} bytes")
        return self._stream.read(num_bytes)


def _untar(archive: Path, writer: MemberWriter) -> None:
    open_stream = next((known for magic, known in _COMPRESSED.items() if _head(archive).startswith(magic)), _open_plain)
    # tarfile itself never writes here, so its extraction filters have nothing to filter.
    with (
        open_stream(archive) as file,
        tarfile.open(fileobj=cast("IO[bytes]", _Stream(file)), mode="r:", encoding="utf-8") as tar,
    ):
        while member := tar.next():
            _add_member(tar, member, writer)
            cast("Any", tar).members.clear()  # it keeps all of them, and a header may be megabytes long
        for num_bytes in _rest(file, tar.offset):
            writer.check_bytes(num_bytes)


def _add_member(tar: tarfile.TarFile, member: tarfile.TarInfo, writer: MemberWriter) -> None:
    if member.isdir():
        writer.add_folder(member.name)
    elif member.issym():
        writer.add_link(member.name, PurePosixPath(member.name).parent / member.linkname)
    elif member.islnk():
        writer.add_link(member.name, PurePosixPath(member.linkname))
    elif member.isreg():
        content = tar.extractfile(member)
        assert content is not None
        writer.add_file(member.name, content, promised_bytes=member.size)
    else:
        writer.refuse("a device, pipe or something unknown", member.name)


def _rest(file: IO[bytes], offset: int) -> Iterator[int]:
    """Read on from the end mark, yielding byte counts: at a damaged header or a cut tarfile ends without a word."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark")
    num_bytes = 0
    while chunk := file.read(_CHUNK_BYTES):  # to the very end, where gzip keeps its checksum
        num_bytes += len(chunk)
        yield num_bytes


def _unzip(archive: Path, writer: MemberWriter) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = zip_name(member)
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the packer knows no such thing
            if member.flag_bits & 0x1:
                writer.refuse("an encrypted file; pack it again without a password", name)
            if is_torn(member):
                writer.refuse("a backslash that may be half of a character; save the archive with UTF-8 names", name)
            if kind not in {0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR}:
                writer.refuse("a device, pipe or something unknown", name)
            if name.endswith("/"):
                writer.add_folder(name)
                continue
            with opened.open(member) as content:
                if kind == stat.S_IFLNK:
                    target = content.read(_CHUNK_BYTES).decode()
                    writer.add_link(name, PurePosixPath(name).parent / target)
                else:
                    writer.add_file(name, content, promised_bytes=member.file_size)
        if guesses := [zip_name(member) for member in opened.infolist() if is_guess(member)]:
            print(printable(f"download: {writer.name}: {told_guesses(guesses)}"), file=sys.stderr)


def _first_bytes(path: Path) -> str:
    head = _head(path)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return f"a file that begins with {head[:8]!r}" if head else "an empty file"


def _is_tar_header(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _raise(error: OSError) -> NoReturn:
    raise error
