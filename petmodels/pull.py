"""Bring a version to this machine: into the cache, verified, and from there into a folder, whole or not at all.

Reads the registry; leaves verified files in the cache and, when asked, a folder with them and `.petmodels.json`, the
manifest, by which the folder is known as ours and can be brought to another version later.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from petmodels.cache import Cache, place
from petmodels.disk import all_below, from_the_root, writing
from petmodels.documents import LONGEST_DOCUMENT_BYTES, load_payload, load_statement
from petmodels.errors import FormatError, ReadOnlyError, RequestError
from petmodels.fetch import fetch
from petmodels.hashing import Progress, no_progress, sha256_of_all
from petmodels.locks import lock
from petmodels.manifest import files_in
from petmodels.names import is_litter
from petmodels.paths import PULLED
from petmodels.replacement import refuse_mount_point, replacement
from petmodels.resolve import Resolved
from petmodels.storage import Storage

MANIFEST = PULLED
_TRIES = 100


def pull(storage: Storage, cache: Cache, found: Resolved, target: Path, progress: Progress = no_progress) -> Path:
    """Make `target` a folder with exactly the version's files; return it.

    An older pull in its place and the new one change places, see petmodels.replacement. Anything else there, a file
    beside an older pull's too, is refused with RequestError.
    """
    if _is_around_us(target):
        raise RequestError(f"a pull puts another folder in its place, so it can't be one that you are in: {target}")
    if not holds(target, found):
        with _turn(cache, target):
            _pull(storage, cache, found, target, progress)
    return target


def _is_around_us(target: Path) -> bool:
    try:
        here = Path.cwd()
        return any(target.samefile(one) for one in (here, *here.parents))
    except (OSError, RuntimeError):  # this folder is gone, or the target a link to itself, which is refused later
        return False


def _pull(storage: Storage, cache: Cache, found: Resolved, target: Path, progress: Progress) -> None:
    if holds(target, found):
        return  # another process has brought it while we waited
    is_cache = target.is_relative_to(cache.folder)
    with writing(target, is_cache=is_cache):
        refuse_mount_point(target)
        if target.is_symlink() or (target.exists() and not _is_ours(target)):
            raise RequestError(f"something else is there; choose a folder that is empty or does not exist: {target}")
        if stranger := _stranger(target):
            raise RequestError(f"a file that no pull has put there would be lost; move it away: {stranger}")
    paths = fetch(storage, cache, found.manifest.model, found.manifest.files, progress)
    with writing(target, is_cache=is_cache), replacement(target) as folder:
        place({folder / path: source for path, source in paths.items()})
        with (folder / MANIFEST).open("xb") as marker:
            marker.write(found.statement.to_bytes())


@contextmanager
def _turn(cache: Cache, target: Path) -> Iterator[None]:
    """Wait until no other process with this cache pulls into the same folder."""
    name = hashlib.sha256(os.fsencode(from_the_root(target))).hexdigest()
    folder = cache.folder / "locks"
    with ExitStack() as held:
        with suppress(ReadOnlyError):  # then nobody takes turns, and the last one wins, whole
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock(folder / f"{name}.lock"))
        yield


def holds(target: Path, found: Resolved) -> bool:
    """Say whether a folder already is this version, every byte of it."""
    try:
        statement = load_statement((target / MANIFEST).read_bytes(), str(target / MANIFEST))
        if statement != found.statement:  # by its signatures the folder is checked when it is used
            return False
        files = found.manifest.files
        hashes = sha256_of_all(target / file.path for file in files)
        stranger = _stranger(target)
    except (OSError, FormatError):
        return False
    return hashes == [file.sha256 for file in files] and stranger is None


def _is_ours(target: Path) -> bool:
    if not target.is_dir():
        return False
    marker = target / MANIFEST
    try:
        if marker.is_file():
            load_statement(marker.read_bytes()[: LONGEST_DOCUMENT_BYTES + 1], str(marker))
            return True
        return not any(target.iterdir())
    except (OSError, FormatError):
        return False


def _stranger(target: Path) -> Path | None:
    """Return a file in a pulled folder that its manifest doesn't list nor the system left, None where there is none.

    A folder that can't be read is such a one: whatever is in it can't be seen. Where another process with another cache
    puts its own pull there meanwhile, it is looked again.
    """
    record, stranger = _record(target), None
    for _ in range(_TRIES):
        stranger = _unlisted(target, record) if record is not None else None  # an empty folder
        before, record = record, _record(target)
        if not stranger or record == before:
            break
    return stranger


def _record(target: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return (target / MANIFEST).read_bytes()
    return None


def _unlisted(target: Path, record: bytes) -> Path | None:
    try:
        content = load_payload(load_statement(record, MANIFEST), MANIFEST)
        listed = {target / file.path for file in files_in(content.get("files"), MANIFEST)}
    except FormatError:
        listed = set()
    listed.add(target / MANIFEST)
    known = {_composed(path) for path in listed}
    try:
        present = sorted(all_below(target))
    except OSError as error:
        return Path(error.filename or target)
    return next((path for path in present if _composed(path) not in known and not is_litter(path.name)), None)


def _composed(path: Path) -> str:
    """Return a path with accents as manifests have them; some disks of a Mac take them apart."""
    return unicodedata.normalize("NFC", str(path))
