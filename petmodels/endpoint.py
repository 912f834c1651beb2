"""Which server the environment and the files in ~/.aws name for S3, as botocore reads them.

Two servers may each have a bucket of the same name. Imports botocore only where a file names a server.
"""

import os
from pathlib import Path

_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_IGNORED = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


def configured_endpoint() -> str:
    """Return the address of the server that botocore would ask, "" for AWS's own."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if _IGNORED in os.environ or any(map(_names_one, _FILES)):
        return _of_botocore()
    return named


def _names_one(variable: str) -> bool:
    """Say whether the file names a server, or says that those are to be ignored which are named."""
    path = Path(os.path.expandvars(os.environ.get(variable) or _FILES[variable]))
    try:
        return b"endpoint_url" in path.expanduser().read_bytes()
    except (OSError, RuntimeError):  # there is none, or no home
        return False


def _of_botocore() -> str:
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session()
    try:
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return ""
        found = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3").provide()
    except BotoCoreError:  # no such profile, or no file that can be read; the first request says so
        return ""
    return str(found or "")
