"""Retrains on a stack with a Prefect server, two workers that share nothing, DVC, S3 and a toy project.

Each test has a model of its own, so that none sees another's versions; they share what was computed. In the last ones
something dies in the middle: training takes about ten seconds there and leaves a checkpoint each second.
"""

import json
import os
import signal
import time
from typing import Any

import pytest

from flows.object_store import weed
from flows.services import marked
from petmodels.errors import NotFoundError
from tests.flows.operator import Operator
from tests.flows.projects import git

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
]

POOR = {"train": {"images": 1}}


def test_a_first_version_is_promoted_and_says_where_it_comes_from(operator: Operator) -> None:
    sentence = operator.retrain("first")

    manifest = operator.registry.manifest("first@production")
    assert sentence.startswith("production names first@1 because the first version: ")
    assert manifest.git_commit == git(operator.project.folder, "rev-parse", "main")
    assert "epochs: 1" in manifest.params
    assert "data/bundle" in manifest.dvc_lock


def test_a_retrain_of_what_is_published_does_nothing(operator: Operator) -> None:
    operator.retrain("same")

    sentence = operator.retrain("same")

    assert sentence.startswith("nothing to do: same@1 is what ")
    assert operator.registry.versions("same") == [1]


def test_a_better_challenger_is_promoted_and_the_history_says_why(operator: Operator) -> None:
    operator.retrain("better", operator.branch("poor", **POOR))

    sentence = operator.retrain("better")

    steps = operator.registry.aliases("better")[0].steps
    assert sentence.startswith("production moved from better@1 to better@2 because ")
    assert [step.version for step in steps] == [1, 2]
    assert "never saw are right" in steps[-1].note


def test_a_worse_challenger_is_refused_and_not_asked_again(operator: Operator) -> None:
    operator.retrain("worse")
    shuffled = operator.branch("shuffled", train={"shuffle": True})

    first, second = operator.retrain("worse", shuffled), operator.retrain("worse", shuffled)

    assert first.startswith("refused: ")
    assert first.endswith("which is worse and no chance")
    assert second.startswith("nothing to do: this challenger was refused before")
    assert operator.registry.versions("worse") == [1]


def test_a_broken_preprocessing_is_refused(operator: Operator) -> None:
    operator.retrain("broken")

    sentence = operator.retrain("broken", operator.branch("green", export={"mean": [0.5, 2.0, 0.5]}))

    assert sentence.startswith("refused: ")
    assert operator.registry.versions("broken") == [1]


def test_an_equal_challenger_is_kept_without_the_alias(operator: Operator) -> None:
    operator.retrain("equal")

    sentence = operator.retrain("equal", operator.branch("padded", export={"padding_bytes": 10}))

    assert sentence.startswith("equal@2 is kept, not promoted: ")
    assert operator.registry.manifest("equal@production").version == 1


def test_a_polluted_test_side_is_refused_by_name(operator: Operator) -> None:
    run = operator.retrain("polluted", operator.branch("leak", split={"pollute": True}))

    assert run.startswith("refused: 5 of its test images were used to train it, the first: source/")
    with pytest.raises(NotFoundError):
        operator.registry.versions("polluted")


def test_overrides_of_one_run_are_in_the_version_and_nowhere_else(operator: Operator) -> None:
    operator.retrain("overridden", overrides={"train.epochs": "2"})

    manifest = operator.registry.manifest("overridden")
    assert "epochs: 2" in manifest.params
    assert manifest.message.endswith("; with train.epochs=2")
    assert "epochs: 1" in (operator.project.folder / "params.yaml").read_text()


def test_another_machine_computes_nothing_again(operator: Operator) -> None:
    operator.retrain("machines")
    for worker in ("cpu-1", "gpu-1"):
        operator.forget_workspace(worker)

    operator.retrain("machines-again")

    table = operator.table("machines-again-stages")
    assert len(table) == 6
    assert not any(row["what happened"].startswith("ran") for row in table), table


