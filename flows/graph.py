"""Which stages of dvc.yaml make what a stage depends on.

Reads dvc.yaml's text, so that a stage that somebody adds before `train` goes the way of the others.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from flows.errors import RequestError
from flows.pipeline import outputs_in, stages_in


def inputs_of(text: str, stage: str) -> list[str]:
    """Return the outputs of other stages that a stage depends on, or on files of which, in the order of its deps.

    Raises RequestError where there are none: DVC takes no name for every name.
    """
    if found := list(dict.fromkeys(out for out, _ in _inputs(stages_in(text), stage))):
        return found
    raise RequestError(f"dvc.yaml has no stage {stage} that depends on another one")


def stages_before(text: str, stage: str) -> list[str]:
    """Return the stages that a stage depends on, directly or not, in dvc.yaml's order."""
    stages = stages_in(text)
    found: set[str] = set()
    waiting = {stage}
    while waiting:
        waiting = {maker for one in waiting for _, maker in _inputs(stages, one)} - found
        found |= waiting
    return [name for name in stages if name in found]


def last_before(text: str, stage: str) -> list[str]:
    """Return those of `stages_before` that none of the others depends on: to reproduce them reproduces all.

    Raises RequestError as `inputs_of` does.
    """
    inputs_of(text, stage)  # raises where there are none
    before = stages_before(text, stage)
    return [one for one in before if not any(one in stages_before(text, other) for other in before)]


def _inputs(stages: Mapping[str, Any], stage: str) -> list[tuple[str, str]]:
    makers = {out: name for name, about in stages.items() for out in outputs_in(about)}
    deps = [PurePath(str(dep)) for dep in stages.get(stage, {}).get("deps") or []]
    return [(str(place), makers[str(place)]) for dep in deps for place in (dep, *dep.parents) if str(place) in makers]
