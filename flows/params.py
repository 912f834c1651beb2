"""Read a flow's section of a workspace's params.yaml into the frozen dataclass that stands next to the flow.

Reads params.yaml; leaves nothing. The rules of a release are versioned with the pipeline that they judge, so they are
read from the revision that runs and not from the worker's own files.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from flows.errors import RequestError
from flows.pipeline import values_of

Section = TypeVar("Section")

_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


def section(path: Path, name: str, kind: type[Section]) -> Section:
    """Return section `name` of a params file as a `kind`; raise RequestError naming file, section and key.

    All missing keys are named at once, because a newer release may want several.
    """
    try:
        document = values_of(path.read_bytes(), f"{path.name} of this revision")
    except OSError as error:
        raise RequestError(f"{path.name} of this revision can't be read: {error}") from error
    content = document.get(name) if isinstance(document, dict) else None
    if not isinstance(content, dict):
        raise RequestError(f"{path.name} of this revision has no section: {name}")
    try:
        # By way of JSON, because pydantic's strict mode takes a mapping for a dataclass only from there.
        text = json.dumps(content, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"{path.name}: {name}: a key is no plain word, or a value holds itself: {error}") from error
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        # An unknown key first: it is the typo, of which the missing key is only the consequence.
        mistakes = sorted(error.errors(include_url=False), key=_rank)
        if mistakes[0]["type"] not in _MISSING:
            raise RequestError(f"{path.name}: {name}: {_explained(dict(mistakes[0]), kind)}") from error
        lacking = (f"{name}.{one['loc'][0]}{_meaning(kind, str(one['loc'][0]))}" for one in mistakes)
        raise RequestError(f"{path.name} of this revision lacks: {'; '.join(lacking)}") from error


def _rank(error: Mapping[str, Any]) -> int:
    return 0 if error["type"] == "unexpected_keyword_argument" else 2 if error["type"] in _MISSING else 1


def _meaning(kind: type, key: str) -> str:
    """Return what a key means, in brackets; "" where nobody has said it."""
    parts = get_args(get_type_hints(kind, include_extras=True)[key])
    told = next((part.description for part in parts if isinstance(part, FieldInfo) and part.description), "")
    return told and f" ({told})"


def _explained(error: dict[str, Any], kind: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown key '{key}'; known keys: {', '.join(field.name for field in fields(kind))}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}: {error['input']!r}"
