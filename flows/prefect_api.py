"""The API of a Prefect server that a person has named: a sentence where it isn't one, isn't there, or refuses.

Reads Prefect's setting PREFECT_API_URL, from the environment or a profile; leaves nothing.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_RETRY_EXTRA_CODES, temporary_settings

from flows.errors import SettingsError
from flows.telling import redacted

_MEND = "PREFECT_API_URL, which ends in /api, and the proxies"
_REFUSALS = {401, 403}
_INVALID = 422  # what was sent is at fault, not the address: a bug


@contextmanager
def named_server() -> Iterator[SyncPrefectClient]:
    """Yield a client of the server; raises SettingsError where none is named, or what is there is none that answers.

    Without an address Prefect would start a server of its own, which ends with the program and takes all along. A
    person waits here: what a server says to a wrong address, 500 perhaps, isn't asked for eight minutes as by workers.
    """
    address = PREFECT_API_URL.value()
    if not address:
        told = "set it to the server's address, such as http://prefect.example.org:4200/api"
        raise SettingsError(f"PREFECT_API_URL is unset; {told}")
    try:
        with temporary_settings({PREFECT_CLIENT_RETRY_EXTRA_CODES: ""}), get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status == _INVALID:
            raise
        mend = f"PREFECT_API_AUTH_STRING or PREFECT_API_KEY, and {_MEND}" if status in _REFUSALS else _MEND
        told = f"{status} {error.response.reason_phrase}"
        raise SettingsError(f"Prefect's server answers {told}; check {mend}: {redacted(address)}") from error
    except (httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError) as error:
        told = redacted(str(error) or type(error).__name__)
        raise SettingsError(f"can't reach Prefect's server ({told}); check {_MEND}: {redacted(address)}") from error
