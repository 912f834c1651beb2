"""One stack from its start to its end, with everything that an operator relies on in between.

The flows are stand-ins of a few lines; server, store, workers, automations and prefect.yaml are the project's own. The
fixtures follow each other in time, as a bad night would: tests only look at what each has left.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import boto3
import pytest
from ruamel.yaml import YAML

from flows import object_store
from flows.errors import StackError
from flows.prefect_settings import WORKER
from flows.services import marked
from flows.stack import Options, Stack, running_stack
from tests.flows.api import Api, wait
from tests.flows.listening import Hook, webhook
from tests.flows.stand_ins import checkout

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(object_store.weed() is None, reason="no S3 server on this platform"),
]

# Longer than a heartbeat (30, the least that Prefect allows) and the outage (30) together.
ZOMBIE_SECONDS = 75
OUTAGE_SECONDS = 30
KILLED_SECONDS = 60
ENDLESS_SECONDS = 45

MORE = {
    "tick": """
from prefect import flow
@flow
def tick():
    pass
""",
    "long": """
import subprocess, sys
from pathlib import Path
from prefect import flow
@flow
def long(pid_file: str, seconds: int):
    import os
    Path(pid_file).write_text(str(os.getpid()))
    subprocess.run([sys.executable, "-c", f"import time; time.sleep({seconds})"], check=True)
""",
    "broken": """
from prefect import flow
from prefect.states import Failed
@flow
def broken():
    return Failed(message="no revision nowhere in the project's git remote")
""",
}
DEPLOYMENTS = """
  - name: often
    entrypoint: flows/tick.py:tick
    tags: [petmodels]
    work_pool: *cpu
    schedules: [{interval: 10}]
  - name: paused
    entrypoint: flows/tick.py:tick
    tags: [petmodels]
    work_pool: *cpu
    paused: true
    schedules: [{interval: 10}]
  - name: cpu
    entrypoint: flows/long.py:long
    tags: [petmodels]
    work_pool: *cpu
    concurrency_limit: 1
  - name: gpu
    entrypoint: flows/long.py:long
    tags: [petmodels]
    work_pool: {name: gpu}
    concurrency_limit: 1
  - name: cpu
    entrypoint: flows/broken.py:broken
    tags: [petmodels]
    work_pool: *cpu
"""
SHORT_RUNS = """
from prefect import flow, tags
@flow
def short(number: int) -> int:
    return number
with tags("petmodels"):
    for number in range(50):
        short(number)
"""


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with webhook() as found:
        yield found


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Options:
    project = checkout(tmp_path_factory.mktemp("project") / "checkout", MORE)
    with (project / "prefect.yaml").open("a") as file:
        file.write(DEPLOYMENTS)
    return Options(checkout=project, notify=hook.address, zombie_seconds=ZOMBIE_SECONDS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, options: Options) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, options) as running:
        yield running
    assert marked(str(folder)) == []
    assert list(Path("/tmp").glob(f"seaweedfs-s3-{running.store.endpoint.rpartition(':')[2]}.sock")) == []  # noqa: S108


@pytest.fixture(scope="module")
def api(stack: Stack) -> Api:
    return Api(stack.api)


def deployments(api: Api) -> dict[str, Any]:
    names = {flow["id"]: flow["name"] for flow in api.post("/flows/filter")}
    return {f"{names[found['flow_id']]}/{found['name']}": found for found in api.post("/deployments/filter")}


def test_every_deployment_of_the_project_is_on_the_server(api: Api, options: Options) -> None:
    wanted = YAML(typ="safe").load(options.checkout / "prefect.yaml")["deployments"]
    found = deployments(api)
    assert len(found) == len(wanted)
    assert {"retrain/weekly", "retrain/on-arrival", "train/gpu", "ingest/hourly"} <= set(found)
    assert {"release/manual", "reproduce/manual", "audit/nightly", "watch/daily"} <= set(found)


def test_every_deployment_has_the_tag_without_which_nobody_looks_after_its_runs(api: Api) -> None:
    assert [name for name, found in deployments(api).items() if found["tags"] != ["petmodels"]] == []


def test_retrains_share_a_queue_with_the_limit_one_and_wait_for_each_other(api: Api) -> None:
    found = deployments(api)
    queue = api.get("/work_pools/cpu/queues/retrain")
    assert queue["concurrency_limit"] == 1
    for name in ("retrain/weekly", "retrain/on-arrival"):
        assert found[name]["work_queue_name"] == "retrain"
        assert found[name]["global_concurrency_limit"] is None, "a lease that isn't renewed in time ends a retrain"


def test_what_comes_while_another_one_runs_and_would_find_nothing_more_is_skipped(api: Api) -> None:
    found = deployments(api)
    for name in ("ingest/hourly", "audit/nightly", "watch/daily"):
        assert found[name]["global_concurrency_limit"]["limit"] == 1
        assert found[name]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_a_page_of_another_server_may_ask_nothing(api: Api, stack: Stack, method: str) -> None:
    """A browser sends what changes something only where the answer to OPTIONS names the page's origin, or *."""
    localhost = stack.address.replace("127.0.0.1", "localhost")
    origins = [stack.address, localhost, "http://evil.example", "http://localhost:1", "null"]

    assert [allowed(api, method, origin) for origin in origins] == [stack.address, localhost, None, None, None]


