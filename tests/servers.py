"""An HTTP server that misbehaves as told; to a client of S3 it passes for a store that lets everybody in.

It listens on 127.0.0.1 at a free port and ends with its `with` block. Nothing here knows pytest. A real S3 store is in
tests/petmodels/stores.py.
"""

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LAST_MODIFIED = "Mon, 06 Jan 2025 08:00:00 GMT"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one request is answered; each field but the defaults is a misbehaviour.

    `content` is sent instead of the file, also as its new version in later answers; `break_after` bytes the connection
    is cut or, with `stall`, kept open in silence; `length` is a lie in Content-Length, "" sends none; an empty header
    leaves one out.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    break_after: int | None = None
    stall: bool = False
    ignore_range: bool = False
    ignore_condition: bool = False
    length: str | None = None


@dataclass
class HttpServer:
    """Serves `files` by path, each after a pause; the next request for a path takes the next of its `answers`.

    It counts the connections, and the requests that were there at once.
    """

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    pause_seconds: float = 0.0
    num_connections: int = 0
    num_at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [headers.get("range") for _, headers in self.requests]

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request among those that are there at once, and let it wait."""
        with self.lock:
            self.num_at_once += 1
            self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            self.ended.wait(self.pause_seconds)
            yield
        finally:
            with self.lock:
                self.num_at_once -= 1


@contextmanager
def http_server(files: dict[str, bytes] | None = None) -> Iterator[HttpServer]:
    """Serve HTTP/1.1 with ranges and ETags, except where the answers say otherwise."""
    with _QuietServer(("127.0.0.1", 0), _Handler) as listening:
        server = HttpServer(port=listening.server_address[1], files=dict(files or {}))
        listening.script = server
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            listening.shutdown()
            thread.join()


def etag_of(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 64  # where more call at once than wait here, by default 5, one of them waits for a second
    script: HttpServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that hangs up is part of the tests
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _QuietServer

    def setup(self) -> None:
        with self.server.script.lock:
            self.server.script.num_connections += 1
        super().setup()

    def do_GET(self) -> None:
        with self.server.script.counted():
            self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        script = self.server.script
        path = self.path.partition("?")[0]
        script.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        answers = script.answers.get(path, [])
        answer = answers.pop(0) if answers else Answer()
        if answer.content is not None and answer.status == 200:
            script.files[path] = answer.content
        content = script.files.get(path)
        if answer.status != 200 or content is None:
            self._send(answer, answer.status if answer.status != 200 else 404, answer.content or b"", {})
            return
        validators = {"ETag": etag_of(content), "Last-Modified": LAST_MODIFIED}
        start = 0 if answer.ignore_range else self._start(answer, validators | answer.headers)
        if self.headers.get("If-Match", etag_of(content)) != etag_of(content):
            self._send(answer, 412, b"", {})
        elif start == 0:
            self._send(answer, 200, content, validators)
        elif start >= len(content):
            self._send(answer, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(answer, 206, content[start:], {"Content-Range": span} | validators)

    def _start(self, answer: Answer, validators: dict[str, str]) -> int:
        wanted, condition = self.headers.get("Range", ""), self.headers.get("If-Range")
        if condition and not answer.ignore_condition and condition not in validators.values():
            return 0
        return int(wanted.removeprefix("bytes=").partition("-")[0] or 0)

    def _send(self, answer: Answer, status: int, body: bytes, headers: dict[str, str]) -> None:
        length = str(len(body)) if answer.length is None else answer.length
        known = {"Content-Type": "application/octet-stream", "Content-Length": length}
        self.send_response(status)
        for name, value in (known | headers | answer.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        whole = answer.break_after is None and not answer.stall
        self.wfile.write(body if whole else body[: answer.break_after or 0])
        self.wfile.flush()
        if answer.stall:
            self.server.script.ended.wait(30)
        self.close_connection = not whole or answer.length is not None
