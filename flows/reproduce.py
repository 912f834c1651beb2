"""The flow `reproduce`: rebuild a published version from nothing but its manifest, and say what is the same.

Reads the manifest's git commit, dvc.lock and params; leaves a table, and the fresh clone only where that is asked for.
"""

import math
from collections.abc import Mapping
from typing import Any

from prefect import flow

from flows import pipeline
from flows.artifacts import artifact_key, leave_table
from flows.dvc_lock import check_lock
from flows.errors import RequestError
from flows.evidence import BUNDLE, files_of
from flows.outcome import settled, tell
from flows.settings import Settings
from flows.workspace import workspace
from petmodels import Manifest, Registry
from petmodels.bundle import CARD, METRICS
from petmodels.documents import load_object
from petmodels.errors import PetmodelsError
from petmodels.fetch import fetch

SAME_WITHIN = 0.01
_MOST_NAMES = 9
_HASH_DIGITS = 16


@flow(name="reproduce", flow_run_name="reproduce {version}")
@settled
def reproduce(version: str, keep_clone: bool = False) -> str:
    """Rebuild `pets@7` from its commit and params, and compare files and metrics with what was published."""
    settings = Settings.from_environment()
    registry = Registry(settings.registry, notice=tell)
    manifest = registry.manifest(version)
    if not manifest.git_commit or not manifest.params:
        raise RequestError(f"{manifest.name} doesn't say from which commit and params it comes; it can't be rebuilt")
    check_lock(manifest.dvc_lock)
    with workspace(settings, "reproduce", manifest.git_commit, tell, fresh=True, passing=not keep_clone) as w:
        w.set_text(pipeline.PARAMS, manifest.params)
        w.dvc("repro --no-run-cache")
        outputs = _differing(pipeline.outputs_of(manifest.dvc_lock), pipeline.outputs_of(w.text(pipeline.LOCK)))
        files = _differing(_published(manifest), files_of(w.folder / BUNDLE))
        metrics, card = (
            load_object(w.text(str(BUNDLE / name)), f"{name} of the rebuilt bundle") for name in (METRICS, CARD)
        )
    _record(manifest, outputs, files)
    if not files:
        return f"{manifest.name}: the same files, all {len(manifest.files)} of them"
    published = _published_card(registry, manifest)
    causes = filter(None, [begun_with(published, card), made_with(published, card)])
    found = [compared(manifest.metrics, metrics), *causes]
    return f"{manifest.name}: {'; '.join(found)}; other bytes in: {', '.join(files[:_MOST_NAMES])}"


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say how the rebuilt version's metrics stand to the published ones; other ones are named, the furthest first.

    Metrics that differ by no more than SAME_WITHIN are the same: another machine, or another number of cores
    (a container's CPU limit), adds its numbers up in another order.
    """
    off = {name: _difference(before.get(name), after.get(name)) for name in before.keys() | after.keys()}
    furthest = sorted((name for name in off if off[name]), key=lambda name: (-off[name], name))
    if not furthest:
        return "the same metrics to the last digit"
    if off[furthest[0]] <= SAME_WITHIN:
        return f"the same metrics within {off[furthest[0]]:.2g}"
    pairs = (f"{name} {_told(after, name)} instead of {_told(before, name)}" for name in furthest[:_MOST_NAMES])
    return f"other metrics: {', '.join(pairs)}"


def begun_with(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say whether the published model's training began with other weights than here; "" where both cards say the same.

    A card of before weights were named says nothing of them.
    """
    if not all("weights_sha256" in card for card in (before, after)):
        return ""
    old, new = (str(card["weights_sha256"] or "none")[:_HASH_DIGITS] for card in (before, after))
    return f"begun with other weights, sha256 {old} (here {new})" if old != new else ""


def made_with(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say which packages, or Python, had another version when the published model was made than here; "" for none.

    Of those that were others where it was exported, those are named that the training doesn't tell already.
    """
    trained, exported = (_others(before, after, name) for name in ("versions", "export_versions"))
    lists = {"made": trained, "exported": [one for one in exported if one not in trained]}
    return "; ".join(f"{how} with {', '.join(found[:_MOST_NAMES])}" for how, found in lists.items() if found)


def _others(before: Mapping[str, Any], after: Mapping[str, Any], field: str) -> list[str]:
    old, new = (card[field] if isinstance(card.get(field), dict) else {} for card in (before, after))
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [f"{name} {old.get(name, 'none')} (here {new.get(name, 'none')})" for name in names]


def _difference(old: object, new: object) -> float:
    """Return by how much two values differ; infinite where that is no number."""
    if old == new:
        return 0.0
    if not (isinstance(old, int | float) and isinstance(new, int | float)):
        return math.inf
    return abs(old - new) if math.isfinite(old - new) else math.inf


def _told(metrics: Mapping[str, Any], name: str) -> str:
    return str(metrics[name]) if name in metrics else "nothing"


def _published_card(registry: Registry, manifest: Manifest) -> dict[str, Any]:
    """Return the version's card; an empty one, and a line, where it can't be had."""
    cards = [file for file in manifest.files if file.path == CARD]
    try:
        paths = fetch(registry.storage, registry.cache, manifest.model, cards)
        return load_object(paths[CARD].read_bytes(), f"{CARD} of {manifest.name}") if paths else {}
    except PetmodelsError as error:
        tell(f"with which weights and packages {manifest.name} was made is not known: {error}")
        return {}


def _published(manifest: Manifest) -> dict[str, str]:
    return {file.path: file.sha256 for file in manifest.files}


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _record(manifest: Manifest, outputs: list[str], files: list[str]) -> None:
    known = {"output": pipeline.outputs_of(manifest.dvc_lock), "file": _published(manifest)}
    rows = [
        {"kind": kind, "name": name, "same": name not in differing}
        for kind, differing in (("output", outputs), ("file", files))
        for name in sorted({*known[kind], *differing})
    ]
    leave_table(rows, artifact_key(manifest.model, "reproduced"), f"{manifest.name}, rebuilt")
