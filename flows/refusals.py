"""Remember in a workspace that a challenger was refused, so that it isn't judged again until something changes.

That is the challenger, the champion, its registry, the rules, or the code that judges: an upgrade may mend what was
refused. Reads a workspace; leaves a note in it.
"""

import hashlib
import json
from pathlib import Path

from flows import pipeline
from flows.evidence import BUNDLE
from flows.workspace import Workspace

_NOTE = "build/refused.json"
_JUDGING = (
    "at_labels", "champion", "costs", "evidence", "first", "gate", "paired", "recalls", "tested", "turns",
)  # fmt: skip
_CHECKOUT = Path(__file__).parents[1]


def is_refused(w: Workspace, registry: str, model: str, champion: int | None) -> bool:
    """Say whether the workspace's challenger was refused before, and nothing has changed since.

    `registry` is the address of the champion's: under one number another registry may have another model.
    """
    return w.text(_NOTE) == _refusal(w, registry, model, champion)


def note_refusal(w: Workspace, registry: str, model: str, champion: int | None) -> None:
    """Remember that the workspace's challenger is refused."""
    (w.folder / _NOTE).parent.mkdir(exist_ok=True)
    w.set_text(_NOTE, _refusal(w, registry, model, champion))


def judging_code(checkout: Path) -> str:
    """Return the SHA-256 of the code that judges: the gate's in flows/, and all of petmodels/, which loads and runs."""
    own = [checkout / f"flows/{name}.py" for name in _JUDGING]
    digest = hashlib.sha256()
    for path in (*own, *sorted((checkout / "petmodels").glob("*.py"))):
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _refusal(w: Workspace, registry: str, model: str, champion: int | None) -> str:
    return json.dumps({
        "registry": registry,
        "model": model,
        "bundle": pipeline.outputs_of(w.text(pipeline.LOCK)).get(str(BUNDLE)),
        "champion": champion,
        "params": hashlib.sha256(w.text(pipeline.PARAMS).encode()).hexdigest(),
        "code": judging_code(_CHECKOUT),
    })  # fmt: skip
