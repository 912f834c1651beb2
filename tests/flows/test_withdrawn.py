"""The flows live with versions that were withdrawn: they count, and nothing else is taken from them."""

from pathlib import Path

import pytest

from flows.candidate import Candidate
from flows.champion import champion_of
from flows.dvc_process import DvcProcess
from flows.since import newest_version, versions_from
from flows.turns import turn_of
from flows.workspace import Workspace
from petmodels import Origin, Registry
from tests.petmodels.bundles import make_bundle

LOCK = "stages: {export: {outs: [{path: data/bundle, md5: 00112233445566778899aabbccddeeff.dir}]}}"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry with a champion and two challengers, of which the second was withdrawn."""
    monkeypatch.setenv("PETMODELS_CACHE", str(tmp_path / "cache"))
    found = Registry(tmp_path / "registry")
    for number in (1, 2, 3):
        found.publish(make_bundle(tmp_path / str(number), tag=str(number)), "pets", Origin(dvc_lock=LOCK))
    found.promote("pets@1", "production")
    found.withdraw("pets@3", "asked for", is_dry=False)
    return found


def test_a_challenger_that_was_withdrawn_was_one_all_the_same(registry: Registry) -> None:
    champion = champion_of(registry, "pets", "production")

    assert champion
    # pets@2 has the champion's network, and is none.
    assert turn_of(registry, champion.manifest, 4) == 2


def test_ingest_counts_since_the_newest_version_that_is_left(registry: Registry) -> None:
    newest = newest_version(registry.storage.address, "pets")

    assert newest
    assert newest.name == "pets@2"


def test_older_versions_are_asked_for_their_commits_without_those_that_were_withdrawn(
    registry: Registry, tmp_path: Path
) -> None:
    newest = registry.publish(make_bundle(tmp_path / "4", tag="4"), "pets", Origin(dvc_lock=LOCK)).manifest

    found = versions_from(registry.storage.address, newest)

    assert [one.name for one in found] == ["pets@4", "pets@2", "pets@1"]


def test_a_model_of_which_nothing_is_left_is_trained_as_if_nothing_was_published(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    registry.publish(make_bundle(tmp_path / "1"), "pets")
    registry.withdraw("pets@1", "asked for", is_dry=False)

    assert newest_version(registry.storage.address, "pets") is None


def test_a_retrain_takes_no_withdrawn_version_for_what_it_has_made(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    (folder / "build").mkdir(parents=True)
    w = Workspace(folder=folder, commit="c" * 40, tell=str, handle=-1, process=DvcProcess(folder, (), str))
    w.set_text("dvc.lock", LOCK)
    make_bundle(folder / "data/bundle", tag="3")

    assert Candidate(registry=registry, model="pets", alias="production", w=w).published() is None
