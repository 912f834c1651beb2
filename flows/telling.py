"""What may be told of anybody's text: no secret of this environment, nothing that steers a terminal or forges a line.

Reads the environment; leaves nothing.
"""

import os
import re

from petmodels.names import steers

_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE|CREDENTIAL|API_KEY|AUTH_STRING|^PETMODELS_NOTIFY$", re.IGNORECASE
)
# Up to the last @ before a slash; where there is none, past the slashes of a password, unless a port or the end of
# a JSON text comes first. One that begins with \w+ takes quadratic time on a long word, and so does one that goes on
# past the next address.
_USER_IN_URL = re.compile(r'(?<=://)(?:[^/\s]+|[^/\s:\["]*:(?!\d{1,5}/)[^\s:]*(?::(?!//)[^\s:]*)*)@')


def redacted(text: str) -> str:
    """Return a text without the values of this environment's secrets and without users in addresses."""
    secrets = {value for name, value in os.environ.items() if _is_secret(name) and len(value) > 5}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _USER_IN_URL.sub("***@", text)


def printable(text: str) -> str:
    """Return a text that can neither tell a terminal what to do nor pass for several, whoever named a file in it."""
    if text.isprintable():
        return text
    return "".join(one.encode("unicode_escape").decode() if steers(one) and one != "\t" else one for one in text)


def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not name.endswith(("_FILE", "_PATH", "_DIR"))