def test_no_flow_ever_commits_a_lock(operator: Operator) -> None:
    operator.retrain("locks")

    files = git(operator.project.folder, "ls-tree", "--name-only", "origin/main")
    authors = git(operator.project.remote, "log", "--all", "--format=%an")
    assert "dvc.lock" not in files
    assert set(authors.split()) == {"test"}


def test_a_failed_stage_fails_the_run_once_with_its_own_line(operator: Operator) -> None:
    run = operator.run("retrain/weekly", model="failing", revision=operator.branch("fails", train={"fail": True}))

    assert run["state"]["type"] == "FAILED"
    assert run["state"]["message"] == "train: the toy was told to fail; set train.fail to false"
    assert run["run_count"] == 1
    with pytest.raises(NotFoundError):
        operator.registry.versions("failing")


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"revision": "nowhere"}, "has no such revision; branches: "),
        ({"alias": "Production!"}, "Production!"),
        ({"overrides": {"train.epoch": "3"}}, "params.yaml has no such parameter: train.epoch"),
    ],
)
def test_a_wrong_parameter_costs_one_sentence(operator: Operator, parameters: dict[str, object], sentence: str) -> None:
    run = operator.run("retrain/weekly", model="wrong", **parameters)

    assert run["state"]["type"] == "FAILED"
    assert sentence in run["state"]["message"]


def test_two_retrains_at_once_take_turns(operator: Operator) -> None:
    slow = operator.branch("slow", train={"epochs": 2, "epoch_seconds": 1.0})

    runs = [operator.start("retrain/weekly", model="turns", revision=slow) for _ in range(2)]
    messages = sorted(operator.ended(run)["state"]["message"] for run in runs)

    assert messages[0].startswith("nothing to do: turns@1")
    assert messages[1].startswith("production names turns@1")


def test_a_release_by_hand_moves_the_alias_with_its_reason(operator: Operator) -> None:
    operator.retrain("manual", operator.branch("poor", **POOR))
    operator.retrain("manual", alias="staging")

    run = operator.run("release/manual", model="manual", action="promote", version=2, reason="asked for by Ann")
    back = operator.run("release/manual", model="manual", action="rollback", reason="Ann was wrong")

    notes = [(step.version, step.note) for step in operator.registry.aliases("manual")[0].steps]
    assert run["state"]["message"] == "production names manual@2: asked for by Ann"
    assert back["state"]["message"] == "production names manual@1: Ann was wrong"
    assert notes[1:] == [(2, "asked for by Ann"), (1, "Ann was wrong")]


def test_a_version_is_rebuilt_to_the_same_files(operator: Operator) -> None:
    operator.retrain("rebuilt")

    run = operator.run("reproduce/manual", version="rebuilt@1")

    assert (
        run["state"]["message"]
        == f"rebuilt@1: the same files, all {len(operator.registry.manifest('rebuilt').files)} of them"
    )


def test_no_secret_is_anywhere(operator: Operator) -> None:
    operator.retrain("secret")
    secret = operator.stack.variables["AWS_SECRET_ACCESS_KEY"]

    kept = [path for path in operator.stack.folder.rglob("*") if path.is_file() and path.name != "identities.json"]
    found = [path for path in kept if secret.encode() in path.read_bytes()]

    assert kept
    assert found == []
    assert secret not in json.dumps(operator.registry.manifest("secret").to_json())


# Other data than in the other tests, so that no run-cache knows the training; each test takes a seed of its own.
LONG = {"epochs": 8, "epoch_seconds": 1.0}


def branch(operator: Operator, seed: int) -> str:
    return operator.branch(f"long-{seed}", split={"seed": seed}, train=LONG)


def undisturbed(operator: Operator, model: str, revision: str) -> dict[str, str]:
    """Return the files of a version that another model gets from the same revision, with nobody dying."""
    operator.retrain(model, revision)
    return files(operator, model)


