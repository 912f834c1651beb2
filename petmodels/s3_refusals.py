"""What it means that a store, the keeper of its keys or a source of credentials refuses, and who can mend it.

No line repeats what a refusal says in words of its own: those may name accounts, and what a program printed.
"""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from petmodels.errors import AccessError, NotFoundError, PetmodelsError, StoreError
from petmodels.storage import archived

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

BUSY = {
    "SlowDown", "503", "ServiceUnavailable", "InternalError", "500", "RequestTimeout", "502", "504",
    "Throttling", "ThrottlingException", "TooManyRequests", "429",
}  # fmt: skip
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_UNKNOWN_KEY = {"InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem", "Unauthorized"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException"}
_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"}  # GLACIER_IR is read like any other
_MOST_SKEW_SECONDS = 15 * 60
# botocore asks for these by itself before the first request, with a role or single sign-on in the profile.
_SIGNING_IN = {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetRoleCredentials"}


def refusal(error: "ClientError", code: str, address: str, doing: str) -> PetmodelsError | None:
    """Return what a refusal by its code means, None for what is none; `doing` completes "not allowed to …"."""
    said = error.response.get("Error", {})
    if code in _DENIED and _is_clock_off(error):
        code = "RequestTimeTooSkewed"  # which not every store says
    if refused := _of_credentials(code, address):
        return refused
    if error.operation_name in _SIGNING_IN and code not in BUSY:
        way = "look at AWS_PROFILE, and at whom the role trusts"
        return AccessError(f"the role can't be assumed: {code[:60]}; {way} ({doing}): {address}")
    if code == "InvalidObjectState":
        return archived(str(said.get("StorageClass", "")), address, doing)
    # A key that the caller may not use is AccessDenied like all else; only the sentence has the right's name.
    if code.startswith("KMS.") or (code in _DENIED and "kms:" in str(said.get("Message", ""))):
        way = "have it enabled, or ask for kms:Decrypt and, to write, kms:GenerateDataKey on it"
        return AccessError(f"the KMS key of the bucket refuses ({code[:60]}); {way} ({doing}): {address}")
    return _of_bucket(code, address, doing)


def archived_as(answer: Mapping[str, Any]) -> str:
    """Return the storage class of an object that nobody can read before somebody has it restored, else ""."""
    kind: str = answer.get("ArchiveStatus") or answer.get("StorageClass", "")
    is_restored = 'ongoing-request="false"' in answer.get("Restore", "")
    return kind if kind in _ARCHIVES and not is_restored else ""


def of_client(error: "BotoCoreError | OSError", address: str) -> PetmodelsError:
    """Return what it means that botocore can't ask, such as for want of credentials."""
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError"}:
        return AccessError(f"no credentials found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and the rest: {address}")
    if name == "CredentialRetrievalError":  # with what a program has printed, which may be a secret
        way = "look at AWS_PROFILE, and at the program or service that it names"
        return AccessError(f"the credentials can't be fetched ({_provider(error)}); {way}: {address}")
    if "SSO" in name or "Token" in name or name == "LoginRefreshRequired":
        return AccessError(f"the single sign-on session has ended; run aws sso login: {address}")
    if name == "ProfileNotFound":
        return AccessError(f"~/.aws has no such profile; check AWS_PROFILE ({_first_line(error)}): {address}")
    return StoreError(f"the connection can't be made ({name}: {_first_line(error)}): {address}")


def _of_credentials(code: str, address: str) -> PetmodelsError | None:
    if code in _EXPIRED:
        return AccessError(f"the credentials have expired; renew them (aws sso login, or a new token): {address}")
    if code in _UNKNOWN_KEY:
        return AccessError(f"the store doesn't know this access key or token; check AWS_PROFILE and AWS_*: {address}")
    if code == "SignatureDoesNotMatch":
        return AccessError(f"the secret key doesn't fit the access key; check AWS_SECRET_ACCESS_KEY: {address}")
    if code == "RequestTimeTooSkewed":
        return AccessError(f"this machine's clock is off, so the store refuses its requests; set the clock: {address}")
    return None


def _of_bucket(code: str, address: str, doing: str) -> PetmodelsError | None:
    if code == "NoSuchBucket":
        return NotFoundError(f"there is no such bucket; check the address and AWS_ENDPOINT_URL: {address}")
    if code in _REGION:
        way = "set AWS_DEFAULT_REGION, or the profile's region, to the bucket's"
        return AccessError(f"the bucket is in another region; {way}: {address}")
    if code in _DENIED:
        return AccessError(f"not allowed to {doing}; docs/consumer.md lists the rights each role needs: {address}")
    return None


def _is_clock_off(error: "ClientError") -> bool:
    """Say whether the store's clock, by its answer's Date, is further from ours than S3 allows a request's to be."""
    date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return abs(parsedate_to_datetime(date).timestamp() - time.time()) > _MOST_SKEW_SECONDS
    except (TypeError, ValueError):
        return False


def _provider(error: "BotoCoreError | OSError") -> str:
    return str(getattr(error, "kwargs", {}).get("provider", "by whom isn't said"))[:60]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]
