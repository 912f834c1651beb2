"""Servers that take what is sent to people and programs: events, as Prefect's does, and messages, as a webhook does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prefect.settings import PREFECT_API_URL, temporary_settings


@contextmanager
def events_taken() -> Iterator[list[dict[str, Any]]]:
    """Let this process's client talk to such a server; yield the events that it has taken by now."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/events":
                taken.extend(json.loads(content))
            self.send_response(204 if self.path == "/api/events" else 404)
            self.end_headers()

        def do_GET(self) -> None:  # for a token against forged requests, which this server doesn't ask for
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_address[1]}/api"}):
                yield taken
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Hook:
    """A webhook on this machine: what was posted to it."""

    address: str
    texts: list[str]


@contextmanager
def webhook() -> Iterator[Hook]:
    """Listen until the block ends."""
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Hook(f"http://127.0.0.1:{server.server_port}/a-secret-path", texts)
        server.shutdown()
