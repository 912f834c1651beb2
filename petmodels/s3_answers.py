"""Bound what a store answers, where botocore would read or ask on without end.

Listings, receipts and refusals are read whole before anything is known of them, and a listing goes on for as long as
the store names a next page. Objects' bytes are streamed, and their readers ask for as much as was promised.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from petmodels.s3_errors import EndlessError

# A page of a thousand keys, each of the longest and each byte of it as %XX, has half of that.
LONGEST_ANSWER_BYTES = 8 * 2**20
MOST_LISTED = 1_000_000
_PAGE = 1000
_PIECE_BYTES = 1 << 16


def bound_answers(client: Any) -> None:
    """Have a new client raise EndlessError for an answer that is longer than 8 MiB, unless it is streamed."""
    # Private, but as old as botocore; its events come only after an answer was read.
    endpoint = client._endpoint
    endpoint.http_session = _BoundedSession(endpoint.http_session)


def bounded(pages: Iterable[Any]) -> Iterator[Any]:
    """Yield a listing's pages; raises EndlessError above a million entries, of which an empty page counts as full."""
    num_left = MOST_LISTED
    for page in pages:
        num_found = sum(len(page.get(kind, ())) for kind in ("Contents", "CommonPrefixes", "Uploads"))
        num_left -= max(num_found, _PAGE)
        if num_left < 0:
            raise EndlessError(f"a listing of more than {MOST_LISTED} objects")
        yield page


class _BoundedSession:
    """botocore's HTTP session, which reads no more of an answer than it may have."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def send(self, request: Any) -> Any:
        """Send a request; unless its answer is a stream, read that to its end."""
        is_streamed, request.stream_output = request.stream_output, True
        answer = self._session.send(request)
        if not is_streamed or answer.status_code >= 300:
            raw, answer.raw = answer.raw, _BoundedBody(answer.raw, request)
            _ = answer.content  # botocore keeps it
            answer.raw = raw
        return answer

    def close(self) -> None:
        """Close its connections."""
        self._session.close()


class _BoundedBody:
    def __init__(self, raw: Any, request: Any) -> None:
        self._raw = raw
        self._request = request

    def stream(self) -> Iterator[bytes]:
        """Yield the body; what breaks is said as botocore's own session says it, so that botocore tries again.

        By `read`, since urllib3's own `stream` takes a chunk's header of any length.
        """
        from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
        from urllib3.exceptions import HTTPError
        from urllib3.exceptions import ReadTimeoutError as Waited

        num_bytes, url = 0, self._request.url
        try:
            while piece := self._raw.read(_PIECE_BYTES):
                num_bytes += len(piece)
                if num_bytes > LONGEST_ANSWER_BYTES:
                    self._raw.close()
                    raise EndlessError(f"an answer of more than {LONGEST_ANSWER_BYTES // 2**20} MiB")
                yield piece
        except Waited as error:
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except HTTPError as error:
            raise ConnectionClosedError(error=error, request=self._request, endpoint_url=url) from error
