"""What `python -m flows.prepare` says to an operator whose server isn't a new one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    temporary_settings,
)

from flows.errors import RequestError, SettingsError
from flows.object_store import weed
from flows.prefect_api import named_server
from flows.prefect_settings import SILENCES
from flows.prepare import worker_of
from flows.project import VARIABLE, claim
from flows.stack import Options, Stack
from petmodels.registry import Registry
from tests.flows.api import Api, wait
from tests.flows.ingest.runs import run
from tests.flows.listening import webhook
from tests.flows.stacks import stack_with_tables
from tests.flows.stand_ins import PROJECT
from tests.petmodels.bundles import make_bundle
from tests.petmodels.proxy import proxying
from tests.servers import Answer, http_server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(weed() is None, reason="no S3 server on this platform")]


TELLING = (
    "petmodels: tell of failed and crashed runs, petmodels: tell of late runs, petmodels: tell of runs without an end, "
    "petmodels: tell of audits that found nothing, petmodels: tell of refused challengers, "
    "petmodels: tell of slipping champions, petmodels: tell of moved aliases, petmodels: tell of refused photographs, "
    "petmodels: tell of silence of retrain, petmodels: tell of silence of ingest, "
    "petmodels: tell of silence of audit, petmodels: tell of silence of watch"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server that was prepared with process pools and a webhook."""
    options = Options(checkout=PROJECT, pools=(), deploy=False, notify="http://127.0.0.1:9/a-secret-path")
    with stack_with_tables(tmp_path_factory, options) as running:
        yield running


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        ((), {}, "PREFECT_API_URL is unset; set it to the server's address, such as http://prefect.example.org:4200/api"),
        ((), {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "can't reach Prefect's server ([Errno 111] Connection "
         "refused); check PREFECT_API_URL, which ends in /api, and the proxies: http://127.0.0.1:9/api"),
        (("--gpus", "0"), {}, "--gpus wants a number from 1 on: 0"),
        (("--late-seconds", "-3"), {}, "--late-seconds wants a number from 1 on: -3"),
        ((), {"PETMODELS_NOTIFY": "hooks.example.org/a-secret"},
         "PETMODELS_NOTIFY is no address that begins with http:// or https:// and a host"),
    ],
)  # fmt: skip
def test_what_can_not_be_prepared_costs_one_line(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], told: str
) -> None:
    """With no address Prefect starts a server of its own, which takes all that was prepared along as it ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PETMODELS_"))}
    command = [sys.executable, "-m", "flows.prepare", *arguments]
    environment = kept | {"PREFECT_HOME": str(tmp_path)} | variables

    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr, done.stdout) == (1, f"prepare: {told}\n", "")


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (404, SettingsError, "answers 404 Not Found; check PREFECT_API_URL, which ends in /api, and the proxies: http"),
        (401, SettingsError, "answers 401 Unauthorized; check PREFECT_API_AUTH_STRING or PREFECT_API_KEY, and "),
        (422, PrefectHTTPStatusError, "422"),  # a bug, and no matter of the address
    ],
)
def test_a_server_that_is_none_of_prefects_or_refuses_costs_one_line(
    status: int, kind: type[Exception], told: str
) -> None:
    with http_server() as server:
        server.answers["/work_pools/cpu"] = [Answer(status=status)]
        with (
            temporary_settings({PREFECT_API_URL: server.url("")}),
            pytest.raises(kind, match=told),
            named_server() as client,
        ):
            client.request("GET", "/work_pools/cpu")


def test_a_server_that_answers_500_is_told_of_at_once() -> None:
    """A shell that has the workers' settings, as docs/operations.md says, would ask it again for eight minutes."""
    retries = {PREFECT_CLIENT_MAX_RETRIES: 1, PREFECT_CLIENT_RETRY_EXTRA_CODES: "500"}
    with http_server() as server:
        server.answers["/work_pools/cpu"] = [Answer(status=500), Answer(status=404)]
        with (
            temporary_settings({PREFECT_API_URL: server.url("")} | retries),
            pytest.raises(SettingsError, match="answers 500 Internal Server Error; check PREFECT_API_URL"),
            named_server() as client,
        ):
            client.request("GET", "/work_pools/cpu")


