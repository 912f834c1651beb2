"""The flow `retrain`: from a revision of the project to a version that consumers use, if it is better.

Reads the git remote, the DVC remote and the registry; leaves a version, an alias that may have moved, and artifacts. It
runs on the CPU pool; the stage `train` is sent to the deployment that `train_on` names. Killed anywhere, the next run
ends where an undisturbed one would have: what was computed is in the DVC remote, and a version that was published but
not yet promoted says so in its message, and is judged once more.
"""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from flows import graph, pipeline, records
from flows.at_labels import check_labels
from flows.candidate import Candidate
from flows.dvc_lock import take_lock, take_lock_of
from flows.errors import ChildError, RequestError, StageError
from flows.evidence import evidence, labels_in
from flows.gate import Decision, GateParams, decide
from flows.outcome import settled, tell, without_secrets
from flows.params import section
from flows.sending import sent
from flows.settings import Settings
from flows.train import STAGE, lock_of
from flows.workspace import Workspace, workspace
from petmodels import Manifest, Registry
from petmodels.aliases import alias_names
from petmodels.cache import default_folder
from petmodels.disk import writing
from petmodels.errors import BundleError, NotFoundError, TrustError
from petmodels.names import check_alias, check_model
from petmodels.signing import check_key_file
from petmodels.writable import check_writable


@flow(name="retrain", flow_run_name="retrain {model} {revision}")
@settled
def retrain(
    model: str = "pets",
    revision: str = "main",
    alias: str = "production",
    overrides: dict[str, str] | None = None,
    train_on: str = "train/gpu",
    begin_within_hours: float = 24.0,
    *,
    force: bool = False,
) -> str:
    """Retrain at a revision and release what is better.

    `overrides` are parameters for this run alone, such as `{"train.epochs": "8"}`, but not the gate's. The training is
    taken back when no worker has begun it `begin_within_hours`. `force` goes through the gate again although nothing
    has changed; what is published already is judged under its own number, unless the alias has named it before.
    """
    settings = Settings.from_environment()
    registry = Registry(settings.registry, notice=tell)
    _check_names(model, alias, train_on)
    pool, context = ThreadPoolExecutor(1), copy_context()
    key_file = settings.signing_key
    # The store answers while git does.
    coming = pool.submit(lambda: context.run(_newest, registry, model, alias, key_file))
    with pool, workspace(settings, "retrain", revision, tell, with_dvc=True) as w:
        newest = coming.result()
        candidate = Candidate(registry=registry, model=model, alias=alias, w=w, key_file=key_file)
        take_lock_of(w, newest)
        told = pipeline.set_params(w, overrides or {})
        rules = section(w.folder / pipeline.PARAMS, "gate", GateParams)
        if newest and not (force or candidate.awaits_promotion(newest) or pipeline.changed_stages(w)):
            return candidate.nothing_new(newest)
        steps, is_trained = _before_training(w)
        check_labels(rules, labels_in(w.folder))
        unchanged = pipeline.Step(STAGE, "unchanged"), ""
        trained, where = unchanged if is_trained else _training(w, train_on, begin_within_hours)
        steps += [trained, *_after_training(w, where)]
        records.record_stages(model, steps)
        return _released(candidate, rules, told, force=force)


def _check_names(model: str, alias: str, train_on: str) -> None:
    """Raise before any work what would be raised after it."""
    check_model(model)
    check_alias(alias)
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(train_on)
        except (ObjectNotFound, ValueError) as error:
            raise RequestError(f"no such deployment to train on: {train_on}") from error


def _newest(registry: Registry, model: str, alias: str, key_file: Path | None) -> Manifest | None:
    """Return the newest version, None for none; raises what would else be raised where the next one is published.

    Only the first alias of a model comes from a retrain: a misspelt one would be given with no champion to beat.
    """
    if key_file:
        check_key_file(key_file)
    check_writable(registry.storage)
    _check_cache()
    try:
        newest = registry.manifest(model)
    except NotFoundError:
        return None
    try:
        registry.alias(model, alias)
    except NotFoundError as error:
        if names := alias_names(registry.storage, model):
            known, give = ", ".join(names[:9]), "give it a version by release/manual"
            raise RequestError(f"{model} has no alias {alias}; {give}, or ask for: {known}") from error
    return newest


