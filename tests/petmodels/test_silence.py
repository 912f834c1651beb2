"""Stores, downloads and other processes that fall silent: given up in time, and no reason not to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, main_thread

import pytest

from petmodels.bundle import SEEN
from petmodels.errors import UnreachableError
from petmodels.folder import FolderStorage
from petmodels.locks import lock
from petmodels.parallel import THREADS, at_once
from petmodels.registry import Registry
from tests.petmodels.bundles import write_files
from tests.petmodels.proxy import FOREVER, Fault, Proxy

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let silence be given up after half a second, twice, with short pauses."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("PETMODELS_TIMEOUT", "0.5")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)


def publish_files(address: str, folder: Path, num_files: int = 1, size_bytes: int = 2000) -> Registry:
    """Publish a version of so many files; return its registry with an empty cache."""
    names = [f"{number:02d}" for number in range(num_files)]
    files = {name: name.encode() * (size_bytes // 2) for name in names}
    Registry(address).publish(write_files(folder / "silence", files), "pets")
    return Registry(address, cache=folder / "fresh")


def partial_of(registry: Registry) -> Path:
    """Return the file that a download of the version's first file fills."""
    path = registry.cache.path(registry.manifest("pets@1").files[0].sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.partial")


# What many threads do.


def test_the_first_failure_stops_what_has_not_begun() -> None:
    begun, failed = [], Event()

    def act(number: int) -> None:
        begun.append(number)
        if number == 1:
            failed.set()
            raise UnreachableError("the second failed")
        failed.wait(30)
        time.sleep(0.3)

    with pytest.raises(UnreachableError, match="the second failed"):
        at_once(act, range(100))

    assert max(begun) < THREADS


def test_what_at_once_gives_is_in_the_order_of_the_items() -> None:
    assert at_once(lambda number: number if number % 3 else time.sleep(0.01), range(40)) == [
        number if number % 3 else None for number in range(40)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("is_left", [True, False])
@pytest.mark.parametrize("moment", [0, 0.2], ids=["as it begins", "later"])
def test_when_a_signal_ends_it_what_is_under_way_is_waited_for_unless_it_may_be_left(
    moment: float, *, is_left: bool
) -> None:
    ended = Event()

    def end(*_: object) -> None:
        raise SystemExit(7)

    def act(_: int) -> None:
        time.sleep(moment)
        signal.pthread_kill(main_thread().ident or 0, signal.SIGUSR1)
        time.sleep(0.5)
        ended.set()

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(SystemExit, match="7"):
            at_once(act, [1], is_left_when_ended=is_left)
        assert ended.is_set() != is_left
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("ask", "place"),
    [
        (lambda registry: registry.listing("pets"), "petmodels.listing.read_version"),
        (lambda registry: registry.aliases("pets"), "petmodels.registry.remembered_alias"),
        (lambda registry: registry.verify("pets"), "petmodels.folder.FolderStorage.download"),
        (lambda registry: registry.find("0" * 64), "petmodels.folder.FolderStorage.download"),
    ],
    ids=["listing", "aliases", "verify", "find"],
)
def test_what_only_reads_waits_for_no_silent_store_when_a_signal_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Registry], object], place: str
) -> None:
    bundle = write_files(tmp_path / "b", {SEEN: b"sha256,group\n"})
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(bundle, "pets")
    registry.promote("pets@1", "production")
    ended, given_up = Event(), []

    def silent(*_: object, **__: object) -> None:
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)
        ended.wait(3)
        given_up.append(1)
        raise UnreachableError("no answer in time")

    monkeypatch.setattr(place, silent)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(registry)
        assert given_up == []
    finally:
        ended.set()


# A store that falls silent.


@pytest.mark.slow
def test_a_store_silent_amid_a_file_is_given_up_after_the_tries_asked_for(
    proxy: Proxy, s3_address: str, tmp_path: Path, impatient: None
) -> None:
    fresh = publish_files(s3_address, tmp_path, num_files=THREADS + 3)
    proxy.faults.append(Fault(method="GET", part="/blobs/", stall_after=1000, times=FOREVER))
    proxy.requests.clear()

    with pytest.raises(UnreachableError, match="broke off in the middle"):
        fresh.pull("pets@1", tmp_path / "out")

    asked = [path for _, path, _ in proxy.requests if "/blobs/" in path]
    assert len(set(asked)) == THREADS
    assert len(asked) == 2 * THREADS


@pytest.mark.slow
def test_a_document_that_breaks_off_is_asked_for_as_often_as_was_said(
    proxy: Proxy, s3_address: str, tmp_path: Path, impatient: None
) -> None:
    fresh = publish_files(s3_address, tmp_path)
    proxy.faults.append(Fault(method="GET", part="/versions/", cut_after=10, times=FOREVER))
    proxy.requests.clear()

    with pytest.raises(UnreachableError, match="broke off in the middle"):
        fresh.manifest("pets@1")

    assert len(proxy.requests) == 2


ENDED = """
import signal, sys
import petmodels, petmodels.s3_download
def end(*_):
    raise SystemExit(7)
signal.signal(signal.SIGTERM, end)
if "ranges" in sys.argv:
    petmodels.s3_download.PATIENCE_SECONDS, petmodels.s3_download.RANGE_BYTES = 0, 2**19
petmodels.Registry(sys.argv[1]).pull("pets@1", "out")
"""


