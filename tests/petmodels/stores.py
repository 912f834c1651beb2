"""The S3 server of the tests, the one of the project's own stack, and registries on it that share a client."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.object_store import ADMIN, BUCKET, Server, answers, forget_sockets, free_port, prepared, weed
from petmodels.registry import Registry
from petmodels.s3 import S3Storage

__all__ = ["ADMIN", "BUCKET", "Server", "free_port", "opened", "serving", "weed"]


@contextmanager
def serving(folder: Path, identities: list[dict[str, object]] | None = None) -> Iterator[Server]:
    """Run a server with a bucket until the block ends."""
    server, command = prepared(folder, identities)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            _wait(process, server)
            yield server
        finally:
            process.kill()
            process.wait()
            forget_sockets(server)


def _wait(process: "subprocess.Popen[bytes]", server: Server) -> None:
    for _ in range(300):
        log = (server.folder / "log").read_text()
        assert process.poll() is None, log[-3000:]
        if answers(server) and "components are running" in log:
            return
        time.sleep(0.1)
    raise AssertionError((server.folder / "log").read_text()[-3000:])


def opened(address: str, client: Any, cache: Path) -> Registry:
    """Return the registry at an address, with a client of botocore's if it is on S3."""
    registry = Registry(address, cache=cache)
    if isinstance(registry.storage, S3Storage):
        registry.storage = _Ready(registry.storage.bucket, registry.storage.prefix.rstrip("/"), client)
    return registry


class _Ready(S3Storage):
    """A storage with a client that is there already: building one takes longer than what is tested with it."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        super().__init__(bucket, prefix)
        self.ready = client

    @property
    def client(self) -> Any:
        return self.ready