def _check_cache() -> None:
    """Raise petmodels' MachineError where the gate could not keep the champion: before the training, not after it."""
    blobs = default_folder() / "blobs"
    with writing(blobs):
        blobs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=blobs):
            pass


@task(name="before training", cache_policy=NO_CACHE, task_run_name="the stages before train")
@without_secrets()
def _before_training(w: Workspace) -> tuple[list[pipeline.Step], bool]:
    """Do the stages before train; return what became of them, and whether train is done and its outputs are here."""
    text = w.text(pipeline.STAGES)
    last, before = " ".join(graph.last_before(text, STAGE)), " ".join(graph.stages_before(text, STAGE))
    lines = w.dvc(f"repro --pull {last}", f"push --run-cache {before}", f"status --json {STAGE}")
    is_trained = not pipeline.changed_in(w, lines) and pipeline.can_pull(w, STAGE)
    return pipeline.steps_in(lines), is_trained


def _training(w: Workspace, train_on: str, begin_within_hours: float) -> tuple[pipeline.Step, str]:
    """Have the stage train run where the accelerator is, and say where; what comes back is its dvc.lock.

    It runs there too when nothing has changed but the DVC remote has lost what it had left.
    """
    texts = {"dvc_lock": w.text(pipeline.LOCK), "params": w.text(pipeline.PARAMS)}
    w.process.end()  # what another machine brings to the remote meanwhile, DVC is to see anew
    run = sent(train_on, {"revision": w.commit, **texts}, begin_within_hours, meanwhile=w.process.begin, tell=tell)
    take_lock(w, lock_of(run.id))
    what = run.state.message if run.state and run.state.message else ""
    return pipeline.Step(STAGE, f"{what.removeprefix('train: ')}, by {train_on}"), f"{train_on}, run {run.id}"


@task(name="after training", cache_policy=NO_CACHE, task_run_name="the stages after train")
@without_secrets()
def _after_training(w: Workspace, where: str) -> list[pipeline.Step]:
    """Do the stages after train, which was done elsewhere or, where `where` is "", is as it was.

    Raises StageError for a training of something else: DVC would repeat it here, where no accelerator is.
    """
    found = [f"pull --force {STAGE}", f"status --quiet {STAGE}"] if where else []
    try:
        steps = pipeline.steps_in(w.dvc(*found, "repro --pull", "push --run-cache"))
    except StageError:
        raise
    except ChildError as error:
        if where and pipeline.changed_stages(w, STAGE):
            raise StageError(f"what was trained on is not what this run has prepared: {where}") from error
        raise
    before = graph.stages_before(w.text(pipeline.STAGES), STAGE)
    return [step for step in steps if step.stage not in {STAGE, *before}]


def _released(candidate: Candidate, rules: GateParams, told: str, *, force: bool) -> str:
    """Release what the stages have left, if it is new and better; return the run's sentence."""
    if same := candidate.published():
        if candidate.awaits_promotion(same, force=force):
            return candidate.finish(same, _judged(candidate, rules, same.version))
        return candidate.nothing_new(same)
    if not force and candidate.is_refused():
        champion = f"{candidate.model}@{candidate.alias}"
        return f"nothing to do: this challenger was refused before, and {champion} is still the same"
    return candidate.settle(_judged(candidate, rules), told)


@task(name="gate", cache_policy=NO_CACHE)
@without_secrets()
def _judged(candidate: Candidate, rules: GateParams, number: int | None = None) -> Decision:
    w, model = candidate.w, candidate.model
    try:
        found = evidence(candidate.registry, model, candidate.alias, w.folder, number)
        decision = decide(found, rules)
    except (TrustError, BundleError) as error:  # this client's word: another one, or other libraries, may know better
        decision = Decision("refuse", f"refused: {error}", (), is_lasting=False)
    records.record_decision(model, decision)
    records.record_metrics(model, json.loads(w.text("data/eval/metrics.json") or "{}"), "the challenger")
    records.record_charts(model, w.text("data/eval/report.html"))
    return decision
