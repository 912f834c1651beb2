"""Ed25519 signatures over statements, and the keys that this machine trusts.

A key file holds one line: `petmodels-secret-key <base64 of the 32-byte seed>`. A public key is the base64 of its 32
bytes; PETMODELS_TRUSTED_KEYS lists the trusted ones, separated by commas or spaces.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from petmodels.documents import Signature, Statement
from petmodels.errors import MachineError, RequestError, SignatureError

if TYPE_CHECKING:
    from nacl.signing import SigningKey

TRUSTED_KEYS = "PETMODELS_TRUSTED_KEYS"
_PREFIX = "petmodels-secret-key "
# A signature made for something else with the same key must never pass for one of ours.
_DOMAIN = b"petmodels statement 1\n"


def new_key(path: Path) -> str:
    """Write a new secret key that only its owner may read, never over an existing file; return the public key."""
    from nacl.signing import SigningKey

    key = SigningKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RequestError(f"a file of that name exists, and keys are never overwritten: {path}") from error
    except OSError as error:
        raise MachineError(f"the key can't be written ({error.strerror}): {path}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(_PREFIX + base64.b64encode(bytes(key)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return _public(key)


def signed(statement: Statement, key_file: Path) -> Statement:
    """Return the statement with a signature by the key in `key_file` added."""
    from nacl.signing import SigningKey

    key = SigningKey(_seed(key_file))
    signature = key.sign(_DOMAIN + statement.payload.encode()).signature
    added = Signature(_public(key), base64.b64encode(signature).decode())
    return Statement(statement.payload, (*statement.signatures, added))


def public_key(path: Path) -> str:
    """Return the public key that belongs to the secret one in a key file."""
    from nacl.signing import SigningKey

    return _public(SigningKey(_seed(path)))


def check_key_file(path: Path) -> None:
    """Raise RequestError unless `path` holds a secret key; done before any work, so that nothing is sent for nought."""
    _seed(path)


def trusted_keys(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the public keys that PETMODELS_TRUSTED_KEYS lists; empty when it is unset: signatures aren't asked for."""
    value = environment.get(TRUSTED_KEYS)
    if value is None:
        return frozenset()
    keys = value.replace(",", " ").split()
    if not keys:  # as an unfilled ${KEYS} leaves it: whoever wrote that meant to be protected
        raise RequestError(f"{TRUSTED_KEYS} is set and holds no key; to ask for no signature, unset it: {value[:60]!r}")
    for key in keys:
        if len(_decoded(key)) != 32:
            raise RequestError(f"{TRUSTED_KEYS} holds something that is no public key of petmodels keygen: {key[:60]}")
    return frozenset(keys)


def check_signed(statement: Statement, keys: frozenset[str], where: str) -> None:
    """Raise SignatureError unless one of `keys` signed the statement; with no keys anything passes."""
    if not keys:
        return
    if not statement.signatures:
        raise SignatureError(f"{where} is not signed, and {TRUSTED_KEYS} asks for a signature")
    known = [one for one in statement.signatures if one.key in keys]
    if not known:
        raise SignatureError(f"{where} is signed by a key that isn't trusted here: {statement.signatures[0].key[:60]}")
    if not any(_holds(statement.payload, one) for one in known):
        raise SignatureError(f"{where} carries a wrong signature; its bytes are not what was signed")


def claims(statement: Statement) -> tuple[list[str], list[str]]:
    """Return the keys whose signatures hold over the statement, and those whose don't, or are of an unknown kind."""
    keys: tuple[list[str], list[str]] = [], []
    for one in statement.signatures:
        keys[not _holds(statement.payload, one)].append(one.key)
    return keys


def _holds(payload: str, signature: Signature) -> bool:
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(_decoded(signature.key)).verify(_DOMAIN + payload.encode(), _decoded(signature.signature))
    except (BadSignatureError, ValueError):
        return False
    return True


def _public(key: "SigningKey") -> str:
    return base64.b64encode(bytes(key.verify_key)).decode()


def _seed(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise RequestError(f"no key can be read here; petmodels keygen makes one: {path}") from error
    seed = _decoded(text.removeprefix(_PREFIX).strip())
    if not text.startswith(_PREFIX) or len(seed) != 32:
        raise RequestError(f"this is no secret key of petmodels keygen: {path}")
    return seed


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
