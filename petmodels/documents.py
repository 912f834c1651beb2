"""Read and write the registry's JSON: strict, bounded, and with room for signatures.

A statement is `{"payload": "<JSON text>", "signatures": [{"key": …, "signature": …}]}`: what is hashed and signed is
the payload's exact text, so that no two languages have to agree on how to print a number.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petmodels.errors import FormatError

FORMAT = 1
LONGEST_DOCUMENT_BYTES = 4 * 2**20
_DEEPEST = 64


@dataclass(frozen=True)
class Signature:
    """A signature over a payload: the public key and the signature itself, both base64."""

    key: str
    signature: str


@dataclass(frozen=True)
class Statement:
    """A payload's text as it was written, and who signed it."""

    payload: str
    signatures: tuple[Signature, ...] = ()

    @property
    def sha256(self) -> str:
        """The payload's identity: SHA-256 of its UTF-8 text."""
        return hashlib.sha256(self.payload.encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return one line of JSON, with its line end."""
        signatures = [{"key": one.key, "signature": one.signature} for one in self.signatures]
        return (dump({"payload": self.payload, "signatures": signatures}) + "\n").encode()


def dump(content: Mapping[str, Any]) -> str:
    """Return compact JSON on one line, keys in the given order; NaN and infinity are refused."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def load_object(data: bytes | str, where: str) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Raises FormatError, which names `where`, for anything that two readers could understand differently or that could
    choke one: no object, a key given twice, NaN or infinity, more than 4 MiB, more than 64 levels.
    """
    if len(data) > LONGEST_DOCUMENT_BYTES:
        raise FormatError(f"{where} is larger than {LONGEST_DOCUMENT_BYTES} bytes; refused unread")
    try:
        text = data if isinstance(data, str) else data.decode()
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()  # 1e999 is read as infinity
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not plain JSON: {_first_words(error)}") from error
    if not isinstance(content, dict):
        raise FormatError(f"{where} is not a JSON object")
    if _depth(content) > _DEEPEST:
        raise FormatError(f"{where} is nested more than {_DEEPEST} levels deep")
    return content


def load_statement(data: bytes, where: str) -> Statement:
    """Return the statement in `data`, or raise FormatError."""
    content = load_object(data, where)
    payload, signatures = content.get("payload"), content.get("signatures")
    if set(content) != {"payload", "signatures"} or not isinstance(payload, str) or not isinstance(signatures, list):
        raise FormatError(f"{where} is not a statement with a payload and signatures")
    return Statement(payload, tuple(_signature(one, where) for one in signatures))


def load_payload(statement: Statement, where: str) -> dict[str, Any]:
    """Return a statement's payload, or raise FormatError; an unknown format is refused before anything else is read."""
    content = load_object(statement.payload, where)
    check_format(content, where)
    return content


def check_format(content: Mapping[str, Any], where: str) -> None:
    """Raise FormatError unless `content` is of the format that this program knows."""
    found = content.get("format")
    if type(found) is not int or found <= 0:
        raise FormatError(f"{where} is of no format that petmodels knows: {str(found)[:40]}")
    if found > FORMAT:
        raise FormatError(
            f"{where} is of a newer format than this petmodels knows; upgrade petmodels: {str(found)[:40]}"
        )


def json_number(content: object) -> float | None:
    """Return a JSON number as a float, None for anything else and for what no float can hold."""
    if isinstance(content, bool) or not isinstance(content, int | float):
        return None
    try:
        return float(content)
    except OverflowError:
        return None


def _signature(content: object, where: str) -> Signature:
    if not isinstance(content, dict) or set(content) != {"key", "signature"}:
        raise FormatError(f"{where} holds something else than a signature among its signatures")
    if not all(isinstance(value, str) for value in content.values()):
        raise FormatError(f"{where} holds a signature that is no text")
    return Signature(content["key"], content["signature"])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _first_words(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0][:120]


def _depth(content: object) -> int:
    deepest, waiting = 0, [(content, 1)]
    while waiting:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting.extend((item, depth + 1) for item in inner)
    return deepest
