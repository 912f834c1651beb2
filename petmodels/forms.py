"""How documents spell times, identities and whole numbers, so that readers in any language take and refuse the same.

A number in JSON may have a fraction or an exponent: 1.0 and 1e0 are 1 to one language and not to the next. Here a
whole number has neither.
"""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")
_ID = re.compile(r"[0-9a-f]{32}")


def now() -> str:
    """Return the time by this machine's clock as documents have it: `2026-11-20T08:00:00Z`."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def days_ago(number: float) -> str:
    """Return the time so many days ago as `now` does."""
    then = datetime.now(UTC) - timedelta(days=number)
    return then.isoformat(timespec="seconds").replace("+00:00", "Z")


def new_id() -> str:
    """Return an identity that nothing else has."""
    return secrets.token_hex(16)


def is_time(content: object) -> bool:
    """Say whether this is a time as `now` writes it, on a day that there is."""
    found = _TIME.fullmatch(content) if isinstance(content, str) else None
    if found is None:
        return False
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return False
    return True


def is_id(content: object) -> bool:
    """Say whether this is an identity as `new_id` makes it."""
    return isinstance(content, str) and _ID.fullmatch(content) is not None


def is_whole_number(content: object, least: int, most: int) -> TypeGuard[int]:
    """Say whether this is a number without fraction or exponent, and neither too small nor too large."""
    return type(content) is int and least <= content <= most
