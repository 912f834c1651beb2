"""Names that people type: what is allowed, and where in a registry things are kept.

A specification is `model`, `model@version` or `model@alias`; `model` alone means its newest version.
"""

import re
import unicodedata
from dataclasses import dataclass

from petmodels.errors import AddressError

LATEST = "latest"
LAST_VERSION = 99_999_999
ROOT_KEY = "petmodels.json"
_MODEL = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"[0-9a-f]{64}(?:\.[0-9a-f]{16})?")
# What file managers and network disks leave in any folder.
_LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.nfs[0-9a-f]{8,}", re.IGNORECASE)


@dataclass(frozen=True)
class Spec:
    """What a person asked for: a model, and a version's number or an alias ("latest" when none was given)."""

    model: str
    version: int | None
    alias: str

    def __str__(self) -> str:
        return f"{self.model}@{self.version or self.alias}"


def spec_of(text: str) -> Spec:
    """Read `pets`, `pets@7` or `pets@production`; raise AddressError for anything else."""
    if not isinstance(text, str):
        raise AddressError(f"a model is named by a text such as pets@production: {text!r}")
    model, at, wanted = text.partition("@")
    check_model(model)
    if at and re.fullmatch(r"[0-9]+", wanted):
        digits = wanted.lstrip("0")
        if not 1 <= len(digits) <= len(str(LAST_VERSION)):
            raise AddressError(f"versions are numbered from 1 to {LAST_VERSION}: {text[:90]}")
        return Spec(model, int(digits), "")
    alias = wanted if at else LATEST
    if alias != LATEST:
        check_alias(alias)
    return Spec(model, None, alias)


def check_model(name: str) -> str:
    """Return the name of a model, or raise AddressError."""
    if not is_model(name):
        raise AddressError(f"a model's name is 1 to 64 of a-z 0-9 . _ - between letters or digits: {name!r}")
    return name


def is_model(name: str) -> bool:
    """Say whether this can be the name of a model."""
    return _MODEL.fullmatch(name) is not None and ".." not in name and name != ROOT_KEY


def check_alias(name: str) -> str:
    """Return the name of an alias, or raise AddressError; `latest` is no alias, it always names the newest version."""
    if name == LATEST:
        raise AddressError("latest always names the newest version and can't be moved; choose another alias: latest")
    if not is_alias(name):
        raise AddressError(f"an alias is 1 to 64 of a-z 0-9 . _ - from a letter to a letter or digit: {name!r}")
    return name


def is_alias(name: str) -> bool:
    """Say whether this can be the name of an alias."""
    return name != LATEST and _ALIAS.fullmatch(name) is not None and ".." not in name


def version_key(model: str, version: int) -> str:
    """Return where a manifest is kept; keys sort newest first, so that one short listing finds the newest."""
    return f"{model}/versions/{LAST_VERSION - version:08d}-{version}.json"


def version_of(key: str) -> int | None:
    """Return the number of the version that is kept under `key`, None when it is no manifest's key."""
    found = re.fullmatch(r"(.+)/versions/[0-9]{8}-([1-9][0-9]{0,7})\.json", key)
    if not found or version_key(found[1], int(found[2])) != key:
        return None
    return int(found[2])


def alias_key(model: str, alias: str) -> str:
    """Return where an alias's history is kept."""
    return f"{model}/aliases/{alias}.jsonl"


def blob_key(model: str, blob: str) -> str:
    """Return where a file's bytes are kept."""
    return f"{model}/blobs/{blob}"


def is_litter(name: str) -> bool:
    """Say whether a file of this name was left by the system, so that nobody means it."""
    return _LITTER.fullmatch(name) is not None


def is_sha256(text: object) -> bool:
    """Say whether this is a SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def is_blob(text: object, sha256: str) -> bool:
    """Say whether this names a blob with that hash: the hash, or the hash and a suffix that makes it a second copy."""
    return isinstance(text, str) and _BLOB.fullmatch(text) is not None and text.startswith(sha256)


def steers(character: str) -> bool:
    """Say whether a character does something to a terminal, or to the line that it stands in, instead of being shown.

    The joiners of scripts and emoji and the soft hyphen are letters' companions, and no danger.
    """
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character not in "\u00ad\u200c\u200d"