def files(operator: Operator, model: str) -> dict[str, str]:
    return {file.path: file.sha256 for file in operator.registry.manifest(f"{model}@production").files}


def in_the_middle(operator: Operator, model: str, revision: str) -> tuple[str, str]:
    """Start a retrain, wait for the third epoch, and return the ids of its run and of the training's."""
    run = operator.start("retrain/weekly", model=model, revision=revision)
    training = operator.training_of(run)
    operator.waits_for_log(training, "train: epoch 3")
    return run, training


def test_a_killed_training_goes_on_from_its_checkpoint_on_another_machine(operator: Operator) -> None:
    revision = branch(operator, 1)
    run, training = in_the_middle(operator, "gpu-dies", revision)
    time.sleep(2)  # the last checkpoint is on its way

    operator.kill_processes_of(training)
    ended, failed = operator.ended(training), operator.ended(run)
    operator.forget_workspace("gpu-1")
    again = operator.start("retrain/weekly", model="gpu-dies", revision=revision)
    second = operator.training_of(again)

    assert ended["state"]["type"] == "CRASHED"
    assert failed["state"]["type"] == "FAILED"
    assert operator.ended(again)["state"]["type"] == "COMPLETED"
    assert any("train: going on from a checkpoint, with epoch" in line for line in operator.logs(second))
    assert files(operator, "gpu-dies") == undisturbed(operator, "gpu-lives", revision)


def test_a_killed_retrain_is_ended_by_the_next_one(operator: Operator) -> None:
    revision = branch(operator, 2)
    run, _ = in_the_middle(operator, "flow-dies", revision)

    operator.kill_processes_of(run)
    ended = operator.ended(run)

    assert ended["state"]["type"] == "CRASHED"
    with pytest.raises(NotFoundError):
        operator.registry.versions("flow-dies")
    assert operator.retrain("flow-dies", revision).startswith("production names flow-dies@1")


def test_a_store_that_is_away_fails_the_run_and_nothing_else(operator: Operator) -> None:
    revision = branch(operator, 3)
    run, _ = in_the_middle(operator, "store-dies", revision)

    operator.stack.services["s3"].kill()
    time.sleep(30)
    operator.stack.restart("s3")
    ended = operator.ended(run)

    if ended["state"]["type"] != "COMPLETED":  # when the store was wanted while it was away
        assert ended["state"]["type"] == "FAILED", ended["state"]
        operator.retrain("store-dies", revision)
    assert operator.registry.versions("store-dies") == [1]
    assert operator.registry.verify_all("store-dies").findings == ()


def test_a_power_cut_costs_the_run_and_no_version(operator: Operator) -> None:
    revision = branch(operator, 4)
    run, training = in_the_middle(operator, "power-cut", revision)

    _kill_everything(operator)
    for name in operator.stack.services:
        operator.stack.restart(name)
    operator.api.post(f"/flow_runs/{run}/set_state", state=_CRASHED, force=True)
    operator.api.post(f"/flow_runs/{training}/set_state", state=_CRASHED, force=True)

    assert operator.retrain("power-cut", revision).startswith("production names power-cut@1")
    assert operator.registry.verify_all("power-cut").findings == ()


def test_a_version_that_was_published_and_not_promoted_is_promoted_by_the_next_run(operator: Operator) -> None:
    operator.retrain("between")
    alias = operator.registry.storage
    alias.delete("between/aliases/production.jsonl")  # as if the flow had died between the two

    sentence = operator.retrain("between")

    assert sentence.startswith("production names between@1 because the first version: ")


_CRASHED: dict[str, Any] = {"type": "CRASHED", "name": "Crashed", "message": "a power cut"}


def _kill_everything(operator: Operator) -> None:
    """Kill -9 every process of the stack at once."""
    for process_id in marked(str(operator.stack.folder)):
        try:
            os.kill(process_id, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for service in operator.stack.services.values():
        if service.process:
            service.process.wait()