def prepare(stack: Stack, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """Run it without a webhook, with other `variables` than the stack's; return its exit status and what it says."""
    variables = {name: value for name, value in stack.variables.items() if name != "PETMODELS_NOTIFY"} | variables
    command = [sys.executable, "-m", "flows.prepare", *arguments]
    done = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_a_second_project_is_refused_and_the_firsts_stays(stack: Stack) -> None:
    api, second = Api(stack.api), {"PETMODELS_REGISTRY": "s3://second/models", "PETMODELS_GIT": "git@example.org:b.git"}
    first = {"registry": stack.variables["PETMODELS_REGISTRY"], "git": stack.variables["PETMODELS_GIT"]}

    status, (line,) = prepare(stack, "--cpus", "9", "--pool-type", "kubernetes", **second)

    assert (status, line) == (
        1,
        f"prepare: this Prefect server is the project's of {first['registry']} and {first['git']}; give each a server "
        "of its own, or, where it is this one that has moved, say --take-over: s3://second/models and "
        "git@example.org:b.git",
    )
    assert api.get(f"/variables/name/{VARIABLE}")["value"] == first
    assert api.get("/work_pools/cpu")["concurrency_limit"] == 4


@pytest.mark.parametrize(
    ("value", "told"),
    [({"git": "b.git", "registry": "s3://first/models"}, "s3://first/models and b.git"), ("ours", "ours")],
)
def test_a_project_is_told_in_one_order_whatever_the_database_makes_of_it(stack: Stack, value: Any, told: str) -> None:
    """Postgres sorts the keys of what it keeps; a person may write a variable in Prefect's UI."""
    with written(stack, value):
        status, (line,) = prepare(stack)

    assert status == 1
    assert line.startswith(f"prepare: this Prefect server is the project's of {told}; give each a server of its own, ")


def test_of_two_projects_the_one_that_was_quicker_keeps_a_new_server(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PETMODELS_REGISTRY", "PETMODELS_GIT", "PETMODELS_DVC_REMOTE"):
        monkeypatch.setenv(name, stack.variables[name])
    first = {"registry": "s3://first/models", "git": "b.git"}

    with (
        temporary_settings({PREFECT_API_URL: stack.api}),
        named_server() as client,
        written(stack, first),
        pytest.raises(SettingsError, match=r"the project's of s3://first/models and b\.git; "),
    ):
        claim(client, take_over=False)


@contextmanager
def written(stack: Stack, value: Any) -> Iterator[None]:
    """Have the server say, while the block runs, that it is this project's."""
    api = Api(stack.api)
    ours = api.get(f"/variables/name/{VARIABLE}")["value"]
    api.patch(f"/variables/name/{VARIABLE}", value=value)
    try:
        yield
        assert api.get(f"/variables/name/{VARIABLE}")["value"] == value
    finally:
        api.patch(f"/variables/name/{VARIABLE}", value=ours)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PETMODELS_GIT", "", "the worker's environment lacks PETMODELS_GIT; set it, for example to git@example.org:"),
        ("PETMODELS_REGISTRY", "http://b/models", "PETMODELS_REGISTRY: a registry is s3://bucket/prefix, file:///"),
    ],
)
def test_without_the_workers_variables_nothing_is_prepared(stack: Stack, name: str, value: str, told: str) -> None:
    status, (line,) = prepare(stack, "--cpus", "9", **{name: value})

    assert (status, line.startswith(f"prepare: {told}")) == (1, True)
    assert Api(stack.api).get("/work_pools/cpu")["concurrency_limit"] == 4


@pytest.mark.parametrize("name", ["PETMODELS_REGISTRY", "PETMODELS_GIT"])
def test_a_project_that_has_moved_takes_its_server_along(stack: Stack, name: str, tmp_path: Path) -> None:
    place = {"PETMODELS_REGISTRY": "registry", "PETMODELS_GIT": "git"}[name]

    assert prepare(stack, "--take-over", **{name: str(tmp_path)})[0] == 0

    assert Api(stack.api).get(f"/variables/name/{VARIABLE}")["value"][place] == str(tmp_path)
    assert prepare(stack)[0] == 1
    assert prepare(stack, "--take-over")[0] == 0
    assert prepare(stack)[0] == 0


