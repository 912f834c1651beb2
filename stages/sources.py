"""Open the file that an http(s) or s3 address names, from its beginning or from where the last try broke off.

Reads the network, with proxies, credentials and endpoint from the environment; leaves nothing. Longer than most
modules, because each protocol stands here with all the ways in which it fails.
"""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stages.addresses import kind_of, shown
from stages.errors import SourceError, UnreachableError

if TYPE_CHECKING:
    from requests import Response, Session

# A chunk that is not whole when a connection breaks is lost: so they are small.
_CHUNK_BYTES = 1 << 16
_CONNECT_SECONDS = 3.0  # for each of a server's network addresses when it is called for the first time
_REACH_SECONDS = 8.0  # for all of them, the look-up of the server's name included

# botocore's own text is what a program has printed, which may be a secret.
_NOT_FETCHED = (
    "the AWS credentials can't be fetched; look at AWS_PROFILE, and at the program or service that it names: "
)


@dataclass(frozen=True)
class Position:
    """How many bytes are there already, and the server's word (an ETag or a date) by which it knows the same file."""

    start: int = 0
    validator: str = ""


@dataclass(frozen=True)
class Reply:
    """Chunks of a file from `position.start` on; `total_bytes` is the whole file's length where the server tells it."""

    position: Position
    total_bytes: int | None
    chunks: Iterator[bytes]


