"""Retrains on a stack with a Prefect server, two workers that share nothing, DVC, S3 and a toy project.

Each test has a model of its own, so that none sees another's versions; they share what was computed.
"""

import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.artifacts import leave_table
from flows.errors import StageError
from flows.object_store import weed
from flows.outcome import settled, without_secrets
from flows.pipeline import outputs_of
from petmodels import Origin
from petmodels.errors import NotFoundError
from petmodels.storage import open_storage
from tests.disks import small_disk
from tests.flows.api import wait
from tests.flows.operator import Operator
from tests.flows.projects import git

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]


@pytest.fixture(scope="module")
def base(operator: Operator) -> str:
    """The sentence of the first retrain of all; the model `base` has one version, from main."""
    return operator.retrain("base")


@pytest.fixture(scope="module")
def better(operator: Operator, base: str) -> str:
    """The sentence of the retrain that moved the model `better` from its poor first version to what main gives."""
    assert base
    operator.retrain("better", operator.branch("poor", train={"images": 1}))
    return operator.retrain("better")


@pytest.mark.usefixtures("base")
def test_a_first_version_is_promoted_and_says_where_it_comes_from(operator: Operator, base: str) -> None:
    manifest = operator.registry.manifest("base@production")

    assert base.startswith("production names base@1 because the first version: ")
    assert manifest.git_commit == git(operator.project.folder, "rev-parse", "main")
    assert "epochs: 1" in manifest.params
    assert "data/bundle" in manifest.dvc_lock


@pytest.mark.usefixtures("base")
def test_a_run_shows_its_stages_its_decision_and_the_reports_charts(operator: Operator) -> None:
    stages = {row["stage"]: row["what happened"] for row in operator.table("base-stages")}
    keys = ("decision", "gate", "metrics", "chart-accuracy-of-the-toy", "version")
    left = {key: operator.api.get(f"/artifacts/base-{key}/latest") for key in keys}

    assert stages["train"] == "ran, by train/gpu"
    assert list(stages) == ["download", "prepare", "split", "train", "evaluate", "export"]
    assert [artifact["type"] for artifact in left.values()] == ["markdown", "table", "table", "image", "markdown"]
    assert left["chart-accuracy-of-the-toy"]["data"].startswith("data:image/svg+xml;base64,")