def test_a_run_on_another_projects_worker_moves_nothing(stack: Stack, tmp_path: Path) -> None:
    """A worker takes whatever waits in the pool, and a button of one team's would roll the other's production back."""
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    for tag in ("one", "two"):
        registry.publish(make_bundle(tmp_path / tag, tag=tag), "pets")
        registry.promote("pets", "production")
    worker = {"PETMODELS_REGISTRY": str(tmp_path / "registry"), "PETMODELS_CACHE": str(tmp_path / "cache")}

    ended = run(stack, "release", worker, action="rollback", reason="it mistakes every Bombay")

    assert ended["state"]["type"] == "FAILED"
    assert ended["state"]["message"] == (
        f"this worker's registry isn't the one of the server's project, {stack.variables['PETMODELS_REGISTRY']}; "
        "correct PETMODELS_REGISTRY, or, where the registry has moved, run flows.prepare with --take-over: "
        f"{tmp_path}/registry"
    )
    assert registry.alias("pets", "production").version == 2


def test_a_pool_of_another_type_is_refused_by_name(stack: Stack) -> None:
    status, (line,) = prepare(stack, "--pool-type", "kubernetes", "--cpus", "9")

    assert (status, line) == (
        1,
        "prepare: the pool cpu exists with the type process, not kubernetes; delete it (prefect work-pool delete cpu), "
        "or give --pool-type process",
    )
    assert Api(stack.api).get("/work_pools/cpu")["concurrency_limit"] == 4


def test_the_interpreter_of_process_workers_starts_their_runs(stack: Stack) -> None:
    pool = Api(stack.api).get("/work_pools/cpu")
    changed = pool["base_job_template"]["variables"]["properties"] | {"stream_output": {"type": "boolean"}}
    Api(stack.api).patch(
        "/work_pools/gpu",
        base_job_template={**pool["base_job_template"], "variables": {"type": "object", "properties": changed}},
    )

    status, _lines = prepare(stack, "--python", "/opt/petmodels/.venv/bin/python")

    pools = [Api(stack.api).get(f"/work_pools/{name}")["base_job_template"] for name in ("cpu", "gpu")]
    commands = [template["variables"]["properties"]["command"]["default"] for template in pools]
    assert status == 0
    assert (
        pool["base_job_template"]["variables"]["properties"]["command"]["default"]
        == f"{sys.executable} -m prefect.engine"
    )
    assert commands == ["/opt/petmodels/.venv/bin/python -m prefect.engine"] * 2
    assert pools[1]["variables"]["properties"]["stream_output"] == {"type": "boolean"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--pool-type", "docker", "--python", "/bin/python3"),
            "for process pools; a run's image brings its own: docker",
        ),
        (
            ("--python", ".venv/bin/python"),
            "wants an absolute path, the same on every worker's machine: .venv/bin/python",
        ),
    ],
)
def test_an_interpreter_that_can_not_start_runs_is_refused(stack: Stack, arguments: tuple[str, ...], told: str) -> None:
    status, (line,) = prepare(stack, *arguments)

    assert status == 1
    assert line.startswith("prepare: --python ")
    assert line.endswith(told)


def test_a_job_template_without_a_command_is_refused_by_name(stack: Stack) -> None:
    whole = Api(stack.api).get("/work_pools/gpu")["base_job_template"]
    bare = {"job_configuration": {"command": "sleep 1"}, "variables": {"type": "object", "properties": {}}}
    Api(stack.api).patch("/work_pools/gpu", base_job_template=bare)

    status, (line,) = prepare(stack, "--python", sys.executable)

    Api(stack.api).patch("/work_pools/gpu", base_job_template=whole)
    told = "prepare: the job template of the pool gpu has no variable `command`; give it one, or leave --python out"
    assert (status, line) == (1, told)


def test_a_type_whose_worker_is_not_installed_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"^no worker of this type is installed here; .*prefect-docker.*: no-such$"):
        worker_of("no-such")


def test_the_worker_of_another_package_is_found_in_a_process_that_has_not_imported_it() -> None:
    pytest.importorskip("prefect_kubernetes", reason="prefect-kubernetes is not installed")
    asked = "from flows.prepare import worker_of; print(worker_of('kubernetes').__name__)"

    done = subprocess.run([sys.executable, "-c", asked], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1:] == ["KubernetesWorker"]


def test_without_a_webhook_those_who_go_on_telling_the_old_one_are_named(stack: Stack) -> None:
    status, (line,) = prepare(stack)

    assert (status, line) == (
        0,
        "prepare: PETMODELS_NOTIFY is unset, but an earlier one is still told of failed runs; to end that, delete in "
        f"Prefect's UI the block petmodels-notify and the automations {TELLING}",
    )