def allowed(api: Api, method: str, origin: str) -> str | None:
    """Return for which origin the server lets a browser do what a page of `origin` asks of it."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    headers = {"Origin": origin} | (asked if method == "OPTIONS" else {})
    request = urllib.request.Request(f"{api.address}/health", headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.headers["Access-Control-Allow-Origin"]
    except HTTPError as error:
        with error:
            return error.headers["Access-Control-Allow-Origin"]


def test_a_queue_is_paused_and_resumed_at_once(api: Api) -> None:
    """Prefect opens a second session while this transaction is under way; it must not wait for the first one's lock."""
    began = time.monotonic()

    for is_paused in (True, False):
        api.patch("/work_pools/cpu/queues/retrain", is_paused=is_paused)
        assert api.get("/work_pools/cpu/queues/retrain")["is_paused"] is is_paused

    assert time.monotonic() - began < 30  # SQLite gives up after 60


@pytest.mark.parametrize(
    ("deployment", "cron"),
    [
        ("retrain/weekly", "0 3 * * 1"),
        ("ingest/hourly", "7 * * * *"),
        ("audit/nightly", "30 2 * * *"),
        ("watch/daily", "30 5 * * *"),
    ],
)
def test_what_runs_by_itself_has_its_time_and_time_zone(api: Api, deployment: str, cron: str) -> None:
    (schedule,) = deployments(api)[deployment]["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (cron, "Europe/Berlin")
    assert schedule["active"]


def test_a_schedule_fires_and_a_paused_one_does_not(api: Api) -> None:
    found = deployments(api)
    often, paused = found["tick/often"]["id"], found["tick/paused"]["id"]
    done = {"deployment_id": {"any_": [often]}, "state": {"type": {"any_": ["COMPLETED"]}}}
    wait(lambda: api.runs(**done), 180, "a run of tick/often")
    api.post(f"/deployments/{often}/pause_deployment")
    assert api.runs(deployment_id={"any_": [paused]}) == []


def test_arrived_images_start_a_retrain_of_their_model(api: Api) -> None:
    api.emit("petmodels.images.arrived", "petmodels.model.pets", branch="kennel")
    wait(lambda: retrained(api), 120, "a run of retrain/on-arrival")
    assert ("pets", "kennel") in retrained(api)


def test_images_of_another_model_start_no_retrain(api: Api) -> None:
    for model, branch in (("dogs", "main"), ("pets2", "main"), ("pets", "later")):
        api.emit("petmodels.images.arrived", f"petmodels.model.{model}", branch=branch)
    wait(lambda: ("pets", "later") in retrained(api), 120, "a run for the last event of all")
    assert {model for model, _ in retrained(api)} == {"pets"}


def retrained(api: Api) -> list[tuple[str, str]]:
    """Return the model and the revision of each run of retrain/on-arrival."""
    on_arrival = {"any_": [deployments(api)["retrain/on-arrival"]["id"]]}
    return [(run["parameters"]["model"], run["parameters"]["revision"]) for run in api.runs(deployment_id=on_arrival)]


def test_a_failed_run_a_refused_challenger_a_slip_and_a_moved_alias_are_told_in_one_sentence(
    api: Api, hook: Hook
) -> None:
    run = api.run("broken/cpu")
    worse = "4 points worse at <!channel> & <http:evil.example|the fix>"
    api.emit("petmodels.challenger.refused", "petmodels.model.pets", sentence=worse)
    api.emit("petmodels.champion.slipping", "petmodels.model.pets", sentence="pets@3 names 41 of 60 rightly")
    api.emit("petmodels.alias.moved", "petmodels.model.pets", sentence="production names pets@1: it was better")

    def why() -> object:
        states = api.get(f"/flow_run_states/?flow_run_id={run}")
        return states, events(api, "prefect.automation.action.failed"), hook.texts

    wait(lambda: any("no revision nowhere" in text for text in hook.texts), 180, "word of the failed run", why=why)
    wait(lambda: any("4 points worse" in text for text in hook.texts), 60, "word of the refused challenger")
    wait(lambda: any("pets@3 names 41 of 60" in text for text in hook.texts), 60, "word of the slip")
    wait(lambda: any("names pets@1: it was better" in text for text in hook.texts), 60, "word of the moved alias")
    (told,) = (text for text in hook.texts if "4 points worse" in text)
    assert "4 points worse at &lt;!channel&gt; &amp; &lt;http:evil.example|the fix&gt;" in told


def test_an_audit_that_found_nothing_is_told(api: Api, hook: Hook) -> None:
    """So that a night without a message means that something is down."""
    api.emit("petmodels.registry.sound", "petmodels.registry", sentence="nothing is broken: 3 versions")

    wait(lambda: any("petmodels: alive" in text for text in hook.texts), 180, "word of the audit")


def test_a_run_whose_process_was_killed_is_told(api: Api, hook: Hook, tmp_path: Path) -> None:
    run = api.run("long/gpu", pid_file=str(tmp_path / "pid"), seconds=KILLED_SECONDS)
    wait(lambda: list(tmp_path.iterdir()), 180, "a run that runs")
    time.sleep(1)

    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    wait(lambda: any("Crashed" in text and run in text for text in hook.texts), 120, "word of the killed run")


def test_the_address_of_the_webhook_is_a_secret(api: Api, hook: Hook) -> None:
    found = api.post("/block_documents/filter", include_secrets=False)
    assert [block["name"] for block in found] == ["petmodels-notify"]
    assert "a-secret-path" not in str(found)


def test_automations_are_made_once_and_only_what_changes_is_updated(stack: Stack, api: Api, options: Options) -> None:
    before = {one["name"]: one for one in api.post("/automations/filter")}
    seconds = {"zombie": ZOMBIE_SECONDS, "late": 10, "endless": ENDLESS_SECONDS}
    flags = [word for name, number in seconds.items() for word in (f"--{name}-seconds", str(number))]
    prepare = [sys.executable, "-m", "flows.prepare", *flags]
    subprocess.run(prepare, cwd=options.checkout, env=stack.variables, check=True)
    after = {one["name"]: one for one in api.post("/automations/filter")}
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name]["updated"] != before[name]["updated"]}
    assert changed == {"petmodels: tell of late runs", "petmodels: tell of runs without an end"}