@contextmanager
def program(*words: str, cwd: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the program above, with a cache of its own, and see to it that it ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PETMODELS_CACHE": str(cwd / "fresh")}
    with subprocess.Popen([sys.executable, "-c", ENDED, *words], cwd=cwd, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_asked(proxy: Proxy, num_times: int) -> None:
    """Wait until the store was asked so often for bytes of files, and a moment for what it answers."""
    end = time.monotonic() + 60
    while len([path for _, path, _ in proxy.requests if "/blobs/" in path]) < num_times:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "how", "num_requests"),
    [
        (Fault(stall_after=1000), "plainly", 1),
        (Fault(stall_seconds=600), "plainly", 1),
        (Fault(stall_after=1000, skip=1), "ranges", 4),
    ],
    ids=["amid a file", "before its answer", "over several connections"],
)
def test_a_load_that_is_ended_waits_for_no_silent_store(
    proxy: Proxy, s3_address: str, tmp_path: Path, fault: Fault, how: str, num_requests: int
) -> None:
    publish_files(s3_address, tmp_path, size_bytes=4 * MIB)
    fault.method, fault.part, fault.times = "GET", "/blobs/", FOREVER
    proxy.faults.append(fault)
    proxy.requests.clear()

    with program(s3_address, how, cwd=tmp_path) as process:
        wait_until_asked(proxy, num_requests)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 7


# Another process that falls silent.


@pytest.mark.slow
def test_a_frozen_download_does_not_hold_other_processes_for_ever(
    proxy: Proxy, s3_address: str, tmp_path: Path, impatient: None
) -> None:
    fresh = publish_files(s3_address, tmp_path)
    proxy.faults.append(Fault(method="GET", part="/blobs/", stall_after=1000, times=FOREVER))
    proxy.requests.clear()

    with program(s3_address, cwd=tmp_path) as frozen:
        wait_until_asked(proxy, 1)
        frozen.send_signal(signal.SIGSTOP)
        proxy.faults.clear()
        target = fresh.pull("pets@1", tmp_path / "other")

    assert (target / "00").stat().st_size == 2000
    assert [path.name for path in (tmp_path / "fresh" / "blobs").iterdir() if "." in path.name] == [
        partial_of(fresh).name
    ]


@pytest.mark.slow
def test_a_download_beside_a_frozen_one_goes_on_where_it_was_ended(
    tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, asked = publish_files(str(tmp_path / "registry"), tmp_path), []
    real, partial = FolderStorage.download, partial_of(registry)

    def ended(storage: FolderStorage, key: str, start: int, length: int) -> Iterator[bytes]:
        asked.append(start)
        yield from real(storage, key, start, min(length, 800))
        if length > 800:
            raise UnreachableError("ended here")

    monkeypatch.setattr(FolderStorage, "download", ended)
    with lock(partial):
        for _ in range(2):
            with pytest.raises(UnreachableError, match="ended here"):
                registry.pull("pets@1", tmp_path / "out")
        registry.pull("pets@1", tmp_path / "out")

    assert asked == [0, 800, 1600]
    assert sorted(path.name for path in partial.parent.iterdir()) == [partial.stem, partial.name]


def test_who_finds_a_second_download_under_way_waits_for_that_no_more(tmp_path: Path, impatient: None) -> None:
    """Each would take its silence for as long as the first one's."""
    registry = publish_files(str(tmp_path / "registry"), tmp_path)
    partial = partial_of(registry)
    others = [partial.with_name(f"{partial.stem}.{number}.partial") for number in range(1, 6)]

    with ExitStack() as frozen:
        for path in (partial, *others):
            frozen.enter_context(lock(path))
        began = time.monotonic()
        registry.pull("pets@1", tmp_path / "out")

    assert time.monotonic() - began < 4


@pytest.mark.slow
def test_a_download_that_goes_on_is_waited_for(tmp_path: Path, impatient: None) -> None:
    """However slow it is: a second one would make both slower."""
    registry = publish_files(str(tmp_path / "registry"), tmp_path)
    partial, whole = partial_of(registry), b"00" * 1000

    with ThreadPoolExecutor(1) as pool, lock(partial), partial.open("wb", buffering=0) as file:
        waiting = pool.submit(registry.pull, "pets@1", tmp_path / "out")
        for start in range(0, 2000, 250):
            time.sleep(0.3)
            assert not waiting.done()
            file.write(whole[start : start + 250])
        partial.rename(partial.with_suffix(""))
    assert (waiting.result() / "00").read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bytes_per_second", "num_connections"), [(MIB // 3, 1), (MIB // 5, 4)], ids=["one connection", "several"]
)
def test_a_slow_line_brings_a_file_once_however_many_wait_for_it(
    proxy: Proxy, s3_address: str, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch,
    bytes_per_second: int, num_connections: int,
) -> None:  # fmt: skip
    """A piece, or a range beside others, takes longer than the store may be silent."""
    monkeypatch.setattr("petmodels.s3_download.RANGE_BYTES", MIB // 2 if num_connections > 1 else 8 * MIB)
    monkeypatch.setattr("petmodels.s3_download.PATIENCE_SECONDS", 0)
    first = publish_files(s3_address, tmp_path, size_bytes=MIB * (3 if num_connections > 1 else 1))
    second = Registry(s3_address, cache=tmp_path / "fresh")
    proxy.faults.append(Fault(method="GET", part="/blobs/", bytes_per_second=bytes_per_second, times=FOREVER))
    proxy.requests.clear()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one, name: one.pull("pets@1", tmp_path / name), [first, second], "ab"))

    spans = [span for _, path, span in proxy.requests if "/blobs/" in path]
    assert len(spans) >= num_connections
    assert len(set(spans)) == len(spans)


def test_who_waits_for_another_process_can_be_ended(tmp_path: Path) -> None:
    registry = publish_files(str(tmp_path / "registry"), tmp_path)
    partial = partial_of(registry)

    with lock(partial), program(str(tmp_path / "registry"), cwd=tmp_path) as process:
        while not any(path.resolve() == partial for path in Path(f"/proc/{process.pid}/fd").iterdir()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 7
