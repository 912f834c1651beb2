"""Paths that strangers' manifests claim: what is allowed, so that they mean the same files on every system.

Refused is what leaves the folder, what Windows, macOS or Linux can't store or takes for another file, and what two
systems would not agree about. docs/registry-format.md has the list.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from petmodels.errors import FormatError

# Where a pulled folder keeps its manifest; no version may bring a file of that name.
PULLED = ".petmodels.json"
LONGEST_PATH_BYTES = 500
# Linux, and so most disks of the network, take no longer name.
LONGEST_PART_BYTES = 255
_ODD = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?"<>|\ud800-\udfff]')
# Of Microsoft's page "Naming Files, Paths, and Namespaces"; a space before the ending changes nothing for Windows.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE | re.ASCII)


def check_paths(paths: Iterable[str], where: str) -> None:
    """Raise FormatError unless all paths stay inside a folder on any system and no two are the same file on any."""
    seen: dict[str, str] = {}
    for path in paths:
        _check_path(path, where)
        folded = unicodedata.normalize("NFC", path).casefold()
        if PULLED in folded.split("/"):
            raise FormatError(f"{where} lists a file by the name that a pulled folder's manifest has: {path!r}")
        if folded in seen:
            raise FormatError(f"{where} lists a file twice: {path!r}")
        seen[folded] = path
    for path in seen:
        for parent in PurePosixPath(path).parents:
            if str(parent) in seen:
                raise FormatError(f"{where} lists a path both as a file and as a folder: {str(parent)!r}")


def _check_path(path: str, where: str) -> None:
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or _ODD.search(path):
        raise FormatError(f"{where} lists a file that could leave its folder: {path[:200]!r}")
    if len(path.encode()) > LONGEST_PATH_BYTES or any(len(part.encode()) > LONGEST_PART_BYTES for part in parts):
        raise FormatError(f"{where} lists a file by a longer name than every system takes: {path[:200]!r}")
    if any(part[-1] in ". " or _DEVICE.fullmatch(part) for part in parts):
        raise FormatError(f"{where} lists a file by a name that Windows can't keep: {path[:200]!r}")