class BrokenOffError(Exception):
    """Another try may help; `begin_again` when what came before is of no use, `asked_seconds` is the server's wish."""

    def __init__(self, reason: str, *, begin_again: bool = False, asked_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.begin_again = begin_again
        self.asked_seconds = asked_seconds


class Servers:
    """The way to all servers for a while: one look at each, one client for S3, and a session for each thread.

    Threads may share it, so that they reuse connections; what a server's cookies say is forgotten with each file.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._looking, self._asking = threading.Lock(), threading.Lock()
        self._problems: dict[str, str] = {}
        self._s3: Any = None
        self._of_thread = threading.local()

    def opened(self, address: str, position: Position) -> AbstractContextManager[Reply]:
        """Ask for an http or s3 address from `position` on; the reply may begin at 0 nevertheless.

        Raises SourceError when no repetition helps, BrokenOffError, also while chunks are read, when one may.
        """
        if kind_of(address) == "http":
            return _http_reply(self._session(), address, position, self.timeout_seconds)
        return _s3_reply(self._client(address), address, position)

    def check_reachable(self, address: str) -> None:
        """Look once whether the address' server or its proxy is there, so that one learns it in seconds.

        Raises UnreachableError, by what the first look has found, for each address of a server that isn't.
        """
        url = address if kind_of(address) == "http" else self._client(address).meta.endpoint_url
        server = "://".join(urlsplit(url)[:2])
        with self._looking:
            if server not in self._problems:
                self._problems[server] = _problem_of(url, address, self.timeout_seconds)
        if problem := self._problems[server]:
            raise UnreachableError(f"{problem}: {shown(address)}")

    def _client(self, address: str) -> Any:
        with self._asking:
            self._s3 = self._s3 or _s3_client(address, self.timeout_seconds)
        return self._s3

    def _session(self) -> "Session":
        import requests

        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = requests.Session()
        session: Session = self._of_thread.session
        session.cookies.clear()
        return session


def _problem_of(url: str, address: str, timeout_seconds: float) -> str:
    """Connect to the URL's server or its proxy; return why that can't be, or "".

    Works in a thread of its own, because nothing can stop a look-up of a name that hangs.
    """
    import requests

    way = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) or url
    try:
        parts = urlsplit(way)
        server = (parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 1080))
    except ValueError as error:
        raise SourceError(f"check AWS_ENDPOINT_URL and the proxy's settings ({error}): {shown(address)}") from error
    outcome: queue.SimpleQueue[str] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection(server, timeout=min(timeout_seconds, _CONNECT_SECONDS)).close()
            outcome.put("")
        except (OSError, UnicodeError) as error:  # the latter for a name that no server can have
            outcome.put(getattr(error, "strerror", "") or str(error))

    threading.Thread(target=connect, daemon=True).start()
    try:
        problem = outcome.get(timeout=_REACH_SECONDS)
    except queue.Empty:
        problem = f"no answer within {_REACH_SECONDS:g} s"
    return f"can't reach {server[0]}:{server[1]} ({problem})" if problem else ""


@contextmanager
def _http_reply(session: "Session", address: str, position: Position, timeout_seconds: float) -> Iterator[Reply]:
    import requests
    import urllib3

    # Without `identity` a server may unpack a .tgz by one layer on its way, and ranges would count other bytes.
    headers = {"Accept-Encoding": "identity"}
    if position.start:
        headers |= {"Range": f"bytes={position.start}-", "If-Range": position.validator}
    try:
        with session.get(address, headers=headers, stream=True, timeout=timeout_seconds) as response:
            _check_status(response, shown(address))
            chunks = response.raw.stream(_CHUNK_BYTES, decode_content=False)
            yield Reply(*_whereabouts(response, position), chunks)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise BrokenOffError(f"no answer for {timeout_seconds:g} s") from error
    except requests.exceptions.ProxyError as error:
        raise UnreachableError(f"the proxy refuses; check HTTPS_PROXY and NO_PROXY: {shown(address)}") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UnreachableError(f"the server's certificate is not trusted: {shown(address)}") from error
        raise BrokenOffError("the connection broke off") from error
    except requests.RequestException as error:
        raise SourceError(f"can't be fetched ({type(error).__name__}); check the address: {shown(address)}") from error


def _check_status(response: "Response", name: str) -> None:
    status, said = response.status_code, f"the server answered {response.status_code} {response.reason}".strip()
    if status == 416:
        raise BrokenOffError("the file has become shorter", begin_again=True)
    if status in {408, 425, 429} or status >= 500:
        raise BrokenOffError(said, asked_seconds=_seconds_asked(response.headers.get("Retry-After", "")))
    if status not in {200, 206}:
        raise SourceError(f"{said}; check the address, and that you may read it: {name}")
    if response.headers.get("Content-Type", "").startswith("text/html") and not name.endswith(("html", "htm")):
        raise SourceError(f"the server sent a web page instead of the file; a browser shows why: {name}")


def _whereabouts(response: "Response", asked: Position) -> tuple[Position, int | None]:
    """Return where the reply begins and the whole file's length, if told."""
    headers = response.headers
    etag = headers.get("ETag", "")
    # A weak ETag promises the same meaning, not the same bytes.
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    if response.status_code == 200:
        length = headers.get("Content-Length", "")
        return Position(0, validator), int(length) if length.isdecimal() else None
    span, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if span.partition("-")[0] != str(asked.start) or validator not in {"", asked.validator}:
        raise BrokenOffError("the file has changed", begin_again=True)
    return asked, int(total) if total.isdecimal() else None


def _seconds_asked(retry_after: str) -> float:
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0


@contextmanager
def _s3_reply(client: Any, address: str, position: Position) -> Iterator[Reply]:
    from botocore import exceptions

    bucket, _, key = address.removeprefix("s3://").partition("/")
    resumed = {"Range": f"bytes={position.start}-", "IfMatch": position.validator} if position.start else {}
    try:
        answer = client.get_object(Bucket=bucket, Key=key, **resumed)
        total_bytes = position.start + answer["ContentLength"]
        chunks = answer["Body"].iter_chunks(_CHUNK_BYTES)
        with answer["Body"]:
            yield Reply(Position(position.start, answer["ETag"]), total_bytes, chunks)
    except exceptions.ClientError as error:
        raise _s3_problem(error.response, address) from error
    except (exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
        raise BrokenOffError("the connection broke off") from error
    except exceptions.NoCredentialsError as error:
        fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        raise SourceError(f"no AWS credentials found; {fix}: {address}") from error
    except exceptions.CredentialRetrievalError:
        raise SourceError(_NOT_FETCHED + address) from None
    except exceptions.BotoCoreError as error:
        raise SourceError(f"the store can't be asked ({' '.join(str(error).split())}): {address}") from error


def _s3_client(address: str, timeout_seconds: float) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, CredentialRetrievalError

    config = Config(
        connect_timeout=timeout_seconds,
        read_timeout=timeout_seconds,
        retries={"total_max_attempts": 1},  # the caller repeats, and goes on where this broke off
        response_checksum_validation="when_required",  # the whole file's is checked; a range has none
    )
    try:
        return boto3.client("s3", config=config)
    except CredentialRetrievalError:
        raise SourceError(_NOT_FETCHED + address) from None
    except (BotoCoreError, ValueError) as error:
        raise SourceError(f"check the AWS settings ({' '.join(str(error).split())}): {address}") from error


def _s3_problem(response: Any, address: str) -> Exception:
    code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
    if status in {412, 416}:
        return BrokenOffError("the object has changed", begin_again=True)
    if status in {408, 429} or status >= 500:
        return BrokenOffError(f"the store answered {status} {code}")
    if status == 404:
        missing = "bucket" if code == "NoSuchBucket" else "object"
        return SourceError(f"no such {missing} in the store; check the address and AWS_ENDPOINT_URL: {address}")
    if code == "InvalidObjectState":
        kind = str(response["Error"].get("StorageClass", "unknown"))[:30]
        fix = "restore it (aws s3api restore-object), and take away the rule that moves it"
        return SourceError(f"archived (storage class {kind}); {fix}: {address}")
    if code.startswith("KMS."):
        fix = "have it enabled, or ask for kms:Decrypt on it"
        return SourceError(f"the KMS key of the bucket refuses ({code}); {fix}: {address}")
    if status in {401, 403}:
        return SourceError(f"the store refuses these credentials ({code}); check them and the rights: {address}")
    return SourceError(f"the store answered {status} {code}; check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL: {address}")
