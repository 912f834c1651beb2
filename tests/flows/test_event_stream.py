"""Whether the stream of events is open, as servers answer it that are no Prefect's, or let nobody in."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from websockets.sync.server import ServerConnection, serve


def drops(_connection: ServerConnection) -> None:
    """Take the connection and say nothing."""


def talks(connection: ServerConnection) -> None:
    connection.recv()
    connection.send("no JSON")


def refuses(connection: ServerConnection) -> None:
    connection.recv()
    connection.send('{"type": "auth_failure", "reason": "who are you?"}')


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers a WebSocket as the test wants."""
    behave: Callable[[ServerConnection], None] = request.param
    with serve(behave, "127.0.0.1", 0, subprotocols=["prefect"]) as server:  # type: ignore[list-item]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://ann:hunter2hunter2@127.0.0.1:{server.socket.getsockname()[1]}/api"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("answering", [drops, talks, refuses], indirect=True)
def test_a_stream_that_opens_and_answers_otherwise_than_prefect_is_told_in_a_line(answering: str) -> None:
    """In a process of its own, because Prefect's client leaves such a connection open."""
    program = "from flows.event_stream import why_closed; print(why_closed())"

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PREFECT_API_URL": answering},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("/api/events/in\n")
    assert done.stdout.count("\n") == 1
    assert "hunter2" not in done.stdout + done.stderr
