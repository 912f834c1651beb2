"""Say which side an archive's own lists give to an image.

Reads trainval.txt and test.txt in `annotations/`; leaves nothing.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.labels import spelled


@dataclass(frozen=True)
class OfficialLists:
    """Both lists: side and name of each line, by all that the line may call an image."""

    lines: Mapping[str, tuple[str, str]]

    @property
    def names(self) -> list[str]:
        """The images' names in the order of the lines, each once."""
        return list(dict.fromkeys(name for _, name in self.lines.values()))

    def side_of(self, path: PurePosixPath) -> str:
        """Return `trainval` or `test` for an image by its path below the source, "" without a line."""
        return self._line_of(path)[0]

    def unused(self, paths: Iterable[PurePosixPath]) -> list[str]:
        """Return the names that are none of these images'."""
        used = {self._line_of(path)[1] for path in (paths if self.lines else ())}
        return [name for name in self.names if name not in used]

    def _line_of(self, path: PurePosixPath) -> tuple[str, str]:
        """Return an image's line.

        Whole or without its first folders, with or without its suffix; the longest counts, as lists may say `ok/6` and
        `defect/6`.
        """
        parts = PurePosixPath(spelled(str(path))).parts if self.lines else ()
        tails = (PurePosixPath(*parts[first:]) for first in range(len(parts)))
        names = (name for tail in tails for name in (str(tail), str(tail.with_suffix(""))))
        return next((self.lines[name] for name in names if name in self.lines), ("", ""))


def official_lists(source: Path) -> OfficialLists:
    """Read the lists of a source, as many as there are.

    A line is an image's name, or that and numbers; the pets' lists have it without folder and suffix.
    """
    lines: dict[str, tuple[str, str]] = {}
    for side in ("trainval", "test"):
        for listing in sorted(source.glob(f"**/annotations/{side}.txt")):
            for line in _lines(listing):
                first, *others = re.split(r"[ \t]+", line)
                if all(other.isdigit() for other in others):
                    lines |= dict.fromkeys((_plain(line), _plain(first)), (side, _plain(first)))
                else:
                    lines[_plain(line)] = (side, _plain(line))
    return OfficialLists(lines)


def _lines(listing: Path) -> Iterator[str]:
    """Yield the lines that aren't empty and no remarks, of text as editors save it.

    What is no UTF-8 is read as names of files are. Blanks of other scripts, at which str.split ends a word and
    str.splitlines a line, may be part of a name, but not its end.
    """
    for line in listing.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines():
        text = line.decode("utf-8", "surrogateescape").strip()
        if text and not text.startswith("#"):
            yield text


def _plain(name: str) -> str:
    return spelled(name.replace("\\", "/").removeprefix("./"))