def test_what_an_earlier_release_has_left_is_named_with_how_to_delete_it(stack: Stack) -> None:
    api = Api(stack.api)
    flow = api.post("/flows/", name="retrain")["id"]
    tags = {"weekly": ["petmodels"], "monthly": ["petmodels"], "somebody's own": ["other"]}
    made = [api.post("/deployments/", name=name, flow_id=flow, tags=tags[name]) for name in tags]
    old = next(one for one in api.post("/automations/filter") if one["name"].endswith("late runs"))
    copied = {name: old[name] for name in ("trigger", "actions")}
    left = [api.post("/automations/", name=name, **copied) for name in ("petmodels: tell of old runs", "another's")]

    status, (_notify, *lines) = prepare(stack)

    for kind, things in (("automations", left), ("deployments", made)):
        for one in things:
            api.delete(f"/{kind}/{one['id']}")
    assert (status, lines) == (
        0,
        [
            "prepare: prefect.yaml has no deployment retrain/monthly; to delete it: "
            "prefect deployment delete retrain/monthly",
            "prepare: no automation of this release is called 'petmodels: tell of old runs'; to delete it: "
            f"prefect automation delete --id {left[0]['id']}",
        ],
    )


def test_a_proxy_that_lets_no_websocket_through_is_told_of(stack: Stack) -> None:
    with proxying(stack.address) as proxy:
        status, (_webhook, line) = prepare(stack, PREFECT_API_URL=f"{proxy.endpoint}/api")

    assert status == 0
    assert line == (
        "prepare: Prefect's stream of events is closed, so no run from here has heartbeats, and each is set to Crashed "
        "after 300 seconds; let WebSockets through (docs/operations.md, Behind a reverse proxy): server rejected "
        f"WebSocket connection: HTTP 404: {proxy.endpoint.replace('http', 'ws')}/api/events/in"
    )


def test_preparing_says_when_nobody_hears_the_webhook(stack: Stack) -> None:
    """The address is a secret: no line shows it."""
    told = "prepare: the webhook of PETMODELS_NOTIFY takes no message from here, so see to it that the server's reach "

    with http_server() as server, webhook() as hook:
        wrong = prepare(stack, PETMODELS_NOTIFY=server.url("/a-secret-path"))
        heard = prepare(stack, PETMODELS_NOTIFY=hook.address)
    away = prepare(stack, PETMODELS_NOTIFY=stack.variables["PETMODELS_NOTIFY"])

    assert wrong == (0, [f"{told}people: 501 Unsupported method ('POST')"])
    assert away == (0, [f"{told}people: ConnectError"])
    assert heard == (0, [])
    (text,) = hook.texts
    assert "petmodels: prepared; trouble is told here from now on" in text


def test_preparing_begins_the_time_in_which_each_flow_is_to_run(stack: Stack) -> None:
    def awaited() -> set[str]:
        content = {"filter": {"event": {"name": ["petmodels.flow.awaited"]}}}
        return {
            one["resource"]["prefect.resource.id"] for one in Api(stack.api).post("/events/filter", **content)["events"]
        }

    wanted = {f"petmodels.flow.{name}" for name in SILENCES}
    wait(lambda: awaited() == wanted, 60, f"events of {wanted}", why=lambda: str(awaited()))


def test_an_automation_that_a_person_has_disabled_stays_so_and_is_only_updated_when_it_changes(stack: Stack) -> None:
    api, name = Api(stack.api), "petmodels: end runs that never begin"

    def found() -> dict[str, Any]:
        return next(one for one in api.post("/automations/filter") if one["name"] == name)

    api.patch(f"/automations/{found()['id']}", enabled=False)

    prepare(stack, "--zombie-seconds", "1800")
    changed = found()
    prepare(stack, "--zombie-seconds", "1800")

    assert (changed["trigger"]["within"], changed["enabled"]) == (1800, False)
    assert found() == changed


def test_without_a_webhook_and_without_old_automations_nobody_is_told(stack: Stack) -> None:
    api = Api(stack.api)
    for automation in api.post("/automations/filter"):
        if automation["name"] in TELLING.split(", "):
            api.patch(f"/automations/{automation['id']}", enabled=False)

    assert prepare(stack) == (0, ["prepare: PETMODELS_NOTIFY is unset, so nobody is told of failed runs"])
