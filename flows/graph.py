"""Which stages of dvc.yaml make what a stage depends on.

Reads dvc.yaml's text, so that a stage that somebody adds before `train` goes the way of the others. A stage whose paths
aren't those that are written there is refused where `train` may depend on it: it would be left out in silence.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from flows.errors import RequestError
from flows.pipeline import STAGES, outputs_in, stages_in

_NOT_READ = {"foreach", "matrix", "wdir"}


def inputs_of(text: str, stage: str) -> list[str]:
    """Return the outputs of other stages that a stage depends on, or on files of which, in the order of its deps.

    Raises RequestError where there are none: DVC takes no name for every name. And as `stages_before` does.
    """
    return _outs(_read(text, stage), stage)


def stages_before(text: str, stage: str) -> list[str]:
    """Return the stages that a stage depends on, directly or not, in dvc.yaml's order.

    Raises RequestError for one that it may depend on, and whose paths can't be read.
    """
    return _before(_read(text, stage), stage)


def last_before(text: str, stage: str) -> list[str]:
    """Return those of `stages_before` that none of the others depends on: to reproduce them reproduces all.

    Raises RequestError as `inputs_of` does.
    """
    stages = _read(text, stage)
    _outs(stages, stage)  # raises where there are none
    before = _before(stages, stage)
    return [one for one in before if not any(one in _before(stages, other) for other in before)]


def _read(text: str, stage: str) -> Mapping[str, Any]:
    """Return the stages whose paths can be read, when of the others each depends on the stage."""
    stages = stages_in(text)
    plain = {name: about for name, about in stages.items() if _is_plain(about)}
    for name in stages.keys() - plain.keys():
        about = stages[name].get("do") or stages[name]
        makers = {maker for _, maker in _inputs(plain | {name: about}, name)} - {name}
        if not any(stage in {maker, *_before(plain, maker)} for maker in makers):
            told = f"the flows read no foreach, matrix, wdir and ${{…}} in what {stage} may depend on; write it out"
            raise RequestError(f"{STAGES}: {told}: {name}")
    return plain


def _outs(stages: Mapping[str, Any], stage: str) -> list[str]:
    if found := list(dict.fromkeys(out for out, _ in _inputs(stages, stage))):
        return found
    raise RequestError(f"{STAGES} has no stage {stage} that depends on another one")


def _is_plain(about: Mapping[str, Any]) -> bool:
    paths = [*(about.get("deps") or []), *outputs_in(about)]
    return not about.keys() & _NOT_READ and not any("${" in str(path) for path in paths)


def _before(stages: Mapping[str, Any], stage: str) -> list[str]:
    found: set[str] = set()
    waiting = {stage}
    while waiting:
        waiting = {maker for one in waiting for _, maker in _inputs(stages, one)} - found
        found |= waiting
    return [name for name in stages if name in found]


def _inputs(stages: Mapping[str, Any], stage: str) -> list[tuple[str, str]]:
    makers = {out: name for name, about in stages.items() for out in outputs_in(about)}
    deps = [PurePath(str(dep)) for dep in stages.get(stage, {}).get("deps") or []]
    return [(str(place), makers[str(place)]) for dep in deps for place in (dep, *dep.parents) if str(place) in makers]
