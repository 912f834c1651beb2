"""The flow `retrain`: from a revision of the project to a version that consumers use, if it is better.

Reads the git remote, the DVC remote and the registry; leaves a version, an alias that may have moved, and artifacts. It
runs on the CPU pool; the stage `train` is sent to the deployment that `train_on` names. Killed anywhere, the next run
ends where an undisturbed one would have: what was computed is in the DVC remote, and a version that was published but
not yet promoted carries the gate's decision in its message.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment
from prefect.events import emit_event

from flows import pipeline, records
from flows.errors import StageError
from flows.evidence import BUNDLE, evidence
from flows.gate import Decision, GateParams, decide
from flows.outcome import settled, tell
from flows.params import section
from flows.settings import Settings
from flows.train import lock_of
from flows.workspace import Workspace, workspace
from petmodels import Manifest, Origin, Registry
from petmodels.errors import BundleError, NotFoundError, TrustError
from petmodels.names import spec_of

PROMOTE = "promote: "
_REFUSED = "build/refused.json"
_POLL_SECONDS = 2.0


@flow(name="retrain", flow_run_name="retrain {model} {revision}")
@settled
def retrain(
    model: str = "pets",
    revision: str = "main",
    alias: str = "production",
    overrides: dict[str, str] | None = None,
    train_on: str = "train/gpu",
    *,
    force: bool = False,
) -> str:
    """Retrain at a revision and release what is better.

    `overrides` are parameters for this run alone, such as `{"train.epochs": "8"}`; `force` goes through the gate again
    although nothing has changed.
    """
    settings = Settings.from_environment()
    registry = Registry(settings.registry, notice=tell)
    spec_of(f"{model}@{alias}")  # a wrong name costs no training
    newest = _newest(registry, model)
    with workspace(settings, "retrain", revision, tell) as w:
        w.set_text(pipeline.LOCK, newest.dvc_lock if newest else "")
        told = pipeline.set_params(w, overrides or {})
        rules = section(w.folder / pipeline.PARAMS, "gate", GateParams)
        if newest and not force and not pipeline.changed_stages(w):
            return _nothing_new(registry, newest, alias, w)
        steps = [*_before_training(w), *_training(w, train_on), *_after_training(w)]
        records.record_stages(model, steps)
        if not force and (same := _published(registry, model, w)):
            return _nothing_new(registry, same, alias, w)
        if not force and _is_refused(registry, model, alias, w):
            return f"nothing to do: this challenger was refused before, and {model}@{alias} is still the same"
        decision = _gate(registry, model, alias, w, rules)
        return _released(registry, model, alias, w, decision, told)


def _newest(registry: Registry, model: str) -> Manifest | None:
    try:
        return registry.manifest(model)
    except NotFoundError:
        return None


def _nothing_new(registry: Registry, version: Manifest, alias: str, w: Workspace) -> str:
    """Say so; and end what a killed run began: a version that was to be promoted and never was."""
    if version.message.startswith(PROMOTE):
        steps = _steps(registry, version.model, alias)
        if version.version not in steps:
            return _promoted(registry, version, alias, version.message.removeprefix(PROMOTE))
    return f"nothing to do: {version.name} is what {w.commit[:7]} gives"


def _steps(registry: Registry, model: str, alias: str) -> list[int]:
    """Return the versions that an alias has ever named."""
    return [step.version for found in registry.aliases(model) if found.name == alias for step in found.steps]


@task(name="before training", cache_policy=NO_CACHE, task_run_name="download, prepare, split")
def _before_training(w: Workspace) -> list[pipeline.Step]:
    steps = pipeline.reproduce(w, "split")
    pipeline.push(w, "download", "prepare", "split")
    return steps


def _training(w: Workspace, train_on: str) -> list[pipeline.Step]:
    """Have the stage train run where the accelerator is; what comes back is its dvc.lock."""
    if not pipeline.changed_stages(w, "train"):
        return [pipeline.Step("train", "unchanged")]
    texts = {"dvc_lock": w.text(pipeline.LOCK), "params": w.text(pipeline.PARAMS)}
    run: Any = run_deployment(train_on, parameters={"revision": w.commit, **texts}, poll_interval=_POLL_SECONDS)
    state = run.state
    if state is None or not state.is_completed():
        raise StageError(state.message if state and state.message else f"the run of {train_on} ended as nothing")
    w.set_text(pipeline.LOCK, lock_of(run.id))
    return [pipeline.Step("train", (state.message or "").removeprefix("train: ") + f", by {train_on}")]


@task(name="after training", cache_policy=NO_CACHE, task_run_name="evaluate, export")
def _after_training(w: Workspace) -> list[pipeline.Step]:
    steps = pipeline.reproduce(w)
    pipeline.push(w)
    return [step for step in steps if step.stage in {"evaluate", "export"}]


@task(name="gate", cache_policy=NO_CACHE)
def _gate(registry: Registry, model: str, alias: str, w: Workspace, rules: GateParams) -> Decision:
    try:
        decision = decide(evidence(registry, model, alias, w.folder), rules)
    except (TrustError, BundleError) as error:
        decision = Decision("refuse", f"refused: {error}", ())
    records.record_decision(model, decision)
    metrics = json.loads(w.text("data/eval/metrics.json") or "{}")
    records.record_metrics(model, metrics, "the challenger")
    return decision


def _released(registry: Registry, model: str, alias: str, w: Workspace, decision: Decision, overrides: str) -> str:
    if decision.outcome == "refuse":
        _remember_refusal(registry, model, alias, w)
        emit_event("petmodels.challenger.refused", _resource(model), payload={"sentence": decision.sentence})
        return decision.sentence
    version = _published_now(registry, model, w, decision, overrides)
    records.record_version(model, version.name, registry.storage.address)
    if decision.outcome == "keep":
        return f"{version.name} is {decision.sentence}"
    return _promoted(registry, version, alias, decision.sentence)


@task(name="publish", cache_policy=NO_CACHE)
def _published_now(registry: Registry, model: str, w: Workspace, decision: Decision, overrides: str) -> Manifest:
    word = PROMOTE if decision.outcome == "promote" else ""
    message = f"{word}{decision.sentence}" + (f"; with {overrides}" if overrides else "")
    lock, params = w.text(pipeline.LOCK), w.text(pipeline.PARAMS)
    origin = Origin(message=message, git_commit=w.commit, dvc_lock=lock, params=params)
    return registry.publish(w.folder / BUNDLE, model, origin).manifest


@task(name="promote", cache_policy=NO_CACHE)
def _promoted(registry: Registry, version: Manifest, alias: str, why: str) -> str:
    before = _steps(registry, version.model, alias)
    registry.promote(version.name, alias, message=why)
    emit_event("petmodels.version.promoted", _resource(version.model), payload={"version": version.version})
    moved = f"moved from {version.model}@{before[-1]} to {version.name}" if before else f"names {version.name}"
    return f"{alias} {moved} because {why}"


def _published(registry: Registry, model: str, w: Workspace) -> Manifest | None:
    """Return the version among the newest ones that has these very outputs."""
    wanted = _bundle_hash(w.text(pipeline.LOCK))
    try:
        listed = registry.listing(model)
    except NotFoundError:
        return None
    found: Sequence[Manifest] = [one.manifest for one in listed if one.manifest]
    return next((one for one in found if one.dvc_lock and _bundle_hash(one.dvc_lock) == wanted), None)


def _bundle_hash(lock: str) -> str | None:
    return pipeline.outputs_of(lock).get(str(BUNDLE))


def _is_refused(registry: Registry, model: str, alias: str, w: Workspace) -> bool:
    return w.text(_REFUSED) == _refusal(registry, model, alias, w)


def _remember_refusal(registry: Registry, model: str, alias: str, w: Workspace) -> None:
    (w.folder / _REFUSED).parent.mkdir(exist_ok=True)
    w.set_text(_REFUSED, _refusal(registry, model, alias, w))


def _refusal(registry: Registry, model: str, alias: str, w: Workspace) -> str:
    """Return what a refusal depends on: the challenger, the champion and the rules."""
    champion = _steps(registry, model, alias)[-1:]
    rules = hashlib.sha256(w.text(pipeline.PARAMS).encode()).hexdigest()
    return json.dumps({"bundle": _bundle_hash(w.text(pipeline.LOCK)), "champion": champion, "params": rules})


def _resource(model: str) -> dict[str, str]:
    return {"prefect.resource.id": f"petmodels.model.{model}"}
