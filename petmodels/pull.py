"""Bring a version to this machine: into the cache, verified, and from there into a folder, whole or not at all.

Reads the registry; leaves verified files in the cache and, when asked, a folder with them and `.petmodels.json`, the
manifest, by which the folder is known as ours and can be brought to another version later.
"""

import ctypes
import errno
import hashlib
import os
import platform
import secrets
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from petmodels.cache import Cache, place
from petmodels.disk import writing
from petmodels.documents import LONGEST_DOCUMENT_BYTES, load_payload, load_statement
from petmodels.errors import ChecksumError, FormatError, MachineError, ReadOnlyError, RequestError
from petmodels.hashing import Progress, no_progress, sha256_of_all
from petmodels.locks import lock
from petmodels.manifest import File, files_in
from petmodels.names import PULLED, blob_key, is_litter
from petmodels.parallel import at_once
from petmodels.resolve import Resolved
from petmodels.storage import NotStoredError, Storage

MANIFEST = PULLED
_DAY_SECONDS = 86_400
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def fetch(
    storage: Storage, cache: Cache, model: str, files: Iterable[File], progress: Progress = no_progress
) -> dict[str, Path]:
    """Return where in the cache each file lies, by its path in the bundle; what is missing is downloaded and verified.

    Raises ChecksumError for bytes that are not the published ones, MachineError for a full disk.
    """
    wanted = {file.sha256: file for file in files}
    _check_space(cache, sum(cache.num_missing_bytes(file.sha256, file.size_bytes) for file in wanted.values()))

    def bring(file: File) -> tuple[str, Path]:
        name = f"{file.path} of {model}"
        try:
            key = blob_key(model, file.blob)
            path = cache.fetch(
                file.sha256, file.size_bytes, name, lambda start, size: storage.download(key, start, size), progress
            )
        except NotStoredError as error:
            raise ChecksumError(f"the registry has lost this file's bytes; run petmodels verify: {name}") from error
        return file.sha256, path

    paths = dict(at_once(bring, wanted.values()))
    return {file.path: paths[file.sha256] for file in files}


def pull(storage: Storage, cache: Cache, found: Resolved, target: Path, progress: Progress = no_progress) -> Path:
    """Make `target` a folder with exactly the version's files; return it.

    An older pull in its place and the new one change places: on Linux what is there is whole at any moment, elsewhere
    it is gone for an instant. Anything else there, a file beside an older pull's too, is refused with RequestError.
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
    with writing(target):
        if target.is_mount():
            raise _mounted(target)
        if target.is_symlink() or (target.exists() and not _is_ours(target)):
            raise RequestError(f"something else is there; choose a folder that is empty or does not exist: {target}")
        if stranger := _stranger(target):
            raise RequestError(f"a file that no pull has put there would be lost; move it away: {stranger}")
    paths = fetch(storage, cache, found.manifest.model, found.manifest.files, progress)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{_here()}-{secrets.token_hex(4)}.partial")
        try:
            temporary.mkdir()
            place({temporary / path: source for path, source in paths.items()})
            with (temporary / MANIFEST).open("xb") as marker:
                marker.write(found.statement.to_bytes())
            _swap(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _turn(cache: Cache, target: Path) -> Iterator[None]:
    """Wait until no other process with this cache pulls into the same folder."""
    name = hashlib.sha256(os.fsencode(target.absolute())).hexdigest()
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
        if statement.sha256 != found.statement.sha256:
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
    """Return a file in a pulled folder that its manifest doesn't list nor the system left, None where there is none."""
    try:
        content = load_payload(load_statement((target / MANIFEST).read_bytes(), MANIFEST), MANIFEST)
        listed = {target / file.path for file in files_in(content.get("files"), MANIFEST)}
    except FileNotFoundError:
        return None  # an empty folder
    except FormatError:
        listed = set()
    listed.add(target / MANIFEST)
    known = {_composed(path) for path in listed}
    present = (path for path in sorted(target.rglob("*")) if not path.is_dir() or path.is_symlink())
    return next((path for path in present if _composed(path) not in known and not is_litter(path.name)), None)


def _composed(path: Path) -> str:
    """Return a path with accents as manifests have them; some disks of a Mac take them apart."""
    return unicodedata.normalize("NFC", str(path))


def _check_space(cache: Cache, missing_bytes: int) -> None:
    place = next(path for path in (cache.folder, *cache.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if missing_bytes > free:
        raise MachineError(f"{missing_bytes} bytes are to be downloaded and {free} are free on this disk: {place}")


def _remove_leftovers(target: Path) -> None:
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        process, _, rest = leftover.name.removeprefix(f".{target.name}.").partition("-")
        is_ours = rest.startswith(_here()) and process.isdigit()
        try:
            is_dead = not _lives(int(process)) if is_ours else leftover.stat().st_mtime < time.time() - _DAY_SECONDS
        except FileNotFoundError:
            continue
        if is_dead:
            shutil.rmtree(leftover, ignore_errors=True)


def _here() -> str:
    """Return what tells this machine's processes, or this container's, from those that write to the same disk."""
    try:
        numbers = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        numbers = 0
    return hashlib.sha256(f"{platform.node()} {numbers}".encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _swap(temporary: Path, target: Path) -> None:
    """Put `temporary` in the place of `target`; what was there is in the place of `temporary` then, or gone."""
    old = temporary.with_name(f"{temporary.name.removesuffix('.partial')}-old.partial")
    for _ in range(100):  # others may pull into the same folder at the same time; the last one wins, whole
        try:
            temporary.replace(target)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _mounted(target) from error
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.EXDEV}:
                raise
            if _exchanged(temporary, target):
                return
            if not _moved_away(target, old):
                continue  # another process has just moved it out of its own way
            try:
                temporary.replace(target)
            except OSError:
                continue
            finally:
                shutil.rmtree(old, ignore_errors=True)
            return
        else:
            return
    raise RequestError(f"other processes keep replacing this folder; choose another one: {target}")


def _moved_away(target: Path, old: Path) -> bool:
    try:
        target.replace(old)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(target)  # it came with a container's image, and overlayfs renames no such folder
    return True


def _mounted(target: Path) -> RequestError:
    return RequestError(
        f"a pull puts another folder in its place, and this is a mount point; pull into a folder in it: "
        f"{target / 'model'}"
    )


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, where the system can: Linux, but for some file systems."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
