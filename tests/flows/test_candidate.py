"""Who is told of a challenger's end, and when."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.candidate import Candidate
from flows.dvc_process import DvcProcess
from flows.gate import Decision
from flows.refusals import judging_code
from flows.workspace import Workspace
from petmodels import Manifest, Origin, Registry
from tests.flows.listening import events_taken
from tests.petmodels.bundles import make_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    """A challenger in a workspace, for a registry that has a champion."""
    (tmp_path / "workspace/build").mkdir(parents=True)
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(make_bundle(tmp_path / "champion"), "pets")
    registry.promote("pets@1", "production")
    folder = tmp_path / "workspace"
    w = Workspace(folder=folder, commit="c" * 40, tell=str, handle=-1, process=DvcProcess(folder, (), str))
    return Candidate(registry=registry, model="pets", alias="production", w=w)


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """The events that a server has taken by now."""
    with events_taken() as taken:
        yield taken


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["keep", "refuse"])
def test_what_a_message_says_is_not_done_against_the_gate(
    candidate: Candidate, sent: list[dict[str, Any]], outcome: Any
) -> None:
    origin = Origin(message="promote production over pets@1: better")
    version = candidate.registry.publish(make_bundle(candidate.w.folder / "next", tag="next"), "pets", origin).manifest
    assert candidate.awaits_promotion(version)

    sentence = candidate.finish(version, Decision(outcome, "no better", (), champion=1))

    assert sentence == "pets@2 stays without production: no better"
    assert not candidate.awaits_promotion(version)  # nor does the next run ask again
    assert candidate.registry.manifest("pets@production").version == 1


def test_other_bytes_under_the_same_lock_are_not_what_is_published(candidate: Candidate) -> None:
    lock = "stages: {export: {outs: [{path: data/bundle, md5: 00112233445566778899aabbccddeeff.dir}]}}"
    candidate.w.set_text("dvc.lock", lock)
    bundle = make_bundle(candidate.w.folder / "data/bundle", tag="ours")
    other = candidate.registry.publish(make_bundle(candidate.w.folder / "other"), "pets", Origin(dvc_lock=lock))
    assert other.manifest.version == 2
    assert candidate.published() is None

    ours = candidate.registry.publish(bundle, "pets", Origin(dvc_lock=lock)).manifest

    assert candidate.published() == ours


@pytest.mark.slow
@pytest.mark.parametrize(
    "lock",
    [
        "[1]",
        "stages: {export: {outs: [{}]}}",
        "stages: {export: {outs: [{md5: 00112233445566778899aabbccddeeff.dir}]}}",
        "stages: {export: {outs: [{path: [a], md5: 00112233445566778899aabbccddeeff.dir}]}}",
        "[" * 3000,
        "stages: {export: {outs: [{path: data/bundle, md5: a}]}}",
    ],
)
def test_a_version_whose_lock_is_none_is_passed_over(candidate: Candidate, lock: str) -> None:
    candidate.w.set_text("dvc.lock", "stages: {export: {outs: [{path: data/bundle, md5: a}]}}")
    bundle = make_bundle(candidate.w.folder / "data/bundle", tag="ours")
    candidate.registry.publish(bundle, "pets", Origin(dvc_lock=lock))

    assert candidate.published() is None


def kept(candidate: Candidate) -> Manifest:
    """Publish a version that the gate has kept; return it."""
    bundle = make_bundle(candidate.w.folder / "kept", tag="kept")
    return candidate.registry.publish(bundle, "pets", Origin(message="kept, not promoted: may be chance")).manifest


def test_what_was_kept_is_judged_again_only_by_force_and_under_its_own_number(
    candidate: Candidate, sent: list[dict[str, Any]]
) -> None:
    version = kept(candidate)
    assert not candidate.awaits_promotion(version)
    assert candidate.awaits_promotion(version, force=True)

    sentence = candidate.finish(version, Decision("keep", "kept, not promoted: may be chance", (), champion=1))

    assert sentence == "pets@2 stays without production: kept, not promoted: may be chance"
    assert sent == []  # nobody said that it was to be promoted
    assert candidate.registry.versions("pets") == [2, 1]


def test_force_brings_nothing_back_that_the_alias_has_named_before(candidate: Candidate) -> None:
    version = kept(candidate)
    candidate.registry.promote("pets@2", "production")
    candidate.registry.rollback("pets", "production")

    assert not candidate.awaits_promotion(version, force=True)


@pytest.mark.slow
def test_what_was_taken_back_stays_so_in_a_registry_that_came_back_from_its_mirror(
    candidate: Candidate, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "better", tag="better")
    candidate.registry.publish(bundle, "pets", Origin(message="promote production over pets@1: better"))
    candidate.registry.promote("pets@2", "production")
    candidate.registry.rollback("pets", "production", message="it mistakes every Bombay")

    candidate.registry.mirror(tmp_path / "backup")
    Registry(tmp_path / "backup", cache=tmp_path / "cache").mirror(tmp_path / "restored")

    restored = replace(candidate, registry=Registry(tmp_path / "restored", cache=tmp_path / "cache of another"))
    version = restored.registry.manifest("pets")
    assert (version.name, restored.champion()) == ("pets@2", 1)
    assert not restored.awaits_promotion(version)
    assert not restored.awaits_promotion(version, force=True)


def test_force_judges_nothing_older_than_the_champion_whose_challenger_it_never_was(candidate: Candidate) -> None:
    version = kept(candidate)
    candidate.registry.publish(make_bundle(candidate.w.folder / "better", tag="better"), "pets")
    candidate.registry.promote("pets@3", "production")

    assert not candidate.awaits_promotion(version, force=True)


def test_a_refusal_is_not_noted_for_a_champion_that_came_while_it_was_judged(
    candidate: Candidate, sent: list[dict[str, Any]]
) -> None:
    kept(candidate)
    candidate.registry.promote("pets@2", "production", message="by hand")

    candidate.settle(Decision("refuse", "refused: it is worse than pets@1", (), champion=1), "")

    assert not candidate.is_refused()
    assert len(sent) == 1


@pytest.mark.parametrize("is_lasting", [True, False])
def test_only_a_lasting_refusal_is_not_asked_again(
    candidate: Candidate, sent: list[dict[str, Any]], is_lasting: bool
) -> None:
    candidate.settle(Decision("refuse", "refused: it is worse", (), is_lasting=is_lasting), "")

    assert candidate.is_refused() == is_lasting
    assert [event["event"] for event in sent] == ["petmodels.challenger.refused"]


JUDGING = ("at_labels", "champion", "costs", "evidence", "first", "gate", "paired", "recalls", "tested", "turns")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "is_judging"),
    [
        *((f"flows/{name}.py", True) for name in JUDGING),
        ("petmodels/preprocess.py", True),
        ("flows/loop.py", False),
    ],
)
def test_a_refusal_holds_for_the_code_that_has_judged(tmp_path: Path, file: str, is_judging: bool) -> None:
    for package in ("flows", "petmodels"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = judging_code(tmp_path)

    (tmp_path / file).write_text("# mended")

    assert (judging_code(tmp_path) != before) == is_judging


def test_whether_a_version_awaits_promotion_is_one_reading_of_the_alias(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = Origin(message="promote production over pets@1: better")
    version = candidate.registry.publish(make_bundle(candidate.w.folder / "next", tag="next"), "pets", origin).manifest
    alias = candidate.registry.alias("pets", "production")
    readings = iter([alias])  # a second one fails
    monkeypatch.setattr(Registry, "alias", lambda *_: next(readings))

    assert candidate.awaits_promotion(version)


@pytest.mark.usefixtures("sent")
def test_a_refusal_holds_for_the_rules_that_it_was_made_by(candidate: Candidate) -> None:
    candidate.w.set_text("params.yaml", "gate: {max_p_value: 0.05}")
    candidate.settle(Decision("refuse", "refused: it is worse", (), is_lasting=True), "")
    assert candidate.is_refused()

    candidate.w.set_text("params.yaml", "gate: {max_p_value: 0.5}")

    assert not candidate.is_refused()


@pytest.mark.usefixtures("sent")
def test_a_refusal_holds_for_the_registry_that_it_was_made_for(candidate: Candidate, tmp_path: Path) -> None:
    """In the registry of staging, pets@1 is another champion than production's."""
    other = Registry(tmp_path / "staging", cache=tmp_path / "cache")
    other.publish(make_bundle(tmp_path / "staged", tag="staged"), "pets")
    other.promote("pets@1", "production")
    assert other.alias("pets", "production").version == candidate.champion()

    candidate.settle(Decision("refuse", "refused: it is worse", (), is_lasting=True), "")

    assert candidate.is_refused()
    assert not replace(candidate, registry=other).is_refused()


def test_a_refusal_is_told_before_it_is_noted(
    candidate: Candidate, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, object]] = []

    def set_text(*_: object) -> None:
        told.extend((event["event"], event["resource"]["prefect.resource.id"], event["payload"]) for event in sent)

    monkeypatch.setattr(Workspace, "set_text", set_text)

    candidate.settle(Decision("refuse", "refused: it is worse", ()), "")

    sentence = {"sentence": "refused: it is worse"}
    assert told == [("petmodels.challenger.refused", "petmodels.model.pets", sentence)]
