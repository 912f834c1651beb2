"""What is announced has been heard, or the run that announces it fails."""

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.announcing import announce, announce_move
from flows.errors import RemoteError
from flows.object_store import free_port
from tests.flows.listening import events_taken


@pytest.mark.slow
def test_a_server_that_is_away_is_told() -> None:
    away = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api", PREFECT_CLIENT_MAX_RETRIES: 0}

    with (
        temporary_settings(away),
        pytest.raises(RemoteError, match=r"^Prefect's server didn't take the event petmodels.images.arrived: "),
    ):
        announce("petmodels.images.arrived", "pets", {"images": 1})


def test_what_is_announced_has_been_taken_when_it_returns() -> None:
    with events_taken() as taken:
        announce("petmodels.images.arrived", "pets", {"images": 1})

        (event,) = taken
    assert event["event"] == "petmodels.images.arrived"
    assert event["resource"] == {"prefect.resource.id": "petmodels.model.pets"}
    assert event["payload"] == {"images": 1}


def test_a_moved_alias_is_announced_with_its_version_and_the_reason() -> None:
    with events_taken() as taken:
        announce_move("pets", "production", 2, "production names pets@2: it mistook every Bombay")

        (event,) = taken
    assert event["event"] == "petmodels.alias.moved"
    assert event["payload"] == {
        "alias": "production",
        "version": 2,
        "sentence": "production names pets@2: it mistook every Bombay",
    }