def test_a_second_stack_in_the_folder_is_refused(stack: Stack, options: Options) -> None:
    with pytest.raises(StackError, match=f"a stack runs in this folder already.*{stack.folder}"):
        running_stack(stack.folder, options).__enter__()


def test_a_busy_port_is_one_line(tmp_path: Path, options: Options) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is busy .*; choose another with --port"):
            running_stack(tmp_path, Options(checkout=options.checkout, port=port)).__enter__()


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a port be held for a server")
def test_a_free_port_is_nobody_elses_and_a_server_can_listen_there() -> None:
    port = object_store.free_port()

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
        server.accept()[0].close()


def test_two_git_remotes_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="--project makes a git remote, and PETMODELS_GIT names one; unset either: g"):
        Options(git="git@example.org:pets.git", project=tmp_path)


def test_ctrl_c_ends_every_process_at_any_moment(tmp_path: Path, options: Options) -> None:
    ports = ["--port", str(object_store.free_port()), "--s3-port", str(object_store.free_port())]
    command = [sys.executable, "-m", "flows.stack", "--folder", str(tmp_path), *ports]
    environment = os.environ | {"PYTHONPATH": str(options.checkout)}
    with subprocess.Popen(command, cwd=options.checkout, env=environment, stderr=subprocess.PIPE, text=True) as started:
        wait(lambda: len(marked(str(tmp_path))) >= 2, 60, "a server and a store")
        for _ in range(3):  # as somebody does who has no patience
            started.send_signal(signal.SIGINT)
            time.sleep(0.4)
        said = started.communicate(timeout=60)[1]
    assert (started.returncode, said.splitlines()[-1]) == (0, "stack: ended; `make stack` goes on from here")
    assert marked(str(tmp_path)) == []


