"""The S3 client: botocore's, set up once for everything a registry asks of a store.

Credentials, region, endpoint, profile and role come from the environment as for every AWS tool. It repeats what fails
for the network's or the server's reasons (time-outs, resets, 500, 503), with growing pauses, five times unless
AWS_MAX_ATTEMPTS says otherwise.
"""

import os
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from petmodels.errors import AddressError
from petmodels.patience import timeout_seconds, tries
from petmodels.s3_answers import bound_answers
from petmodels.s3_errors import translated

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from mypy_boto3_s3 import S3Client

_CONNECTIONS = 32


def s3_client(address: str) -> "S3Client":
    """Return a new client for the registry at `address`; importing and building it takes a good part of a second."""
    from botocore.config import Config
    from botocore.session import Session

    retries: Any = {
        "mode": os.environ.get("AWS_RETRY_MODE") or "standard",
        "max_attempts": tries(),
    }
    session = Session()
    session.register_component("data_loader", _loader())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    with translated(address, "connect"):
        try:
            config = Config(
                retries=retries,
                connect_timeout=5,
                read_timeout=timeout_seconds(),
                max_pool_connections=_CONNECTIONS,
                user_agent="petmodels",  # botocore's own is put together twice a request, from thirty parts
                # Every body we send carries its SHA-256 in a signed header: hashing it once more would only cost time.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"payload_signing_enabled": False},
            )
            client: Any = session.create_client("s3", config=config)
        except ValueError as error:  # botocore checks the endpoint's address by itself, and says so in Python's own way
            raise AddressError(f"AWS_ENDPOINT_URL is no address such as https://host:9000: {address}") from error
    bound_answers(client)
    return client  # type: ignore[no-any-return]


@cache
def _loader() -> "Loader":
    """Return what reads the service's description, megabytes of JSON, once a process."""
    from botocore.loaders import Loader

    return Loader()


def _time(text: Any) -> datetime:
    """Return a time as S3 writes it in headers and listings; botocore's own way tries many formats for each."""
    try:
        return datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
    except (TypeError, ValueError):
        from botocore.utils import parse_timestamp

        return parse_timestamp(text)
