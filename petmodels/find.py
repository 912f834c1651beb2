"""Find the versions that were trained on an image, or that show it: by the lists that travel with each bundle.

Reads of each version its manifest and two small files, `seen_images.csv` and `shown_images.csv`; leaves these in the
cache. The lists know originals by their SHA-256, and copies of one picture by the name of their group.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from petmodels.bundle import SEEN, SHOWN
from petmodels.cache import Cache
from petmodels.errors import FormatError, RequestError, TrustError
from petmodels.fetch import fetch
from petmodels.hashing import sha256_of
from petmodels.listing import Listed
from petmodels.manifest import File
from petmodels.names import is_sha256
from petmodels.parallel import at_once
from petmodels.storage import Storage

TRAINED, SHOWS = "trained on", "shows"
_LISTS = {SEEN: TRAINED, SHOWN: SHOWS}

Match = tuple[bool, str]


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a version has to do with an image: it was `trained on` it, or chosen by it; or it `shows` it, in `file`.

    `is_copy` says that it isn't the very file that was asked for, but one of the same group: a copy, or an image of
    the same subject where the data's owner has named subjects.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    how: str
    is_copy: bool
    file: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """The versions that have to do with an image, newest first, and those of which it can't be known, a line each."""

    sha256: str
    uses: tuple[Use, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class _List:
    model: str
    listed: Listed
    how: str
    file: File

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.file.sha256


@dataclass(frozen=True)
class _Read:
    """What a list has of the image and of some groups, and where it lies; or why it can't be used."""

    path: Path | None
    groups: frozenset[str]
    matches: frozenset[Match]
    error: str = ""


def hash_named(image: str | Path) -> str:
    """Return the SHA-256 that a text is, or that of the file on this machine that it names."""
    if is_sha256(image):
        return str(image)
    try:
        return sha256_of(Path(image))
    except (OSError, ValueError) as error:
        raise RequestError(f"give a file on this machine, or a SHA-256 in 64 digits of 0-9a-f: {image}") from error


def find(storage: Storage, cache: Cache, sha256: str, models: Mapping[str, Sequence[Listed]]) -> Found:
    """Return what the listed versions of some models have to do with an image.

    What is withdrawn, broken or without a list is said in `unknown` and hides nothing else.
    """
    lists = [one for model, versions in models.items() for listed in versions for one in _lists(model, listed)]
    unknown = [line for model, versions in models.items() for listed in versions for line in _lacking(model, listed)]
    files = {one.key: one for one in lists}
    # An image's group is known from any version that lists it; one of that group is its copy in all of them. So each
    # list is read by what the others have told, and again where one tells more later: most are read once.
    groups = {sha256}
    found = at_once(lambda one: _read(storage, cache, one, sha256, groups), files.values(), is_left_when_ended=True)
    read = dict(zip(files, found, strict=True))
    matches = {key: _matches(one, sha256, groups) for key, one in read.items() if one.path}
    unknown += [f"{one.model}@{one.listed.version}: {read[one.key].error}" for one in lists if one.key not in matches]
    uses = [_use(one, match) for one in lists for match in sorted(matches.get(one.key, ()))]
    return Found(sha256=sha256, uses=tuple(uses), unknown=tuple(unknown))


def _lists(model: str, listed: Listed) -> list[_List]:
    files = {file.path: file for file in listed.manifest.files} if listed.manifest else {}
    return [_List(model, listed, how, files[name]) for name, how in _LISTS.items() if name in files]


def _lacking(model: str, listed: Listed) -> list[str]:
    """Return a line when a version has not both lists."""
    name = f"{model}@{listed.version}"
    if listed.manifest is None:
        return [f"{name}: {listed.tombstone.told if listed.tombstone else listed.error}"]
    there = {file.path for file in listed.manifest.files}
    missing = [file for file in _LISTS if file not in there]
    return [f"{name}: its bundle has no {' and no '.join(missing)}"] if missing else []


def _read(storage: Storage, cache: Cache, one: _List, sha256: str, groups: set[str]) -> _Read:
    """Read a list once to its end, for the image and for all of the `groups`, to which its own are added."""
    try:
        path = fetch(storage, cache, one.model, [one.file])[one.file.path]
        return _scanned(path, one.file.path, sha256, groups)
    except TrustError as error:
        return _Read(None, frozenset(), frozenset(), str(error))


def _scanned(path: Path, name: str, sha256: str, groups: set[str]) -> _Read:
    asked, told, matches = frozenset(groups), set[str](), set[Match]()
    for found, group, file in _rows(path, name):
        if found == sha256 and group:
            told.add(group)
        if found == sha256 or group in asked:
            matches.add((found != sha256, file))
    groups |= told  # at the end: a list that can't be read to there tells nothing
    return _Read(path, asked, frozenset(matches))


def _rows(path: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a list as hash, group and file; a list may be larger than what should be held in memory."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if not set(header) >= {"sha256", "group"}:
                raise FormatError(f"{name} lacks a column sha256 or group")
            sha256, group = header.index("sha256"), header.index("group")
            place = header.index("file") if "file" in header else -1
            for row in reader:
                cells = row if len(row) == len(header) else [*row, *[""] * len(header)]
                yield cells[sha256], cells[group], cells[place] if place >= 0 else ""
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{name} is no list that can be read: {error}") from error


def _matches(read: _Read, sha256: str, groups: set[str]) -> frozenset[Match]:
    """Return a list's matches for all of the groups; it is read again where it was read for fewer."""
    if read.path is None or read.groups == groups:
        return read.matches
    return _scanned(read.path, read.path.name, sha256, groups).matches


def _use(one: _List, match: Match) -> Use:
    is_copy, file = match
    return Use(
        model=one.model, version=one.listed.version, aliases=one.listed.aliases, how=one.how, is_copy=is_copy, file=file
    )
