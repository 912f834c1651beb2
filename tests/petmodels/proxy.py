"""A proxy in front of the real S3 that misbehaves as told: it answers itself, stalls, cuts or strips headers."""

import http.client
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.petmodels.stores import ADMIN

FOREVER = 10**9


@dataclass(kw_only=True)
class Fault:
    """What happens to the next `times` requests of `method` whose path and query contain `part`, after `skip` of them.

    `status` and `code`: the proxy answers instead of the store. `reset`: the connection is reset "before" the store
    hears of the request, or "after" it has done it. `cut_after`: so many bytes of the answer's body, then the end of
    the connection, in order, because a reset may take with it what the client has not read yet. `stall_after`: so many
    bytes, then silence until the proxy ends. `bytes_per_second`: no more of the answer's body, a few at a time.
    `stall_seconds`: silence before the answer. `flip`: the body's first byte is another. `without`: headers that the
    store never gets to see. `adds`: headers that the store's answer gets besides. `text`: the body of the proxy's own
    answer, where it says more than `code`. `date`: what the proxy's own answer says in its header of this name.
    `if_match`: how the store compares the header: "bare" as Ceph's gateway does, without quotes, "quoted" for one that
    refuses it so, "ignored" for one that refuses it in quotes and does whatever it says without, "never" for one that
    always refuses.
    """

    method: str = ""
    part: str = ""
    times: int = 1
    skip: int = 0
    status: int = 0
    code: str = ""
    reset: str = ""
    cut_after: int | None = None
    stall_after: int | None = None
    bytes_per_second: int | None = None
    stall_seconds: float = 0
    flip: bool = False
    without: tuple[str, ...] = ()
    adds: tuple[tuple[str, str], ...] = ()
    text: str = ""
    date: str = ""
    if_match: str = ""


@dataclass
class Proxy:
    """A running proxy: its address, what it shall do wrong, and what was asked of it (method, path, Range).

    `answers` has what went back: method, path, status and how many bytes of a body; `spans` from when to when each
    request was under way.
    """

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    answers: list[tuple[str, str, int, int]] = field(default_factory=list)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, method: str, path: str, span: str) -> Fault:
        """Note a request down and return what to do to it."""
        with self._lock:
            self.requests.append((method, path, span))
            for fault in self.faults:
                if fault.times > 0 and fault.method in {"", method} and fault.part in path:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return Fault()

    def most_at_once(self, part: str) -> int:
        """Return how many requests whose path contains `part` were under way together."""
        spans = [(begun, ended) for path, begun, ended in self.spans if part in path]
        return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


@contextmanager
def proxying(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of the store at `upstream` until the block ends."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
        server.upstream = urlsplit(upstream).netloc
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.proxy
        finally:
            server.proxy.ended.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    proxy: Proxy
    upstream: str
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # clients that hang up are part of the tests
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        begun = time.monotonic()
        try:
            self._answer()
        finally:
            self.server.proxy.spans.append((self.path, begun, time.monotonic()))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.proxy.fault_for(self.command, self.path, self.headers.get("Range", ""))
        if fault.stall_seconds:
            self.server.proxy.ended.wait(fault.stall_seconds)
        if fault.reset == "before":
            self._reset()
        elif fault.if_match and self._refuses(fault.if_match):
            text = "<Error><Code>PreconditionFailed</Code></Error>"
            self._send(412, [("Content-Type", "application/xml")], text.encode(), len(text), fault)
        elif fault.status:
            text = f"<Error><Code>{fault.code}</Code><Message>as told</Message></Error>" if fault.code else fault.text
            dated = [("Date", fault.date)] if fault.date else []
            self._send(fault.status, [("Content-Type", "application/xml"), *dated], text.encode(), len(text), fault)
        else:
            self._forward(body, fault)

    def _refuses(self, how: str) -> bool:
        etag = self.headers.get("If-Match", "")
        return bool(etag) and (how == "never" or etag.startswith('"') != (how == "quoted"))

    def _forward(self, body: bytes, fault: Fault) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if fault.if_match == "bare" and "if-match" in headers:
            headers["if-match"] = f'"{headers["if-match"]}"'
        if fault.if_match == "ignored":
            headers.pop("if-match", None)
        headers = self._signed(headers, body, fault.without) if fault.without or fault.if_match else headers
        for pause_seconds in (*_PAUSES, None):
            try:
                status, answered, content = self._asked(headers, body)
            except (OSError, http.client.HTTPException):
                if pause_seconds is None or self.command not in {"GET", "HEAD"}:
                    raise
            else:
                if status < 500 or pause_seconds is None or self.command not in {"GET", "HEAD"}:
                    break
            # A busy store's own trouble would use up the fault, and its repeat pass for the client's answer to it.
            time.sleep(pause_seconds)
        length = int(next((value for name, value in answered if name.lower() == "content-length"), len(content)))
        kept = [(name, value) for name, value in answered if name.lower() not in _OWN]
        self._send(status, [*kept, *fault.adds], content, length, fault)

    def _asked(self, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in {"expect", "connection"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _signed(self, headers: dict[str, str], body: bytes, without: tuple[str, ...]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if name not in {*without, "authorization", "x-amz-date"}}
        request = AWSRequest(self.command, f"http://{headers['host']}{self.path}", headers=kept, data=body)
        S3SigV4Auth(Credentials(*ADMIN), "s3", "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes, length: int, fault: Fault) -> None:
        if fault.reset == "after":
            self._reset()
            return
        self.server.proxy.answers.append((self.command, self.path, status, len(body)))
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if fault.flip and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if self.command != "HEAD" and fault.stall_after is not None:
            self.wfile.write(body[: fault.stall_after])
            self.wfile.flush()
            self.server.proxy.ended.wait()
            self.close_connection = True
        elif self.command != "HEAD" and fault.bytes_per_second:
            self._trickle(body, fault.bytes_per_second // 20)
        elif self.command != "HEAD":
            self.wfile.write(body if fault.cut_after is None else body[: fault.cut_after])
        if fault.cut_after is not None:
            self.wfile.flush()
            self.close_connection = True

    def _trickle(self, body: bytes, num_bytes: int) -> None:
        for start in range(0, len(body), num_bytes):
            self.wfile.write(body[start : start + num_bytes])
            time.sleep(0.05)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


_PAUSES = (0.05, 0.2, 0.8)
_OWN = {"content-length", "connection", "transfer-encoding", "keep-alive"}
