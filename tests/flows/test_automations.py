"""What people are told reaches them as it was written, whatever their chat makes of it; so does what hasn't come."""

import asyncio
import socketserver
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from prefect import flow, tags
from prefect.events.actions import SendNotification
from prefect.server.events import jinja_filters
from prefect.server.schemas.schedules import CronSchedule
from prefect.server.utilities.user_templates import register_user_template_filters, render_user_template
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from ruamel.yaml import YAML

from flows.announcing import announce, announce_move, announce_sound
from flows.automations import bring_up_to_date
from flows.notifications import notifications, save_block, silences, why_unheard
from flows.object_store import weed
from flows.prefect_api import named_server
from flows.silences import begin
from flows.stack import Options, Stack
from tests.flows.api import Api, wait
from tests.flows.listening import Hook, webhook
from tests.flows.stacks import stack_with_tables
from tests.flows.stand_ins import PROJECT

WRITTEN = "it doesn't know <!channel> & <http:evil.example|the fix>"
ESCAPED = "it doesn't know &lt;!channel&gt; &amp; &lt;http:evil.example|the fix&gt;"
TOLD = [one for one in notifications(uuid.uuid4()) if "silence" not in one.name]
has_store = pytest.mark.skipif(weed() is None, reason="no S3 server on this platform")


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with webhook() as found:
        yield found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Stack]:
    options = Options(checkout=PROJECT, pools=(), deploy=False, notify=hook.address)
    with stack_with_tables(tmp_path_factory, options) as running:
        yield running


@pytest.mark.parametrize("automation", TOLD, ids=lambda one: one.name)
def test_a_message_holds_nothing_that_slack_takes_for_a_link_or_a_call(automation: Any) -> None:
    register_user_template_filters(jinja_filters.all_filters)
    state = {"name": "Failed", "message": WRITTEN}
    event = {"resource": {"id": "petmodels.model.pets"}, "payload": {"sentence": WRITTEN}}
    (action,) = automation.actions
    assert isinstance(action, SendNotification)

    told = asyncio.run(render_user_template(action.body, {"flow_run": {"state": state}, "event": event}))

    assert ESCAPED in told
    assert not set("<>") & set(told)


@pytest.mark.parametrize("address", ["http://.../a-secret", "http://xn--/a-secret", f"http://{'a' * 64}.org/a-secret"])
def test_a_webhook_without_a_possible_host_is_told_by_no_traceback(address: str) -> None:
    assert why_unheard(address) in {"ConnectError", "IDNAError"}


def test_a_webhook_that_answers_byte_by_byte_is_waited_for_no_longer_than_any() -> None:
    """Each byte ends what a time-out of a socket counts, so that it never comes."""
    with trickling() as address:
        start = time.monotonic()
        told = why_unheard(address, most_seconds=1.5)

    assert told == "no whole answer within 1.5 seconds"
    assert time.monotonic() - start < 10


@contextmanager
def trickling() -> Iterator[str]:
    """Yield the address of a server that sends a byte of its answer every tenth of a second, without an end."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with suppress(ConnectionError):
                while True:
                    self.request.sendall(b".")
                    time.sleep(0.1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/a-secret-path"
        server.shutdown()


def test_a_silence_is_longer_than_the_schedule_in_prefect_yaml_goes_without_a_run() -> None:
    document = YAML(typ="safe").load(PROJECT / "prefect.yaml")
    scheduled = [one for one in document["deployments"] if one.get("schedules")]
    longest = {one["entrypoint"].rpartition(":")[2]: longest_pause(one["schedules"]) for one in scheduled}

    found = {one.name.rpartition(" ")[2]: one.trigger.within for one in silences(uuid.uuid4())}

    mend = "flows/prefect_settings.py: SILENCES has one for each flow with a schedule, and each is longer"
    assert found.keys() == longest.keys(), mend
    assert all(found[name] > longest[name] + timedelta(hours=1) for name in longest), mend


def longest_pause(schedules: list[dict[str, str]]) -> timedelta:
    """Return the longest time between two of the next thousand runs, of the day of 25 hours too."""
    (schedule,) = (CronSchedule(**one) for one in schedules)
    dates = asyncio.run(schedule.get_dates(n=1000))
    return max(after - before for before, after in pairwise(dates))


@pytest.mark.slow
@has_store
def test_people_are_told_once_when_so_long_has_passed_since_a_flows_last_good_run(stack: Stack, hook: Hook) -> None:
    """Since it was first waited for where it has none, and whether or not the server was started anew meanwhile."""
    seconds = 12
    hours = dict.fromkeys(("retrain", "audit", "watch"), seconds / 3600)

    @flow(name="retrain")
    def retrain() -> float:
        announce_sound("nothing is broken")  # as an audit does
        return time.monotonic()

    def told(name: str) -> list[str]:
        return [text for text in hook.texts if f"petmodels: no {name}" in text]

    def wait_for(**counts: int) -> None:
        wait(lambda: {name: len(told(name)) for name in counts} == counts, 120, f"word of {counts}",
             why=lambda: str(hook.texts))  # fmt: skip

    with temporary_settings({PREFECT_API_URL: stack.api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        with named_server() as client:
            bring_up_to_date(client, silences(save_block(hook.address), hours=hours))
            time.sleep(1)
            begin(client, hours)
        time.sleep(2)
        stack.services["server"].kill()
        stack.restart("server")
        wait_for(retrain=1, audit=1, watch=1)
        for _ in range(2):
            with named_server() as client:
                begin(client, ("retrain", "audit"))  # as whoever prepares the server again does
            time.sleep(0.75 * seconds)
            with tags("petmodels"):
                end = retrain()
        wait_for(retrain=2, audit=2)
        passed = time.monotonic() - end

    assert seconds < passed < 2 * seconds
    assert "no run of retrain has ended well for 0.00333333 hours; is its schedule paused?" in told("retrain")[0]
    for name in ("retrain", "audit"):
        assert f"the last one that has: {stack.address}/runs/flow-run/" in told(name)[1]
    assert len(told("watch")) == 1
    assert not told("ingest")


@pytest.mark.slow
@has_store
def test_each_message_of_an_event_leads_to_its_run(stack: Stack, hook: Hook) -> None:
    sentences = [f"sentence {number}" for number in range(5)]
    kinds = ("challenger.refused", "champion.slipping", "images.refused")

    @flow(name="telling")
    def telling() -> None:
        for kind, sentence in zip(kinds, sentences, strict=False):
            announce(f"petmodels.{kind}", "pets", {"sentence": sentence})
        announce_move("pets", "production", 1, sentences[3])
        announce_sound(sentences[4])

    with temporary_settings({PREFECT_API_URL: stack.api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        telling()

    (run,) = Api(stack.api).post("/flow_runs/filter", flows={"name": {"any_": ["telling"]}})
    link = f"{stack.address}/runs/flow-run/{run['id']}"

    def all_told() -> bool:
        return all(any(sentence in text and link in text for text in hook.texts) for sentence in sentences)

    wait(all_told, 120, f"word of five sentences, with {link}", why=lambda: str(hook.texts))
