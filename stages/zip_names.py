"""Say what a zip's members are called: a name is UTF-8 by its flag, or in whatever encoding its packer had.

Reads the headers that zipfile has read; leaves nothing.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Sequence

_IS_UTF_8 = 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's field; the zipfile of newer Pythons reads it, too
_FIELD, _PATH = struct.Struct("<HH"), struct.Struct("<BL")


def zip_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name as its packer meant it, as far as the archive says.

    `filename` isn't read: it ends at a NUL, and in newer Pythons the field is in it whatever the flag says.
    """
    return member.orig_filename if member.flag_bits & _IS_UTF_8 else (_told(member) or member.orig_filename)


def is_guess(member: zipfile.ZipInfo) -> bool:
    """Say whether a member's name is read as cp437, because nothing says in which encoding it was written."""
    return not (member.flag_bits & _IS_UTF_8 or _told(member))


def is_torn(member: zipfile.ZipInfo) -> bool:
    """Say whether a backslash in a name of unknown encoding may be half of a character, as in Japanese ones.

    Such a half follows a byte that isn't ASCII; behind any other one the backslash ends a folder's name.
    """
    return is_guess(member) and re.search(r"[^\x00-\x7f]\\", member.orig_filename) is not None


def told_guesses(guesses: Sequence[str]) -> str:
    """Return a line about names that are guesses."""
    noun = "1 name of unknown encoding is" if len(guesses) == 1 else f"{len(guesses)} names of unknown encoding are"
    return f"{noun} read as cp437, if that is wrong save the archive with UTF-8 names, the first: {guesses[0]}"


def _told(member: zipfile.ZipInfo) -> str:
    """Return the name that Info-ZIP's field gives, or that the bytes are; macOS writes UTF-8 and sets no flag."""
    raw = member.orig_filename.encode("cp437")  # as zipfile has read them
    return _text(_unicode_path(member.extra, raw)) or _text(raw)


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """Return the field's name, b"" without one or with another name's: some tools rename and leave the field."""
    while len(extra) >= _FIELD.size:
        kind, length = _FIELD.unpack_from(extra)
        content, extra = extra[_FIELD.size : _FIELD.size + length], extra[_FIELD.size + length :]
        if kind == _UNICODE_PATH and len(content) > _PATH.size and _PATH.unpack_from(content) == (1, zlib.crc32(raw)):
            return content[_PATH.size :]
    return b""


def _text(raw: bytes) -> str:
    """Return what the bytes are as UTF-8, "" where they are none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
