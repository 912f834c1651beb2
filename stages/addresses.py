"""Say what an address in params.yaml or arrivals.csv means, and how it may be printed.

Reads nothing but the address; leaves nothing.
"""

from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from stages.errors import SourceError

Kind = Literal["http", "s3", "sample", "path"]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")

_LONGEST_NAME_BYTES = 255  # what usual file systems take
# The parts of a query by which servers let in whoever has the address: signed ones of S3, Google, CloudFront and Azure,
# and keys of programs, as they are usually called.
_SECRETS = {
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "awsaccesskeyid", "x-goog-signature",
    "x-goog-credential", "googleaccessid", "signature", "sig", "token", "access_token", "auth_token", "private_token",
    "api_key", "apikey", "api-key", "access_key", "secret", "password",
}  # fmt: skip


def kind_of(address: str) -> Kind:
    """Say what an address is; raises SourceError for one that can't be used, or that holds a secret."""
    if "\0" in address:
        raise SourceError(f"no address and no path holds the character NUL: {address!r}")
    scheme, separator, rest = address.partition("://")
    if address.startswith("sample:"):
        return "sample"
    if not separator:
        return "path"
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        if not bucket or not key or key.endswith("/"):
            raise SourceError(f"an S3 address names one object, as s3://bucket/key: {address}")
        return "s3"
    if scheme not in {"http", "https"}:
        raise SourceError(f"unknown kind of address; known: https://…, http://…, s3://…, sample:, a path: {address}")
    _check_server(address)
    return "http"


def shown(address: str) -> str:
    """Return the address as it may be printed: without a query, which often holds a signature, and without a user."""
    if not address.startswith(("http://", "https://")):
        return address
    place, question, _ = address.partition("?")
    scheme, _, rest = place.partition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}://{server.rpartition('@')[2]}{slash}{path}{'?…' if question else ''}"


def file_name(address: str) -> str:
    """Return the last part of the address' path, or `file` where that can't name a file."""
    path = unquote(urlsplit(address).path) if kind_of(address) == "http" else address
    name = path.replace("\\", "/").rpartition("/")[2]
    usable = name.strip(". ") and name.isprintable() and len(name.encode()) <= _LONGEST_NAME_BYTES
    return name if usable else "file"


def names_image(address: str) -> bool:
    """Say whether the address ends as an image's name does."""
    return file_name(address).lower().endswith(IMAGE_SUFFIXES)


def _check_server(address: str) -> None:
    try:
        parts = urlsplit(address)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise SourceError(f"no server's name in the address: {shown(address)}")
    _check_no_secret(parts, shown(address))


def _check_no_secret(parts: SplitResult, told: str) -> None:
    """Raise SourceError where the address lets in whoever reads it: dvc.lock, params.yaml and manifests repeat it."""
    if parts.username or parts.password:
        raise SourceError(f"no user or password belongs in an address; keep them in ~/.netrc: {told}")
    named = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if secrets := sorted(named & _SECRETS):
        raise SourceError(
            f"a signature or token doesn't belong in an address ({secrets[0]}), every version would publish it; name "
            f"s3://bucket/key, with this machine's credentials, or fetch it and name the local file: {told}"
        )
