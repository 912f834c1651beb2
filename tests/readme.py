"""Write what is made from other files: README's table of parameters and file map, and the versions that DVC compares.

Run `python -m tests.readme` after a change of params.yaml, of a module's docstring, or of constraints.txt.
"""

import ast
import importlib
import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import yaml
from pydantic.fields import FieldInfo

from stages.entry import NAMES

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PINS = ROOT / "stages/pins.yaml"
FLOWS = {"gate": "flows", "ingest": "flows", "watch": "flows"}


def with_generated_parts(text: str) -> str:
    """Return README's text with what stands between its markers made anew."""
    for name, content in {"parameters": parameters(), "files": files()}.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text = re.sub(pattern, lambda match, new=content: match[1] + new + match[2], text, flags=re.DOTALL)
    return text


def parameters() -> str:
    """Return the table of params.yaml: every key with its default and what it means."""
    defaults = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    rows = ["| key | in params.yaml | meaning |", "|---|---|---|"]
    for stage, package in {**dict.fromkeys(NAMES, "stages"), **FLOWS}.items():
        kind = getattr(importlib.import_module(f"{package}.{stage}"), f"{stage.capitalize()}Params")
        hints = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            default = str(yaml.safe_dump(defaults[stage][field.name], default_flow_style=True, width=999))
            shown = default.removesuffix("\n").removesuffix("\n...").replace("|", "\\|")
            shown = shown if len(shown) < 60 else "…"
            meaning = _description(hints[field.name]).replace("|", "\\|")
            rows.append(f"| `{stage}.{field.name}` | `{shown}` | {meaning} |")
    return "\n".join(rows) + "\n"


def files() -> str:
    """Return the file map: each module of the three packages with the first line of its docstring."""
    lines = []
    for package in ("stages", "flows", "petmodels"):
        lines.append(f"\n**{package}/**\n")
        for path in sorted((ROOT / package).glob("*.py")):
            if path.name != "__init__.py":
                docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
                first = " ".join(docstring.split("\n\n")[0].split())
                lines.append(f"- `{path.name}`: {first}")
    return "\n".join(lines) + "\n"


def pins() -> str:
    """Return the versions in constraints.txt of the packages that dvc.yaml's stages name, as YAML."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = {normalised(name): version for name, _, version in (line.partition("==") for line in lines)}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    names = sorted({name for stage in stages for name in pinned_packages(stage)})
    head = (
        "# Written from constraints.txt by `python -m tests.readme`: the packages that decide what the stages make.\n"
    )
    return head + "".join(f'{name}: "{versions[name]}"\n' for name in names)  # quoted: else YAML takes 3.20 for 3.2


def pinned_packages(stage: dict[str, Any]) -> list[str]:
    """Return the packages whose versions a stage of dvc.yaml depends on, in its order."""
    path = PINS.relative_to(ROOT).as_posix()
    return [name for entry in stage["params"] if isinstance(entry, dict) for name in entry[path]]


def normalised(package: str) -> str:
    """Return a package's name as package indexes compare it."""
    return re.sub("[-_.]+", "-", package).lower()


def _description(hint: Any) -> str:
    assert get_origin(hint) is Annotated
    return next(str(part.description) for part in get_args(hint) if isinstance(part, FieldInfo) and part.description)


if __name__ == "__main__":
    PINS.write_text(pins(), encoding="utf-8")
    README.write_text(with_generated_parts(README.read_text(encoding="utf-8")), encoding="utf-8")