def test_the_store_keeps_its_data_and_its_address_over_a_power_cut(stack: Stack) -> None:
    client = boto3.client("s3", **_credentials(stack))
    client.put_object(Bucket=object_store.BUCKET, Key="drop/cat.jpg", Body=b"a cat")
    stack.services["s3"].kill()
    stack.restart("s3")
    assert client.get_object(Bucket=object_store.BUCKET, Key="drop/cat.jpg")["Body"].read() == b"a cat"


def _credentials(stack: Stack) -> dict[str, Any]:
    given = stack.store.environment()
    return {
        "endpoint_url": stack.store.endpoint,
        "region_name": given["AWS_DEFAULT_REGION"],
        "aws_access_key_id": given["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": given["AWS_SECRET_ACCESS_KEY"],
    }


def test_fifty_short_runs_are_completed(stack: Stack, api: Api) -> None:
    subprocess.run([sys.executable, "-c", SHORT_RUNS], env=stack.variables | WORKER, check=True)
    short = [run for run in begun(api) if "number" in run["parameters"]]
    assert [run["state"]["name"] for run in short] == ["Completed"] * 50
    for run in short[:5]:
        api.emit("prefect.flow-run.heartbeat", f"prefect.flow-run.{run['id']}", tag="petmodels")


@dataclass(frozen=True)
class Night:
    """What became of the runs: one whose process and worker were killed, one that lived through the server's outage."""

    dead: str
    alive: str
    silent_since: datetime


@pytest.fixture(scope="module")
def night(stack: Stack, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Night:
    pids = tmp_path_factory.mktemp("pids")
    dead = api.run("long/cpu", pid_file=str(pids / "dead"), seconds=600)
    alive = api.run("long/gpu", pid_file=str(pids / "alive"), seconds=OUTAGE_SECONDS + 10)
    wait(lambda: len(list(pids.iterdir())) == 2, 180, "two runs that run")
    time.sleep(2)
    stack.services["cpu-1"].kill()
    os.kill(int((pids / "dead").read_text()), signal.SIGKILL)
    silent_since = datetime.now(UTC)
    stack.services["server"].kill()
    time.sleep(OUTAGE_SECONDS)
    stack.restart("server")
    api.run("tick/often")
    return Night(dead, alive, silent_since)


def test_a_restarted_server_knows_who_holds_the_slot_of_a_limit(api: Api, night: Night) -> None:
    lease = api.get(f"/flow_runs/{night.dead}")["state"]["state_details"]["deployment_concurrency_lease_id"]
    assert api.post(f"/v2/concurrency_limits/leases/{lease}/renew", lease_duration=300) is None


def test_a_run_lives_through_an_outage_of_the_server(api: Api, night: Night) -> None:
    wait(lambda: api.state(night.alive) == "Completed", 180, "the end of the run")
    states = api.get(f"/flow_run_states/?flow_run_id={night.alive}")
    assert [state["name"] for state in states][-2:] == ["Running", "Completed"]


@pytest.fixture(scope="module")
def patient(api: Api, night: Night, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that begins after the night, and lasts longer than a run may be silent."""
    pid_file = tmp_path_factory.mktemp("pids") / "patient"
    run = api.run("long/gpu", pid_file=str(pid_file), seconds=ZOMBIE_SECONDS + 30)
    wait(pid_file.exists, 180, "a run that runs")
    return run


@pytest.fixture(scope="module")
def taken(api: Api, night: Night) -> str:
    """A run that a worker has taken and that never begins; its worker has died on the way."""
    flow = api.get(f"/flow_runs/{night.dead}")["flow_id"]
    run = str(api.post("/flow_runs/", flow_id=flow, name="taken", tags=["petmodels"])["id"])
    api.post(f"/flow_runs/{run}/set_state", state={"type": "PENDING"}, force=True)
    return run


@pytest.fixture(scope="module")
def foreign(api: Api, night: Night) -> str:
    """A run of somebody else on the same server, as Prefect has it by default: it sends no heartbeats."""
    flow = api.get(f"/flow_runs/{night.dead}")["flow_id"]
    run = str(api.post("/flow_runs/", flow_id=flow, name="foreign", tags=["theirs"])["id"])
    api.post(f"/flow_runs/{run}/set_state", state={"type": "RUNNING"}, force=True)
    return run


@pytest.mark.usefixtures("patient", "taken", "foreign")
def test_a_run_that_no_worker_takes_is_told(hook: Hook, night: Night) -> None:
    wait(lambda: any("tick/often" in text and "Late" in text for text in hook.texts), 300, "word of the late run")


def test_a_run_whose_machine_died_is_crashed_in_time_and_frees_its_slots(api: Api, night: Night) -> None:
    wait(lambda: api.state(night.dead) == "Crashed", ZOMBIE_SECONDS + 150, "the end of the dead run")
    ended = datetime.fromisoformat(api.get(f"/flow_runs/{night.dead}")["state"]["timestamp"])
    # The server looks every few seconds, on a busy machine later.
    assert (ended - night.silent_since).total_seconds() < ZOMBIE_SECONDS + 75
    assert api.post("/work_pools/cpu/concurrency_status")["active_slots"] == 0
    assert deployments(api)["long/cpu"]["global_concurrency_limit"]["active_slots"] == 0


def test_a_run_that_never_begins_is_crashed_in_time(api: Api, taken: str) -> None:
    wait(lambda: api.state(taken) == "Crashed", ZOMBIE_SECONDS + 150, "the end of the run that never began")
    assert api.get(f"/flow_runs/{taken}")["state"]["message"] == f"not begun {ZOMBIE_SECONDS} seconds after its start"


def test_a_run_that_sends_heartbeats_lives_as_long_as_it_needs(api: Api, patient: str) -> None:
    wait(lambda: api.state(patient) == "Completed", ZOMBIE_SECONDS + 150, "the end of the long run")
    states = [state["name"] for state in api.get(f"/flow_run_states/?flow_run_id={patient}")]
    run = api.get(f"/flow_runs/{patient}")
    assert "Crashed" not in states
    assert run["total_run_time"] > ZOMBIE_SECONDS


def test_a_run_that_takes_very_long_is_told(api: Api, hook: Hook, patient: str) -> None:
    wait(lambda: any("goes on and on" in text and patient in text for text in hook.texts), 60, "word of the long run")


def test_heartbeats_after_the_end_crash_nobody(api: Api, night: Night, taken: str) -> None:
    """The fifty short runs have had more than the time by now in which they could be taken for dead."""
    wait(lambda: len(events(api, "prefect.automation.action.failed")) >= 5, ZOMBIE_SECONDS + 150, "five refusals")
    crashed = begun(api, state={"type": {"any_": ["CRASHED"]}})
    killed = {run["id"] for run in crashed if run["parameters"].get("seconds") == KILLED_SECONDS}
    assert {run["id"] for run in crashed} - killed == {night.dead, taken}


def test_a_run_of_somebody_else_is_neither_ended_nor_told_of(api: Api, hook: Hook, foreign: str, patient: str) -> None:
    """It has been silent for longer than the patient one ran, and that has ended long ago."""
    assert api.state(patient) == "Completed"
    assert api.state(foreign) == "Running"
    assert [text for text in hook.texts if foreign in text] == []


def test_the_server_has_dropped_no_event(stack: Stack, night: Night) -> None:
    """With SQLite, a transaction that has to wait for another one used to be refused, and its event with it."""
    assert list((stack.folder / "prefect").glob("dlq/*")) == []
    assert "database is locked" not in stack.services["server"].log.read_text(errors="replace")


def begun(api: Api, **conditions: object) -> list[Any]:
    """Return the runs that have ever begun: Prefect's client, when a busy server keeps it waiting, makes some twice."""
    return [run for run in api.runs(**conditions) if run["start_time"]]


def events(api: Api, name: str) -> list[Any]:
    found: list[Any] = api.post("/events/filter", filter={"event": {"name": [name]}})["events"]
    return found
