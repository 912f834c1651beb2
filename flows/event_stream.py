"""Whether events get from this machine to Prefect's server, and with them the heartbeats that runs live by.

They go through a WebSocket, which not every reverse proxy lets through, while all else works. Reads Prefect's settings;
leaves nothing.
"""

import asyncio
from logging import getLogger

from prefect.events import clients
from prefect.settings import PREFECT_API_URL

from flows.telling import redacted

_MOST_SECONDS = 20


def why_closed() -> str:
    """Return why no event from here reaches the server, "" where one would: its stream is opened as runs open it."""
    logger = getLogger(clients.__name__)  # it would say the same in three lines
    logger.disabled = True
    try:
        asyncio.run(_open())
    except TimeoutError:
        return f"no answer within {_MOST_SECONDS} seconds: {_address()}"
    except Exception as error:  # what Prefect's handshake raises; whatever it is, all else here works without events
        return redacted(f"{error}: {_address()}")
    finally:
        logger.disabled = False
    return ""


async def _open() -> None:
    async with asyncio.timeout(_MOST_SECONDS), clients.get_events_client(reconnection_attempts=0):
        pass


def _address() -> str:
    return redacted(clients.events_in_socket_from_api_url(PREFECT_API_URL.value() or ""))
