"""Read one section of params.yaml into the frozen dataclass that stands next to its stage.

Reads params.yaml; leaves nothing. Every key of a section must be there and no other: a value that is silently
defaulted is one that `dvc params diff` can't show.
"""

import difflib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from stages.errors import ParamsError

Section = TypeVar("Section")

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
    """Return section `name` of the params file as a `kind`.

    Raises ParamsError, naming file, section and key, for a file that is missing or no YAML mapping, and for unknown,
    missing, mistyped or impossible values.
    """
    document = all_sections(path)
    if not isinstance(document.get(name), dict):
        sections = ", ".join(map(str, document)) or "none"
        raise ParamsError(f"{path}: section '{name}' is missing; sections: {sections}")
    try:
        # By way of JSON, because pydantic's strict mode takes a mapping for a dataclass only from there.
        content = json.dumps(document[name], default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: {name}: a key is no plain word, or a value holds itself: {error}") from error
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        # An unknown key first: it is the typo, of which the missing key is only the consequence.
        mistakes = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "unexpected_keyword_argument")
        first: Any = mistakes[0]
        raise ParamsError(f"{path}: {name}: {_explained(first, kind)}") from error


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


def nearest(name: str, known: list[str]) -> str:
    """Return a phrase that offers the known names closest to `name`, or all of them when there are fewer than ten."""
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.6)
    if len(known) < 10:
        return f"known: {', '.join(known)}"
    return f"nearest: {', '.join(close)}" if close else f"none of the {len(known)} known names is near"


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


def _explained(error: dict[str, Any], kind: type) -> str:
    location = [str(part) for part in error["loc"]]
    key = location[0] if location else ""
    known = [field.name for field in fields(kind)]
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown key '{key}'; known keys: {', '.join(known)}"
    if error["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"missing key '{key}'"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}: {error['input']!r}"
