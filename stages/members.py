"""Write the members of an archive without trusting what it says about itself.

Takes names and contents one by one; leaves plain files below a folder that the caller made, nothing else and never
elsewhere.
"""

import errno
import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from stages.errors import ArchiveError

_CHUNK_BYTES = 1 << 20
_NOISE = {".ds_store", "thumbs.db", "desktop.ini"}
_MAX_LINK_HOPS = 40  # Linux gives up after as many


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may become; `max_ratio` is bytes written for each byte of the archive."""

    max_files: int
    max_bytes: int
    max_ratio: float


@dataclass(kw_only=True)
class MemberWriter:
    """Checks every member before it is written and every byte while it is written."""

    name: str
    folder: Path
    limits: Limits
    largest_bytes: int
    num_members: int = 0
    num_files: int = 0
    num_bytes: int = 0
    links: dict[PurePosixPath, PurePosixPath] = field(default_factory=dict)

    def add_folder(self, member: str) -> None:
        self._checked(member)

    def add_file(self, member: str, content: IO[bytes], *, promised_bytes: int = 0) -> None:
        """Store one file; `promised_bytes`, its header's word, is believed only when it is too much."""
        path = self._checked(member)
        self.check_bytes(promised_bytes)
        if not _is_noise(path):
            self._store(path, content)

    def add_link(self, member: str, target: PurePosixPath) -> None:
        """Remember a link, given by its target from the archive's root, until all files are there."""
        path = self._checked(member)
        inside = PurePosixPath(os.path.normpath(target))
        if inside.is_absolute() or inside.parts[:1] == ("..",):
            self.refuse(f"a link that leads out of it, to {str(target)!r}", member)
        if path in self.links:
            self.refuse("two members of one name", member)
        if not _is_noise(path):
            self.links[path] = inside

    def finish(self) -> int:
        """Put copies in the place of links and return the number of files."""
        for path, first in self.links.items():
            target = first
            for _ in range(_MAX_LINK_HOPS):
                target = self.links.get(target, target)
            if not (self.folder / target).is_file():
                self.refuse("a link that leads to none of its files", str(path))
            with (self.folder / target).open("rb") as file:
                self._store(path, file)
        if not self.num_files:
            raise ArchiveError(f"no files in it: {self.name}")
        return self.num_files

    def check_bytes(self, more: int) -> None:
        if self.num_bytes + more > self.largest_bytes:
            limit = "max_bytes" if self.largest_bytes == self.limits.max_bytes else "max_ratio"
            value = getattr(self.limits, limit)
            raise ArchiveError(
                f"unpacks to more than {self.largest_bytes} bytes; download.{limit} is {value}, raise it if you trust "
                f"the archive: {self.name}"
            )

    def refuse(self, reason: str, member: str) -> NoReturn:
        raise ArchiveError(f"{self.name}: holds {reason}: {member!r}")

    def _checked(self, member: str) -> PurePosixPath:
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or (path.parts and path.parts[0].endswith(":")):
            self.refuse("an absolute path", member)
        if ".." in path.parts:
            self.refuse("a path that climbs out by '..'", member)
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in member):
            self.refuse("a name with control characters or of no known encoding", member)
        self.num_members += 1
        if self.num_members > self.limits.max_files:
            self.refuse(
                f"more than {self.limits.max_files} members, which is download.max_files; the first of them", member
            )
        return path

    def _store(self, path: PurePosixPath, content: IO[bytes]) -> None:
        final = self.folder / path
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with final.open("xb") as file:
                while chunk := content.read(_CHUNK_BYTES):
                    self.num_bytes += len(chunk)
                    self.check_bytes(0)
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError):
            self.refuse("two members of one name", str(path))
        except UnicodeEncodeError:
            self.refuse("a name that this locale can't write, set LANG=C.UTF-8 or PYTHONUTF8=1", str(path))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self.refuse("a name too long for this disk", str(path))
        self.num_files += 1


def _is_noise(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name.lower() in _NOISE or path.name.startswith("._")
