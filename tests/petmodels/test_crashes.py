"""Kill whoever writes (publish, promote, rollback, withdraw, mirror, prune) around each request, on a real S3."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from petmodels.hashing import digest_of, no_progress
from petmodels.names import blob_key
from petmodels.registry import Registry
from petmodels.tombstone import Tombstone
from petmodels.versions import read_manifest, read_version
from tests.petmodels.bundles import write_files
from tests.petmodels.stores import BUCKET, opened

Order = Callable[..., dict[str, Any]]
FILES = {
    1: {"a": b"1", "shared": b"shared", "old": b"only in the first"},
    2: {"a": b"2", "shared": b"shared"},
    3: {"a": b"3", "shared": b"shared", "large": b"0123456789abcdef" * 330_000, "new/b": b"b"},
}
EXPECTED = {
    "publish": ([3, 2, 1], 1),
    "promote": ([2, 1], 2),
    "rollback": ([2, 1], 1),
    "withdraw": ([2, 1], 1),
    "mirror": ([3, 2, 1], 3),
    "prune": ([3, 2], 2),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {number: write_files(tmp_path_factory.mktemp("bundle"), files) for number, files in FILES.items()}


@pytest.fixture
def run(s3_address: str) -> Iterator[Order]:
    """Return a function that has another process carry out an order, and its answer."""
    command = [sys.executable, "-m", "tests.petmodels.crash_runner"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def ordered(**order: Any) -> dict[str, Any]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield ordered
        process.stdin.close()


@pytest.fixture(scope="module")
def states(bundles: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return, for each step, the folder of a registry in which it has something to do; and the `source` of a mirror.

    The source is what was mirrored before, with a version more, one withdrawn, and the alias moved.
    """
    folder = tmp_path_factory.mktemp("states")
    now, other = (Registry(folder / name, cache=folder / "cache") for name in ("source", "three versions"))

    def as_it_is(name: str) -> Path:
        return Path(shutil.copytree(folder / "source", folder / name))

    now.publish(bundles[1], "pets")
    now.promote("pets@1", "production")
    now.publish(bundles[2], "pets")
    first = as_it_is("first in production")
    now.promote("pets@2", "production")
    second = as_it_is("second in production")
    now.publish(bundles[3], "pets")
    now.promote("pets@3", "production")
    now.withdraw("pets@2", "asked for", is_dry=False)
    for number in bundles:
        other.publish(bundles[number], "pets")
    other.promote("pets@2", "production")
    return {
        "publish": first, "promote": first, "withdraw": first, "rollback": second, "mirror": second,
        "prune": folder / "three versions", "source": folder / "source",
    }  # fmt: skip


def prepared(state: Path, client: Any, cache: Path) -> Registry:
    """Return a registry on the store that is what the folder `state` is."""
    registry = opened(f"s3://{BUCKET}/{uuid4().hex}", client, cache)
    for path in state.rglob("[!.]*"):
        if path.is_file():
            key = path.relative_to(state).as_posix()
            assert registry.storage.upload(key, path, digest_of(path), no_progress)
    return registry


def living(registry: Registry) -> list[int]:
    """Return the versions that weren't withdrawn."""
    found = registry.versions("pets")
    return [one for one in found if not isinstance(read_version(registry.storage, "pets", one), Tombstone)]


def check_whole(registry: Registry) -> None:
    """Assert that every version and alias that a reader can see is whole, and that none that was there is lost."""
    found = registry.verify_all("pets")
    assert found.findings == ()
    for version in living(registry):
        manifest = read_manifest(registry.storage, "pets", version)
        assert {file.path for file in manifest.files} == set(FILES[version])


def needed_keys(registry: Registry) -> set[str]:
    storage = registry.storage
    kept = {"petmodels.json", *(found.key for found in storage.list("pets/versions/"))}
    kept |= {found.key for found in storage.list("pets/aliases/")}
    for version in living(registry):
        kept |= {blob_key("pets", file.blob) for file in read_manifest(storage, "pets", version).files}
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("step", ["publish", "promote", "rollback", "withdraw", "mirror", "prune"])
def test_a_kill_around_any_request_harms_nothing(
    step: str, run: Order, s3_address: str, bundles: dict[int, Path], states: dict[str, Path], tmp_path: Path
) -> None:
    client = Registry(s3_address).storage.client  # type: ignore[attr-defined]
    versions, named = EXPECTED[step]
    point = num_points = 0
    num_requests = 1
    while point < num_requests:
        point += 1
        # Before a request a mirror has left what it had left after the last one; it makes the most of them.
        for moment in ("after",) if step == "mirror" else ("before", "after"):
            registry = prepared(states[step], client, tmp_path / uuid4().hex)
            before = set(registry.versions("pets"))
            order = {"step": step, "address": registry.storage.address, "bundle": str(bundles[3]),
                     "source": str(states["source"]), "cache": str(tmp_path / uuid4().hex)}  # fmt: skip
            answer = run(**order, kill=[point, moment])
            if answer["status"] == 0:
                assert point == 1 or answer["requests"] < point
                continue
            assert answer["status"] == -9
            num_points += 1
            num_requests = max(num_requests, point + 1)

            reader = opened(registry.storage.address, client, tmp_path / uuid4().hex)
            check_whole(reader)
            gone = before - set(reader.versions("pets"))
            assert gone <= ({1} if step == "prune" else set())

            again = run(**order, kill=[0, "never"])
            assert again["status"] == 0 or (
                step == "rollback" and reader.resolve("pets@production").manifest.version == 1
            )
            reader = opened(registry.storage.address, client, tmp_path / uuid4().hex)
            if step in {"withdraw", "mirror"}:
                assert 2 not in living(reader)
                assert {found.key for found in reader.storage.list("pets/blobs/")} <= needed_keys(reader)
            reader.prune("pets", keep=9, is_dry=False, grace_hours=0)
            check_whole(reader)
            assert (reader.versions("pets"), reader.manifest("pets@production").version) == (versions, named)
            assert {found.key for found in reader.storage.list("")} == needed_keys(reader)
            assert list(reader.storage.unfinished("")) == []
    print(f"{step}: killed at {num_points} points")
    assert num_points >= 10
