"""The border to botocore: what its exceptions mean to a person who may never have heard of it.

No message repeats a header, a key or a URL's query, so that no secret can leave through an error.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from petmodels.endpoint import configured_endpoint
from petmodels.errors import (
    ChecksumError,
    PetmodelsError,
    StoreError,
    UnreachableError,
    UnsupportedStoreError,
)
from petmodels.s3_refusals import BUSY, of_client, refusal
from petmodels.storage import NotStoredError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

ABSENT = {"404", "NotFound"}
BUSY_WITH_ANOTHER = "ConditionalRequestConflict"
CHANGED = {"PreconditionFailed", "412", BUSY_WITH_ANOTHER}
_UNCHANGED = {"304", "NotModified"}


class ChangedError(Exception):
    """The store's answer, its code, to a condition that did not hold, or while another request writes the object."""


class UnchangedError(StoreError):
    """The store's answer that an object still carries the change mark that it was asked about."""


class EndlessError(Exception):
    """An answer, or a listing of many, that is longer than any registry's."""


class BrokenOffError(UnreachableError):
    """A connection that broke in the middle of an answer; what is missing can be asked for again."""


class UploadGoneError(StoreError):
    """An upload in parts is complete or given up already."""


@contextmanager
def reading(address: str) -> Iterator[None]:
    """Turn what botocore raises while an answer's body is read into BrokenOffError."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, OSError) as error:
        raise BrokenOffError(f"{address} broke off in the middle ({_reason(error)}); try again later") from error


@contextmanager
def translated(address: str, doing: str) -> Iterator[None]:
    """Turn what botocore raises in the block into PetmodelsError, NotStoredError or ChangedError.

    `doing` completes the sentence "not allowed to …".
    """
    try:
        yield
    except Exception as error:
        meant = _meant(error, address, doing)
        if meant is None:
            raise
        raise meant from error


def _meant(error: Exception, address: str, doing: str) -> Exception | None:
    """Return what an exception means, None for one that is no matter of the store's."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004
    from botocore.parsers import ResponseParserError

    if isinstance(error, ClientError):
        return _of_answer(error, address, doing)
    if isinstance(error, EndlessError):
        return no_s3(str(error), address, doing)
    # botocore takes a redirect for one to another region, and follows until Python stops it.
    if isinstance(error.kwargs.get("error") if isinstance(error, HTTPClientError) else error, RecursionError):
        return no_s3("it redirects", address, doing)
    if isinstance(error, (ConnectionError, HTTPClientError)):
        text = f"{address}{_server()} did not answer ({_reason(error)}); try again later: {doing}"
        return UnreachableError(text)
    # A file that credentials are read from; those that are sent were opened before.
    if isinstance(error, BotoCoreError) or (isinstance(error, OSError) and error.filename):
        return of_client(error, address)
    if isinstance(error, ResponseParserError):
        return no_s3("no XML", address, doing)
    return None


def check_answer(answer: Mapping[str, Any], key: str, address: str, doing: str) -> None:
    """Raise UnreachableError for an answer without what S3 always says, which a portal's page lacks."""
    if key not in answer:
        raise no_s3(f"no {key}", address, doing)


def no_s3(what: str, address: str, doing: str) -> UnreachableError:
    """Return the error for a proxy, a portal or a load balancer that answered in the store's place."""
    return UnreachableError(f"what answered is no S3 ({what}); check AWS_ENDPOINT_URL and proxies ({doing}): {address}")


def _of_answer(error: "ClientError", address: str, doing: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code in CHANGED:
        return ChangedError(code)
    if code in _UNCHANGED:  # who hasn't asked this gets what every other odd answer is
        return UnchangedError(f"the store answered 304 when asked to {doing}: {address}")
    if code == "NoSuchKey" or (code in ABSENT and error.operation_name == "HeadObject"):
        return NotStoredError(address)  # a HEAD's answer has no room for the code
    if code in ABSENT:
        return no_s3(status, address, doing)
    if code == "NoSuchUpload":
        return UploadGoneError(f"somebody has ended this upload meanwhile; run again ({doing}): {address}")
    return refusal(error, code, address, doing) or _failure(code, status, address, doing)


def _failure(code: str, status: str, address: str, doing: str) -> PetmodelsError:
    if code in {"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest"}:
        return ChecksumError(f"the store received other bytes than were to be sent; run again ({doing}): {address}")
    if code in {"NotImplemented", "501"}:
        return UnsupportedStoreError(f"this store can't do what a registry needs ({doing}); use another one: {address}")
    if code in BUSY or status.startswith("5"):
        return UnreachableError(f"the store is overloaded or broken ({code}); try again later ({doing}): {address}")
    return StoreError(f"the store answered {status} {code[:60]} when asked to {doing}: {address}")


def _server() -> str:
    """Return which server was asked, where somebody has named one; its address may hold a password."""
    server = urlsplit(configured_endpoint()).netloc.rpartition("@")[2]
    return f" at {server}" if server else ""


def _reason(error: Exception) -> str:
    words = {
        "ConnectTimeoutError": "no connection in time",
        "ReadTimeoutError": "no answer in time",
        "EndpointConnectionError": "no connection",
        "ConnectionClosedError": "connection closed",
        "ProxyConnectionError": "the proxy refused",
        "SSLError": "its certificate isn't trusted; see AWS_CA_BUNDLE",
        "IncompleteReadError": "too few bytes",
        "ResponseStreamingError": "connection lost",
    }
    return words.get(type(error).__name__, type(error).__name__)
