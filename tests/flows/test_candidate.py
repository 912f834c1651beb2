"""Who is told of a challenger's end, and when."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.candidate import Candidate
from flows.dvc_process import DvcProcess
from flows.gate import Decision
from flows.workspace import Workspace
from petmodels import Registry
from tests.petmodels.bundles import make_bundle


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
def sent() -> Iterator[list[AssertingEventsClient]]:
    """The clients that have sent events to a server by now, and what they sent."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # asked for nothing, but wished for
        yield AssertingEventsClient.all
    EventsWorker.set_client_override(None)


def test_a_refusal_is_told_before_it_is_noted(
    candidate: Candidate, sent: list[AssertingEventsClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, object]] = []

    def set_text(*_: object) -> None:
        events = [event for client in sent for event in getattr(client, "events", [])]
        told.extend((event.event, event.resource.id, event.payload) for event in events)

    monkeypatch.setattr(Workspace, "set_text", set_text)

    candidate.settle(Decision("refuse", "refused: it is worse", ()), "")

    sentence = {"sentence": "refused: it is worse"}
    assert told == [("petmodels.challenger.refused", "petmodels.model.pets", sentence)]
