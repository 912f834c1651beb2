"""What `petmodels` promises, a line each: names, signatures, fields, errors, commands and settings.

`public.txt` beside this is how it stood when somebody last meant it to; `python -m tests.petmodels.public` writes that
anew. Spelled as the source does, and not by `inspect.signature`, whose words for a type are others in each Python.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main

import petmodels
from petmodels import errors
from petmodels.main import app

STORED = Path(__file__).with_name("public.txt")
_INSIDE = {  # without an underscore for the flows, which belong to the same project
    "petmodels.Model.preprocess",
    "petmodels.Registry.cache",
    "petmodels.Registry.memory",
    "petmodels.Registry.storage: Storage",
}
_SETTING = re.compile(r'"(PETMODELS_\w+)"')


def surface() -> list[str]:
    """Return what is public, a line each."""
    return [
        "# Written by python -m tests.petmodels.public",
        "",
        *(line for name in petmodels.__all__ for line in _exported(name)),
        "",
        *(f"petmodels.errors.{one.__name__}({_bases(one)}): exit code {one.exit_code}" for one in _errors()),
        "",
        *(_command(name, command) for name, command in sorted(_commands().items())),
        "",
        *sorted({setting for path in _sources() for setting in _SETTING.findall(path.read_text(encoding="utf-8"))}),
    ]


def _exported(name: str) -> Iterator[str]:
    found, whole = getattr(petmodels, name), f"petmodels.{name}"
    if inspect.isfunction(found):
        yield _signature("petmodels.", _parsed(found))
    elif not inspect.isclass(found):
        yield whole
    elif not issubclass(found, Exception):
        source = _parsed(found)
        yield f"{_decorators(source)}{whole}"
        yield from (line for node in source.body for line in _member(f"{whole}.", node) if line not in _INSIDE)


def _parsed(found: Callable[..., Any]) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]


def _member(prefix: str, node: ast.stmt) -> Iterator[str]:
    """Yield what a statement of a class adds to it: a field, a method, or what `__init__` sets."""
    if isinstance(node, ast.AnnAssign):
        yield f"{prefix}{ast.unparse(node)}"
    if not isinstance(node, ast.FunctionDef):
        return
    if node.name == "__init__":
        yield from sorted(f"{prefix}{name}" for name in _set_in(node) if not name.startswith("_"))
    if node.name == "__init__" or not node.name.startswith("_"):
        yield _signature(prefix, node)


def _set_in(node: ast.FunctionDef) -> Iterator[str]:
    """Yield the attributes that `__init__` gives an object, with the type where one is written."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            yield f"{ast.unparse(statement.target)}: {ast.unparse(statement.annotation)}".removeprefix("self.")
        elif isinstance(statement, ast.Assign):
            found = (one for target in statement.targets for one in ast.walk(target) if isinstance(one, ast.Attribute))
            yield from (one.attr for one in found)


def _signature(prefix: str, node: ast.FunctionDef) -> str:
    given = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{_decorators(node)}{prefix}{node.name}({ast.unparse(node.args)}){given}"


def _decorators(node: ast.FunctionDef | ast.ClassDef) -> str:
    return "".join(f"@{ast.unparse(one)} " for one in node.decorator_list)


def _errors() -> list[type[errors.PetmodelsError]]:
    found = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.PetmodelsError)]
    return sorted(found, key=lambda one: one.__name__)


def _bases(one: type) -> str:
    return ", ".join(base.__name__ for base in one.__bases__)


def _commands() -> dict[str, Any]:
    found: dict[str, Any] = typer.main.get_group(app).commands
    return found


def _command(name: str, command: Any) -> str:
    words = [name]
    for one in command.params:
        spelled = " ".join(sorted(one.opts)) if one.param_type_name == "option" else one.name.upper()
        words.append(
            f"{'' if one.required else '['}{spelled}{' ...' if _is_many(one) else ''}{'' if one.required else ']'}"
        )
    return f"$ petmodels {' '.join(words)}"


def _is_many(parameter: Any) -> bool:
    return bool(parameter.nargs == -1 or getattr(parameter, "multiple", False))


def _sources() -> list[Path]:
    return sorted(Path(inspect.getfile(petmodels)).parent.glob("*.py"))


if __name__ == "__main__":
    STORED.write_text("\n".join(surface()) + "\n", encoding="utf-8")
