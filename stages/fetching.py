"""Fetch a file to this machine and check its bytes before anyone opens them.

Reads what an address names. Leaves in the cache the verified file, or after a failure the part that came, from which
the next try, or the next run, goes on. Longer than most modules, because what one piece does the others rely on.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stages.addresses import kind_of, shown
from stages.checksums import check_bytes, wrong_size
from stages.errors import ChecksumError, SourceError, UnreachableError, printable
from stages.sources import BrokenOffError, Position, Servers

LONGEST_PAUSE_SECONDS = 60.0  # also for a server that asks for more by Retry-After
REPORT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Fetches files into `cache`; gives up after `retries` failures in a row that brought no new bytes.

    Threads may share it, and with it the connections to the servers.
    """

    cache: Path
    retries: int
    timeout_seconds: float
    max_bytes: int
    first_pause_seconds: float = 1.0
    servers: Servers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", Servers(self.timeout_seconds))

    def file(self, address: str, *, checksum: str | None, size_bytes: int | None = None) -> Path:
        """Return the path of the address' file, verified; a file of this machine stays where it is.

        Raises SourceError when there is none, UnreachableError when it can't be had now, ChecksumError when it is
        another. Two processes may ask for one address at once: the second waits and finds what the first brought.
        """
        if kind_of(address) == "path":
            path = Path(os.path.expanduser(address))  # noqa: PTH111 - pathlib's raises where nobody has that name
            if not path.is_file():
                raise SourceError(f"no such file or folder; check the path: {address}")
            check_bytes(path, checksum=checksum, size_bytes=size_bytes, name=address)
            return path
        final = self._place(address)
        with _locked(final.with_suffix(".lock"), address):
            if not _fits(final, checksum, size_bytes):
                self._fetch(address, final, checksum, size_bytes)
        return final

    def forget(self, address: str) -> None:
        """Remove what the cache holds of an address, a part too; a file of this machine stays where it is."""
        if kind_of(address) != "path":
            final = self._place(address)
            with _locked(final.with_suffix(".lock"), address):
                final.unlink(missing_ok=True)
                _part_of(final).remove()

    def _place(self, address: str) -> Path:
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.cache / hashlib.sha256(address.encode()).hexdigest()[:16]

    def _fetch(self, address: str, final: Path, checksum: str | None, size_bytes: int | None) -> None:
        part = _part_of(final)
        try:
            if size_bytes is None or part.num_bytes != size_bytes:
                self.servers.check_reachable(address)
                self._fetch_all(address, part, size_bytes)
            check_bytes(part.path, checksum=checksum, size_bytes=size_bytes, name=shown(address))
        except ChecksumError:
            part.remove()
            raise
        part.path.replace(final)
        part.remove()

    def _fetch_all(self, address: str, part: "_Part", size_bytes: int | None) -> None:
        furthest = failures = 0
        while True:
            try:
                return self._fetch_on(address, part, size_bytes)
            except BrokenOffError as problem:
                failures = 1 if part.num_bytes > furthest else failures + 1
                furthest = max(furthest, part.num_bytes)
                if failures > self.retries:
                    told = f"{problem}, also after {self.retries} retries; what came is kept, run again later"
                    raise UnreachableError(f"{told}: {shown(address)}") from problem
                if problem.begin_again:
                    part.remove()
                pause = max(problem.asked_seconds, self.first_pause_seconds * 2 ** (failures - 1))
                pause = min(pause, LONGEST_PAUSE_SECONDS)
                _say(f"{problem}; retry {failures} of {self.retries} in {pause:.3g} s: {shown(address)}")
                time.sleep(pause)

    def _fetch_on(self, address: str, part: "_Part", size_bytes: int | None) -> None:
        """Ask for what is missing and append it; write from the beginning where the server begins there."""
        with self.servers.opened(address, part.position) as reply, _progress() as tell:
            if size_bytes is not None and reply.total_bytes not in {None, size_bytes}:
                raise ChecksumError(wrong_size(reply.total_bytes, size_bytes, shown(address)))
            largest, limit = (self.max_bytes, "max_bytes") if size_bytes is None else (size_bytes, "size_bytes")
            with part.path.open("ab" if reply.position.start else "wb") as file:
                part.validator_path.write_text(reply.position.validator, encoding="utf-8")
                for chunk in reply.chunks:
                    file.write(chunk)
                    tell(file.tell(), reply.total_bytes)
                    if file.tell() > largest:
                        raise ChecksumError(f"longer than {largest} bytes, which is download.{limit}: {shown(address)}")
        if size_bytes is not None and part.num_bytes < size_bytes:
            raise BrokenOffError("the connection broke off")


@dataclass(frozen=True)
class _Part:
    path: Path
    validator_path: Path

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def position(self) -> Position:
        """Where to go on: at the beginning if the server gave no word to know the same file by."""
        path = self.validator_path
        validator = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        # What a power cut left of it may be no header at all.
        usable = validator and validator.isascii() and validator.isprintable()
        return Position(self.num_bytes, validator) if usable else Position()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.validator_path.unlink(missing_ok=True)


def _part_of(final: Path) -> _Part:
    return _Part(final.with_suffix(".partial"), final.with_suffix(".validator"))


@contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    """Yield what is told the bytes so far and in all: it shows a bar on a terminal, elsewhere a line now and then."""
    from tqdm import tqdm

    with tqdm(desc="download", unit="B", unit_scale=True, disable=not sys.stderr.isatty(), leave=False) as bar:
        last_line = time.monotonic()

        def tell(num_bytes: int, total_bytes: int | None) -> None:
            nonlocal last_line
            if not bar.disable:
                bar.total = total_bytes
                bar.update(num_bytes - bar.n)
            elif time.monotonic() >= last_line + REPORT_SECONDS:
                last_line = time.monotonic()
                _say(f"{num_bytes / 1e6:.0f} MB" + (f" of {total_bytes / 1e6:.0f}" if total_bytes else ""))

        yield tell


@contextmanager
def _locked(path: Path, address: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(f"another process fetches the same, waiting: {shown(address)}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fits(path: Path, checksum: str | None, size_bytes: int | None) -> bool:
    try:
        check_bytes(path, checksum=checksum, size_bytes=size_bytes, name=str(path))
    except FileNotFoundError:
        return False
    except ChecksumError:
        path.unlink()
        return False
    return True


def _say(text: str) -> None:
    # At once: print writes a line's end by itself, and other threads write theirs before it.
    sys.stderr.write(f"download: {printable(text)}\n")
    sys.stderr.flush()
