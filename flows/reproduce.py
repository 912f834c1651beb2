"""The flow `reproduce`: rebuild a published version from nothing but its manifest, and say what is the same.

Reads the manifest's git commit, dvc.lock and params; leaves a fresh clone with a cache of its own, and a table.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow

from flows import pipeline
from flows.artifacts import artifact_key, leave_table
from flows.errors import RequestError
from flows.evidence import BUNDLE
from flows.outcome import settled, tell
from flows.settings import Settings
from flows.workspace import workspace
from petmodels import Manifest, Registry
from petmodels.documents import load_object
from petmodels.hashing import sha256_of


@flow(name="reproduce", flow_run_name="reproduce {version}")
@settled
def reproduce(version: str) -> str:
    """Rebuild `pets@7` from its commit and params, and compare files and metrics with what was published."""
    settings = Settings.from_environment()
    manifest = Registry(settings.registry, notice=tell).manifest(version)
    if not manifest.git_commit or not manifest.params:
        raise RequestError(f"{manifest.name} doesn't say from which commit and params it comes; it can't be rebuilt")
    with workspace(settings, "reproduce", manifest.git_commit, tell, fresh=True) as w:
        w.set_text(pipeline.PARAMS, manifest.params)
        w.dvc("repro", "--no-run-cache")
        outputs = _differing(pipeline.outputs_of(manifest.dvc_lock), pipeline.outputs_of(w.text(pipeline.LOCK)))
        files = _differing(_published(manifest), _built(w.folder / BUNDLE))
        metrics = load_object(w.text(str(BUNDLE / "metrics.json")), "metrics.json of the rebuilt bundle")
    _record(manifest, outputs, files)
    if not files:
        return f"{manifest.name}: the same files, all {len(manifest.files)} of them"
    off = largest_difference(manifest.metrics, metrics)
    names = ", ".join(sorted(files)[:9])
    if off == 0:
        return f"{manifest.name}: the same metrics to the last digit; other bytes in: {names}"
    return f"{manifest.name}: the same metrics within {off:.2g}; other bytes in: {names}"


def largest_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Return the largest difference of a number that both have; 1 where one has a number that the other lacks."""
    if set(before) != set(after):
        return 1.0
    pairs = ((before[name], after[name]) for name in before)
    return max((abs(old - new) for old, new in pairs if isinstance(old, int | float)), default=0.0)


def _published(manifest: Manifest) -> dict[str, str]:
    return {file.path: file.sha256 for file in manifest.files}


def _built(bundle: Path) -> dict[str, str]:
    return {path.relative_to(bundle).as_posix(): sha256_of(path) for path in bundle.rglob("*") if path.is_file()}


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