def test_a_table_on_a_run_holds_no_secret(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")

    @flow
    def telling() -> None:
        leave_table([{"said": "denied for hunter2hunter2", "images": 1}], "told", "by hunter2hunter2")

    with temporary_settings({PREFECT_API_URL: operator.stack.api}):
        telling()

    assert operator.table("told") == [{"said": r"denied for \*\*\*", "images": 1}]
    assert operator.api.get("/artifacts/told/latest")["description"] == r"by \*\*\*"


def test_a_bug_in_a_task_tells_no_secret(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")

    @task(name="buggy task")
    @without_secrets()
    def buggy() -> None:
        raise subprocess.CalledProcessError(1, ["aws", "hunter2hunter2"])

    @flow(name="buggy flow")
    @settled
    def bug() -> str:
        buggy()
        return "never said"

    with temporary_settings({PREFECT_API_URL: operator.stack.api}), pytest.raises(RuntimeError, match="aws"):
        bug()

    (run,) = operator.api.post("/flow_runs/filter", flows={"name": {"any_": ["buggy flow"]}})
    (part,) = operator.api.post("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
    told = [run["state"]["message"], part["state"]["message"], *operator.logs(run["id"])]
    assert [text for text in told if "hunter2" in text] == []
    assert all("'aws', '***'" in text for text in told[:2])
    assert "Traceback" in caplog.text


def test_a_failed_task_logs_no_traceback(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    @task(name="failing task")
    @without_secrets()
    def failing() -> None:
        raise StageError("prepare: no images")

    @flow(name="failing flow")
    @settled
    def fails() -> str:
        failing()
        return "never said"

    with temporary_settings({PREFECT_API_URL: operator.stack.api}):
        fails(return_state=True)

    (run,) = operator.api.post("/flow_runs/filter", flows={"name": {"any_": ["failing flow"]}})
    assert run["state"]["message"] == "prepare: no images"
    assert "prepare: no images" in [record.getMessage() for record in caplog.records]
    assert "Traceback" not in caplog.text
    assert "Task run failed" not in caplog.text


@pytest.mark.usefixtures("base")
def test_a_retrain_of_what_is_published_does_nothing(operator: Operator) -> None:
    sentence = operator.retrain("base")

    assert sentence.startswith("nothing to do: base@1 is what ")
    assert operator.registry.versions("base") == [1]


def test_a_better_challenger_is_promoted_and_the_history_says_why(operator: Operator, better: str) -> None:
    steps = operator.registry.aliases("better")[0].steps[:2]

    assert better.startswith("production moved from better@1 to better@2 because ")
    assert [step.version for step in steps] == [1, 2]
    assert "never saw are right" in steps[-1].note
    table = {row["what"].partition(" (")[0]: row for row in operator.table("better-gate")}
    assert {"time for an image, median", "size of model.onnx", "right where the other is wrong"} < set(table)
    for name in ("accuracy, images the champion never saw", "accuracy, all test images"):
        pattern = r"\+\d+\.\d% \(95 %: [+-]\d+\.\d% to \+\d+\.\d%\), p = .+"
        assert re.fullmatch(pattern, table[name]["meaning"])
        assert float(table[name]["champion"][:-1]) < float(table[name]["challenger"][:-1])


@pytest.mark.usefixtures("better")
def test_what_an_operator_took_back_is_not_promoted_again(operator: Operator) -> None:
    operator.run("release/manual", model="better", action="rollback", reason="it mistakes every Bombay")

    sentence = operator.retrain("better")

    assert sentence.startswith("nothing to do: better@2 is what ")
    assert operator.registry.manifest("better@production").version == 1
    wait(lambda: len(operator.moves("better")) == 3, 60, "word of three moves")
    assert operator.moves("better") == [("production", 1), ("production", 2), ("production", 1)]


@pytest.mark.usefixtures("base")
def test_a_worse_challenger_is_refused_and_not_asked_again(operator: Operator) -> None:
    operator.seeded("worse")
    shuffled = operator.branch("shuffled", train={"shuffle": True})

    first, second = operator.retrain("worse", shuffled), operator.retrain("worse", shuffled)

    assert first.startswith("refused: ")
    assert first.endswith("which is worse and no chance")
    assert second.startswith("nothing to do: this challenger was refused before")
    assert operator.registry.versions("worse") == [1]


@pytest.mark.usefixtures("base")
def test_a_verdict_for_one_alias_moves_no_other(operator: Operator) -> None:
    operator.seeded("aliases")
    old = operator.registry.manifest("aliases@1")
    verdict = "promote staging over aliases@1: better"
    origin = Origin(message=verdict, git_commit=old.git_commit, dvc_lock=old.dvc_lock, params=old.params)
    new = operator.registry.publish(operator.registry.pull(old.name), "aliases", origin).manifest

    sentence = operator.retrain("aliases", alias="production")

    assert sentence.startswith(f"nothing to do: {new.name} is what ")
    assert new.version == 2
    assert [(alias.name, alias.version) for alias in operator.registry.aliases("aliases")] == [("production", 1)]


@pytest.mark.usefixtures("base")
def test_a_training_that_no_worker_begins_is_taken_back(operator: Operator) -> None:
    revision = operator.branch("nobody", split={"seed": 12})
    operator.stack.services["gpu-1"].stop()

    run = operator.run("retrain/weekly", model="nobody", revision=revision, begin_within_hours=0.002)
    operator.stack.restart("gpu-1")

    (training,) = operator.api.runs(parent_flow_run_id={"any_": [run["id"]]})
    assert run["state"]["message"] == (
        "no worker has begun train/gpu within 0.002 hours; start one for its pool, then run this again"
    )
    assert (run["state"]["type"], training["state"]["type"]) == ("FAILED", "CANCELLED")
    assert set(training["parameters"]) == {"revision", "dvc_lock", "params"}
    assert len(json.dumps(training["parameters"])) < 10_000


OTHER_TRAINING = """
from flows.train import train as other
from prefect import flow
@flow(name="train")
def train(revision: str, dvc_lock: str, params: str):
    return other.fn(revision, dvc_lock, params.replace("images: 1000", "images: 7"))
"""


@pytest.mark.usefixtures("base")
def test_a_retrain_says_which_training_it_waits_for_and_repeats_none_of_something_else(
    operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(OTHER_TRAINING)
    train = operator.api.get("/deployments/name/train/gpu")
    like_it = {name: train[name] for name in ("flow_id", "pull_steps", "work_pool_name")}
    operator.api.post("/deployments/", name="other", entrypoint=f"{tmp_path}/other.py:train", **like_it)
    revision = operator.branch("other", split={"seed": 13})

    run = operator.run("retrain/weekly", model="other", revision=revision, train_on="train/other")

    (training,) = operator.api.runs(parent_flow_run_id={"any_": [run["id"]]})
    assert (run["state"]["type"], training["state"]["type"]) == ("FAILED", "COMPLETED")
    assert run["state"]["message"] == (
        f"what was trained on is not what this run has prepared: train/other, run {training['id']}"
    )
    said = operator.logs(run["id"])
    name = f"train/other, run {training['id']}"
    waits = f"waits for {name}, which a worker of its pool is to begin within 24 hours"
    assert said.index(waits) < said.index(f"{name} has begun")
    assert not [line for line in said if line.startswith(("> python toy.py train", "Running stage 'train'"))]
    assert not [line for line in said if line.startswith("{")]  # what DVC's status answers is for the flow


@pytest.mark.usefixtures("base")
def test_an_alias_that_no_version_has_is_given_by_hand(operator: Operator) -> None:
    operator.seeded("misspelt")

    run = operator.run("retrain/weekly", model="misspelt", alias="prodution", overrides={"train.epochs": "3"})

    assert (run["state"]["type"], run["run_count"]) == ("FAILED", 1)
    assert run["state"]["message"] == (
        "misspelt has no alias prodution; give it a version by release/manual, or ask for: production"
    )
    assert operator.api.runs(parent_flow_run_id={"any_": [run["id"]]}) == []
    assert not [line for line in operator.logs(run["id"]) if line.startswith("> dvc ")]
    assert operator.registry.versions("misspelt") == [1]
    assert [alias.name for alias in operator.registry.aliases("misspelt")] == ["production"]


@pytest.mark.usefixtures("base")
def test_a_broken_preprocessing_is_refused(operator: Operator) -> None:
    operator.seeded("broken")

    sentence = operator.retrain("broken", operator.branch("green", export={"mean": [-1.0, 0.5, 2.0]}))

    assert sentence.startswith("refused: ")
    assert operator.registry.versions("broken") == [1]


@pytest.mark.usefixtures("base")
def test_a_challenger_that_is_much_larger_is_refused(operator: Operator) -> None:
    operator.seeded("larger")

    sentence = operator.retrain("larger", operator.branch("larger", export={"padding_bytes": 100_000}))

    assert re.fullmatch(r"refused: it is \d+\.\d times as large as larger@1 \(allowed: 2\)", sentence)
    assert operator.registry.versions("larger") == [1]


@pytest.mark.usefixtures("base")
def test_an_equal_challenger_is_kept_without_the_alias_and_going_back_is_nothing_to_do(operator: Operator) -> None:
    operator.seeded("equal")
    broken = "equal/aliases/canary.jsonl"
    operator.registry.storage.create(broken, b"somebody else's\n")

    kept = operator.retrain("equal", operator.branch("padded", export={"padding_bytes": 10}))
    operator.registry.storage.delete(broken)  # the audit, which other tests look at, would rightly tell of it
    back = operator.retrain("equal")

    assert kept.startswith("equal@2 is kept, not promoted: ")
    assert back.startswith("nothing to do: equal@1 is what ")
    assert operator.registry.manifest("equal@production").version == 1


def test_a_polluted_test_side_is_refused_by_name(operator: Operator) -> None:
    sentence = operator.retrain("polluted", operator.branch("leak", split={"pollute": True}))

    assert sentence.startswith("refused: 5 of its test images were used to train it, the first: source/")
    with pytest.raises(NotFoundError):
        operator.registry.versions("polluted")


@pytest.mark.usefixtures("base")
def test_overrides_of_one_run_are_in_the_version_and_nowhere_else(operator: Operator) -> None:
    operator.retrain("overridden", overrides={"train.epochs": "2"})

    manifest = operator.registry.manifest("overridden")
    assert "epochs: 2" in manifest.params
    assert manifest.message.endswith("; with train.epochs=2")
    assert "epochs: 1" in (operator.project.folder / "params.yaml").read_text()


@pytest.mark.usefixtures("base")
def test_other_machines_compute_nothing_again(operator: Operator) -> None:
    for worker in ("cpu-1", "gpu-1"):
        operator.forget_workspace(worker)

    operator.retrain("machines")

    table = operator.table("machines-stages")
    assert len(table) == 6
    assert not any(row["what happened"].startswith("ran") for row in table), table


def test_what_the_remote_has_lost_is_trained_again_where_trainings_run(operator: Operator) -> None:
    revision = operator.branch("lost", train={"epochs": 2})
    operator.retrain("lost", revision)
    trained = outputs_of(operator.registry.manifest("lost@1").dvc_lock)["data/train"]
    remote = open_storage(operator.stack.variables["PETMODELS_DVC_REMOTE"])
    remote.delete(f"files/md5/{trained[:2]}/{trained[2:]}")
    for worker in ("cpu-1", "gpu-1"):
        operator.forget_workspace(worker)

    sentence = operator.retrain("lost", revision, force=True)

    (row,) = (row for row in operator.table("lost-stages") if row["stage"] == "train")
    assert row["what happened"] == "ran, by train/gpu"
    assert sentence.startswith("nothing to do: lost@1 is what ")  # the alias names it: nothing is judged anew
    assert remote.find(f"files/md5/{trained[:2]}/{trained[2:]}") is not None


@pytest.mark.usefixtures("base")
def test_no_flow_commits_a_lock(operator: Operator) -> None:
    changed = git(operator.project.remote, "log", "--all", "--name-only", "--format=")
    authors = git(operator.project.remote, "log", "--all", "--format=%an")

    assert "params.yaml" in changed.split()
    assert "dvc.lock" not in changed.split()
    assert set(authors.split()) == {"test"}


def test_a_failed_stage_fails_the_run_once_with_its_own_line(operator: Operator) -> None:
    run = operator.run("retrain/weekly", model="failing", revision=operator.branch("fails", train={"fail": True}))

    assert run["state"]["type"] == "FAILED"
    assert run["state"]["message"] == "train: the toy was told to fail; set train.fail to false"
    assert run["run_count"] == 1
    assert not any("Traceback" in line for line in operator.logs(run["id"]))
    with pytest.raises(NotFoundError):
        operator.registry.versions("failing")


@pytest.mark.parametrize(
    ("parameters", "variables", "sentence"),
    [
        ({"alias": "Production"}, {}, "an alias is 1 to 64 of a-z 0-9 . _ - from a letter to a letter or digit: "),
        ({"train_on": "train/tpu"}, {}, "no such deployment to train on: train/tpu"),
        (
            {},
            {"PETMODELS_REGISTRY": "s3://no-such-bucket/models"},
            "this worker's registry isn't the one of the server's ",
        ),
        ({}, {"PETMODELS_CACHE": "/dev/null/cache"}, "this can't be used (Not a directory); choose another place, or "),
        ({}, {"PETMODELS_DVC_REMOTE": "/proc/dvc"}, "dvc push: "),
        ({}, {"PETMODELS_GIT": "/nowhere/project.git"}, "git clone: "),
        ({"revision": "misspelt"}, {}, "params.yaml: gate: costs: no image has this label; labels: blue, green, red: "),
    ],
)
def test_what_a_retrain_can_not_have_fails_it_once_before_anything_is_trained(
    operator: Operator, parameters: dict[str, str], variables: dict[str, str], sentence: str
) -> None:
    """Variables of the worker's machine are set for one run as Prefect allows it."""
    if "revision" in parameters:
        operator.branch("misspelt", gate={"costs": {"rot": 2.0}})
    deployment = operator.api.get("/deployments/name/retrain/weekly")["id"]
    content = {"parameters": {"model": "lacking", **parameters}, "job_variables": {"env": variables}}

    run = operator.ended(operator.api.post(f"/deployments/{deployment}/create_flow_run", **content)["id"])

    assert (run["state"]["type"], run["run_count"]) == ("FAILED", 1)
    assert run["state"]["message"].startswith(sentence)
    assert operator.api.post("/flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run["id"]]}}) == []
    with pytest.raises(NotFoundError):
        operator.registry.versions("lacking")


def test_a_retrain_without_its_signing_key_fails_before_any_stage(operator: Operator) -> None:
    """Found only where a version is published, it would cost a whole training."""
    deployment = operator.api.get("/deployments/name/retrain/weekly")["id"]
    worker = {"env": {"PETMODELS_SIGNING_KEY": "/nowhere/signing.key"}}
    content = {"parameters": {"model": "unsigned"}, "job_variables": worker}

    run = operator.ended(operator.api.post(f"/deployments/{deployment}/create_flow_run", **content)["id"])

    assert run["state"]["message"] == "no key can be read here; petmodels keygen makes one: /nowhere/signing.key"
    assert operator.api.post("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}) == []


def test_an_unknown_revision_costs_one_sentence(operator: Operator) -> None:
    run = operator.run("retrain/weekly", model="wrong", revision="nowhere")

    assert (run["state"]["type"], run["run_count"]) == ("FAILED", 1)
    assert "has no such revision; branches: " in run["state"]["message"]
    with pytest.raises(NotFoundError):
        operator.registry.versions("wrong")


@pytest.mark.parametrize(
    ("worker", "num_kib", "seed", "at"),
    [("cpu-1", 200, 5, "(git clone|dvc repro): "), ("cpu-1", 1500, 10, "dvc could not do the stage download: "),
     ("gpu-1", 1500, 11, "dvc pull: ")],
)  # fmt: skip
def test_a_full_disk_fails_the_run_once_and_room_on_it_mends_that(
    operator: Operator, worker: str, num_kib: int, seed: int, at: str
) -> None:
    model, revision = f"full-{seed}", operator.branch(f"full-{seed}", download={"seed": seed})

    with small_disk(operator.stack.folder / "workspaces" / worker, num_kib):
        run = operator.run("retrain/weekly", model=model, revision=revision)

    assert run["state"]["type"] == "FAILED"
    assert re.match(at, run["state"]["message"])
    assert re.search(r"No space left on device|; the disk has \d\.\d MB left$", run["state"]["message"])
    assert run["run_count"] == 1
    assert operator.retrain(model, revision).startswith(f"production names {model}@1 ")


@pytest.mark.usefixtures("base")
def test_a_release_by_hand_moves_the_alias_once_with_its_reason(operator: Operator) -> None:
    operator.seeded("manual")
    operator.seeded("manual-two")
    operator.registry.publish(operator.registry.pull("manual-two"), "manual")

    run = operator.run("release/manual", model="manual", action="promote", version=2, reason="asked for by Ann")
    back = operator.run("release/manual", model="manual", action="rollback", reason="Ann was wrong")
    operator.registry.promote("manual@2", "production", message="by hand")
    operator.api.post(
        f"/flow_runs/{back['id']}/set_state", state={"type": "SCHEDULED", "name": "AwaitingRetry"}, force=True
    )
    wait(lambda: operator.api.get(f"/flow_runs/{back['id']}")["run_count"] == 2, 120, "it has begun once more")
    again = operator.ended(back["id"])

    steps = operator.registry.aliases("manual")[0].steps
    assert run["state"]["message"] == "production names manual@2: asked for by Ann"
    assert back["state"]["message"] == "production names manual@1: Ann was wrong"
    told = "production names manual@2 by now, moved once more after this run: Ann was wrong"
    assert again["state"]["message"] == told
    assert [(step.version, step.note) for step in steps[1:]] == [
        (2, f"asked for by Ann (run {run['id'][-12:]})"),
        (1, f"Ann was wrong (run {back['id'][-12:]})"),
        (2, "by hand"),
    ]


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("deployment", "parameters", "sentence"),
    [
        (
            "release/manual",
            {"model": "base", "version": 1},
            "a release needs a reason: it stays in the alias's history",
        ),
        ("release/manual", {"model": "base", "reason": "so"}, "promote needs a version, and rollback takes none: "),
        (
            "release/manual",
            {"model": "base", "version": 9, "reason": "so"},
            "no version 9 of base; published versions: 1",
        ),
        (
            "release/manual",
            {"model": "base", "action": "rollback", "alias": "prodution", "reason": "so"},
            "base has no alias prodution; it has: production",
        ),
        ("reproduce/manual", {"version": "base@9"}, "no version 9 of base; published versions: 1"),
        (
            "watch/daily",
            {"model": "base", "alias": "prodution"},
            "base has no alias prodution; it has: production",
        ),
        ("watch/daily", {"model": "base"}, "params.yaml of this revision has no section: watch"),
    ],
)
def test_what_can_not_be_released_rebuilt_or_watched_fails_once_and_moves_nothing(
    operator: Operator, deployment: str, parameters: dict[str, object], sentence: str
) -> None:
    before = operator.registry.aliases("base")

    run = operator.run(deployment, **parameters)

    assert (run["state"]["type"], run["run_count"]) == ("FAILED", 1)
    assert run["state"]["message"].startswith(sentence)
    assert operator.registry.aliases("base") == before


@pytest.mark.usefixtures("base")
def test_an_audit_reads_every_version_and_leaves_a_page(operator: Operator) -> None:
    run = operator.run("audit/nightly")

    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert {row["version"] for row in operator.table("versions")} >= {"base@1"}
    assert "\n## base\n" in operator.api.get("/artifacts/audit/latest")["data"]


@pytest.mark.usefixtures("base")
def test_a_version_is_rebuilt_to_the_same_files(operator: Operator) -> None:
    run = operator.run("reproduce/manual", version="base@1")

    num_files = len(operator.registry.manifest("base").files)
    assert run["state"]["message"] == f"base@1: the same files, all {num_files} of them"
    operator.waits_for_log(run["id"], "base@1: the same files", seconds=30)
    ran = [line for line in operator.logs(run["id"]) if line.startswith("Running stage ")]
    assert len(ran) == 6, operator.logs(run["id"])


@pytest.mark.usefixtures("base")
def test_a_version_that_is_not_what_its_commit_gives_is_told_in_what(operator: Operator, tmp_path: Path) -> None:
    old = operator.registry.manifest("base@1")
    bundle = Path(shutil.copytree(operator.registry.pull(old.name), tmp_path / "bundle"))
    metrics = json.loads((bundle / "metrics.json").read_text())
    (bundle / "metrics.json").write_text(json.dumps(metrics | {"accuracy": 0.5}))
    (bundle / "card.json").write_text('{"format": 1, "title": "colours", "versions": {"torch": "1.0"}}')
    (bundle / "of-nowhere.txt").write_text("made by hand")
    origin = Origin(git_commit=old.git_commit, dvc_lock=old.dvc_lock, params=old.params)
    operator.registry.publish(bundle, "mended", origin)

    run = operator.run("reproduce/manual", version="mended@1")

    told = f"mended@1: other metrics: accuracy {metrics['accuracy']} instead of 0.5; made with torch 1.0 (here none); "
    assert run["state"]["message"] == f"{told}other bytes in: card.json, metrics.json, of-nowhere.txt"
    table = operator.table("mended-reproduced")
    assert {row["name"] for row in table if not row["same"]} == {"card.json", "metrics.json", "of-nowhere.txt"}


@pytest.mark.usefixtures("base")
def test_what_died_between_publishing_and_promoting_is_ended_by_the_next_run(operator: Operator) -> None:
    operator.seeded("between")
    operator.registry.storage.delete("between/aliases/production.jsonl")

    sentence = operator.retrain("between")

    assert sentence.startswith("production names between@1 because the first version: ")


@pytest.mark.usefixtures("base")
def test_a_version_that_only_says_that_it_is_to_be_promoted_is_not(operator: Operator, tmp_path: Path) -> None:
    operator.seeded("claims")
    old = operator.registry.manifest("claims@1")
    other = shutil.copytree(operator.registry.pull("claims@1"), tmp_path / "other")
    (other / "card.json").write_text('{"format": 1, "title": "of somebody who may publish"}')
    claim = "promote production over claims@1: it is right more often"
    origin = Origin(message=claim, git_commit=old.git_commit, dvc_lock=old.dvc_lock, params=old.params)
    operator.registry.publish(other, "claims", origin)

    sentence = operator.retrain("claims")

    assert sentence.startswith("nothing to do: claims@1 is what ")
    assert operator.registry.manifest("claims@production").version == 1


def test_two_retrains_at_once_take_turns_and_no_version_is_lost(operator: Operator) -> None:
    slow = [operator.branch(f"slow-{epochs}", train={"epochs": epochs, "epoch_seconds": 1.0}) for epochs in (2, 3)]

    runs = [
        operator.start(deployment, model="turns", revision=revision)
        for deployment, revision in zip(("retrain/weekly", "retrain/on-arrival"), slow, strict=True)
    ]
    first, second = sorted((operator.ended(run) for run in runs), key=lambda run: str(run["start_time"]))

    assert datetime.fromisoformat(first["end_time"]) <= datetime.fromisoformat(second["start_time"])
    assert first["state"]["message"].startswith("production names turns@1")
    assert second["state"]["message"].startswith("turns@2 is kept")
    published = [operator.registry.manifest(f"turns@{number}") for number in (1, 2)]
    made_of = {git(operator.project.remote, "rev-parse", revision) for revision in slow}
    assert {manifest.git_commit for manifest in published} == made_of


def test_no_secret_was_left_anywhere_by_all_that(operator: Operator) -> None:
    secret = operator.stack.variables["AWS_SECRET_ACCESS_KEY"]

    operator.registry.storage.create("planted", 100 * b"a planted secret ")
    assert "registry/planted" in operator.kept_with(b"a planted secret")
    assert operator.kept_with(b"a careless stage says ***")
    assert operator.kept_with(secret.encode()) == []
    assert secret not in json.dumps(operator.registry.manifest("base").to_json())


@pytest.mark.usefixtures("base")
def test_what_ingest_says_makes_the_data_of_a_version_again_when_the_remote_is_lost(operator: Operator) -> None:
    """The sentence of flows.screening. The last test of all, for the others share what was computed."""
    manifest = operator.registry.manifest("base@1")
    remote = open_storage(operator.stack.variables["PETMODELS_DVC_REMOTE"])
    for key in [found.key for found in remote.list("")]:
        remote.delete(key)
    for worker in ("cpu-1", "gpu-1"):
        operator.forget_workspace(worker)

    sentence = operator.retrain("base", manifest.git_commit, force=True)

    prepared = outputs_of(manifest.dvc_lock)["data/prepared"]
    listed = json.loads(remote.read(f"files/md5/{prepared[:2]}/{prepared[2:]}", 10**6)[0])
    assert sentence.startswith("nothing to do: base@1 is what ")
    assert [one for one in listed if remote.find(f"files/md5/{one['md5'][:2]}/{one['md5'][2:]}") is None] == []
