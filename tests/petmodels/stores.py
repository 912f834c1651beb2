"""The S3 server of the tests: the one of the project's own stack."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.object_store import ADMIN, BUCKET, Server, answers, forget_sockets, free_port, prepared, weed

__all__ = ["ADMIN", "BUCKET", "Server", "free_port", "serving", "weed"]


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
