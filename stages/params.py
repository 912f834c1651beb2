"""Read one section of params.yaml into the frozen dataclass that stands next to its stage.

Reads params.yaml; leaves nothing. Every key of a section must be there and no other: a value that is silently
defaulted is one that `dvc params diff` can't show.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from stages.errors import ParamsError

Section = TypeVar("Section")

_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}

# Shared by all sections: nothing is coerced, so that `epochs: "4"` is a mistake and not a guess.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


def section(path: Path, name: str, kind: type[Section]) -> Section:
    """Return section `name` of the params file as a `kind`; raises as `sections` does."""
    found: Section = sections(path, {name: kind})[name]
    return found


def sections(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return sections of the params file by their names, each as its kind.

    Raises ParamsError, naming file, section and key, for a file that is missing or no YAML mapping, for unknown,
    mistyped or impossible values, and for missing keys: all of them at once, because a newer release may want several.
    """
    document = all_sections(path)
    contents = {name: _content(path, document, name) for name in kinds}
    found: dict[str, Any] = {}
    lacking: list[str] = []
    for name, kind in kinds.items():
        try:
            found[name] = TypeAdapter(kind).validate_json(contents[name])
        except ValidationError as error:
            # An unknown key first: it is the typo, of which the missing key is only the consequence.
            mistakes = sorted(error.errors(include_url=False), key=_rank)
            first: Any = mistakes[0]
            if first["type"] not in _MISSING:
                raise ParamsError(f"{path}: {name}: {_explained(first, kind)}") from error
            lacking += [f"{name}.{one['loc'][0]}{_meaning(kind, str(one['loc'][0]))}" for one in mistakes]
    if lacking:
        raise ParamsError(f"{path} lacks: {'; '.join(lacking)}")
    return found


def _content(path: Path, document: dict[str, Any], name: str) -> str:
    """Return a section as JSON, because pydantic's strict mode takes a mapping for a dataclass only from there."""
    if not isinstance(document.get(name), dict):
        there = ", ".join(map(str, document)) or "none"
        raise ParamsError(f"{path}: section '{name}' is missing; sections: {there}")
    try:
        return json.dumps(document[name], default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: {name}: a key is no plain word, or a value holds itself: {error}") from error


def all_sections(path: Path) -> dict[str, Any]:
    """Return all sections of the params file; ParamsError for one that is missing or no YAML mapping."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ParamsError(f"no params file; run from the project's folder or name one with --params: {path}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a number of many digits
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: expected sections, found: {type(document).__name__}")
    return document


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as DVC reads it, where `yes` and `1:30` are texts; a key that is none, or stands twice, is an error.

    Two things are read otherwise: dates, which DVC takes for dates, are texts here, and so is `=`, which it refuses.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag not in _KEY_TAGS:
                shown = f": {key_node.value}" if isinstance(key_node, yaml.ScalarNode) else ""
                raise yaml.constructor.ConstructorError(None, None, f"a key is no text{shown}", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key_node.value}' stands twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node)).replace("_", "")
        return int(text, 0 if re.match("[-+]?0[box]", text) else 10)


_TAG = "tag:yaml.org,2002:"
_KEY_TAGS = {f"{_TAG}str", f"{_TAG}merge"}
_FLOATS = (
    r"[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.[\d_]+([eE][-+]\d+)?)",
    r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
)
_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_whole_number)
for _kind, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", "-+0123456789"),
    ("float", "|".join(_FLOATS), "-+0123456789."),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"(?a:{_pattern})\Z"), list(_first))


def _rank(error: Mapping[str, Any]) -> int:
    return 0 if error["type"] == "unexpected_keyword_argument" else 2 if error["type"] in _MISSING else 1


def _meaning(kind: type, key: str) -> str:
    """Return what a key means, in brackets, without README's mark; "" where nobody has said it."""
    parts = get_args(get_type_hints(kind, include_extras=True)[key])
    told = next((part.description for part in parts if isinstance(part, FieldInfo) and part.description), "")
    return told and f" ({told.removesuffix(' †')})"


def _explained(error: dict[str, Any], kind: type) -> str:
    location = [str(part) for part in error["loc"]]
    key = location[0] if location else ""
    known = [field.name for field in fields(kind)]
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown key '{key}'; known keys: {', '.join(known)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}: {error['input']!r}"
