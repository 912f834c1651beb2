"""Retrains that are in the middle of their training when something happens to them, and what follows them."""

import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError

from tests.flows.operator import Operator

EPOCHS, EPOCH_SECONDS = 16, 0.8
LATE = 5  # epochs that a checkpoint may be behind on its way, and the lines of two runs apart


def in_the_middle(operator: Operator, model: str, seed: int, epochs: int = EPOCHS) -> tuple[str, str, str]:
    """Start a retrain and wait until its third epoch is over; return its revision, its run's id and the training's."""
    revision = operator.branch(
        f"long-{seed}", split={"seed": seed}, train={"epochs": epochs, "epoch_seconds": EPOCH_SECONDS}
    )
    run = operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(run)
    operator.waits_for_log(training, r"train: epoch 3$")
    return revision, run, training


def assert_goes_on(operator: Operator, model: str, revision: str, *, after: str, run: str | None = None) -> None:
    """Assert that the next retrain takes up the last checkpoint of the training `after`, and ends with the files of one
    that nobody has disturbed.
    """
    again = run or operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(again)

    assert operator.ended(again)["state"]["type"] == "COMPLETED"
    (goes_on_with,) = epochs(operator, training, r"train: going on from a checkpoint, with epoch (\d+)$")
    reached = max(epochs(operator, after, r"train: epoch (\d+)$"))
    assert max(1, reached - LATE) < goes_on_with <= EPOCHS
    assert operator.files(model) == operator.plain(revision)


def epochs(operator: Operator, run: str, pattern: str) -> list[int]:
    """Return the epochs that a run's log speaks of in lines like this."""
    return [int(found[1]) for line in operator.logs(run) if (found := re.match(pattern, line))]


@contextmanager
def answers_of_500(port: int) -> Iterator[list[str]]:
    """Answer as a Prefect server whose database is away; yield what was asked for meanwhile."""
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes]:
        asked.append(request.path)
        return 500, b""

    with _answering(port, answer):
        yield asked


@contextmanager
def losing_an_answer(api: str, end: str) -> Iterator[str]:
    """Stand before a Prefect server, and say 500 in the place of its first answer to a path that ends so; yield the
    address to ask.
    """
    lost: list[str] = []

    def answer(request: BaseHTTPRequestHandler, content: bytes) -> tuple[int, bytes]:
        address, headers = api + request.path.removeprefix("/api"), {"Content-Type": "application/json"}
        passed_on = urllib.request.Request(address, content or None, headers, method=request.command)  # noqa: S310
        try:
            with urllib.request.urlopen(passed_on, timeout=60) as answered:  # noqa: S310
                told = answered.status, answered.read()
        except HTTPError as error:
            told = error.code, error.read()
            error.close()
        if request.path.endswith(end) and not lost:
            lost.append(request.path)
            return 500, b""
        return told

    with _answering(0, answer) as port:
        yield f"http://127.0.0.1:{port}/api"
    assert lost


@contextmanager
def _answering(port: int, answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_it(self) -> None:
            # Left unread, what was sent would have the connection reset.
            status, content = answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(status)
            self.send_header("Connection", "close")  # kept open, it would be answered when the block has ended
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_it  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
