"""What docs/operations.md says is what the code does, as far as words can be compared with it.

Its units, compose file, manifests, job templates and lines for nginx are read by the programs that they are for, where
those are installed: `systemd-analyze`, `docker compose`, `nginx`, `pip install prefect-kubernetes kubernetes-validate`.
"""

import asyncio
import copy
import importlib
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.cli.automation import automation_app
from prefect.cli.deployment import deployment_app
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import SignatureMismatchError
from prefect.settings import PREFECT_API_URL, Settings, temporary_settings
from prefect.utilities.callables import parameters_to_args_kwargs
from ruamel.yaml import YAML

from flows.prefect_settings import SERVER, SILENCES, WORKER, ZOMBIE_SECONDS
from flows.retrain import retrain

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")


def block(first_line: str) -> str:
    return OPERATIONS.split(f"# {first_line}\n", maxsplit=1)[1].split("```", maxsplit=1)[0]


@pytest.mark.parametrize(("file", "settings"), [("/etc/petmodels/server", SERVER), ("/etc/petmodels/worker", WORKER)])
def test_the_environment_files_hold_the_settings_of_the_stack(file: str, settings: dict[str, str]) -> None:
    assert block(file).split() == [f"{name}={value}" for name, value in settings.items()]


SEVERAL = "/etc/petmodels/server of each of several"


def test_the_settings_of_several_servers_are_ones_that_prefect_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(line.split("=") for line in block(SEVERAL).split())
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    server = Settings().server
    events = server.events.messaging_broker, server.events.messaging_cache, server.events.causal_ordering
    read = server.concurrency.lease_storage, *events, server.docket.url

    assert list(map(str, read)) == [value for name, value in values.items() if name.startswith("PREFECT_SERVER_")]
    assert set(SERVER) & set(values) == {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"}


def test_the_settings_of_several_servers_are_ones_that_prefect_redis_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = pytest.importorskip("prefect_redis.client").RedisMessagingSettings
    values = dict(line.split("=") for line in block(SEVERAL).split())
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    read = settings()

    assert [read.host, str(read.port)] == [value for name, value in values.items() if name.startswith("PREFECT_REDIS_")]
    for module in {value for value in values.values() if value.startswith("prefect_redis.")}:
        importlib.import_module(module)


def test_the_time_after_which_a_run_is_dead_is_the_one_in_the_text() -> None:
    assert f"({ZOMBIE_SECONDS} seconds, and some more on a busy server)" in OPERATIONS


def test_the_vacuum_settings_are_ones_that_prefect_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = (line for line in OPERATIONS.splitlines() if line.startswith("| Prefect's database grows"))
    names, values = re.findall(r"`(PREFECT_\w+)`", row), re.findall(r"`([a-z_,0-9]+)`", row)
    vacuum = Settings().server.services.db_vacuum
    assert (vacuum.enabled, vacuum.retention_period) == ({"events"}, timedelta(days=90))

    for name, value in zip(names, values, strict=True):
        monkeypatch.setenv(name, value)

    vacuum = Settings().server.services.db_vacuum
    assert (vacuum.enabled, vacuum.retention_period) == ({"events", "flow_runs"}, timedelta(days=365))


def test_a_misspelt_parameter_has_a_row() -> None:
    """Prefect's server takes one into a deployment, and the run ends before the flow could say anything."""
    with pytest.raises(SignatureMismatchError, match=r"\['modle'\]"):
        parameters_to_args_kwargs(retrain.fn, {"modle": "base"})

    (row,) = (line for line in OPERATIONS.splitlines() if line.startswith("| a run is Crashed: `Process exited with"))
    assert "SignatureMismatchError" in row


def test_a_schedule_and_its_message_are_paused_and_resumed_by_commands_that_prefect_has() -> None:
    page = OPERATIONS.partition("## Who watches the watcher")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```\n(prefect .*?)```", page, re.DOTALL)
    typed = [shlex.split(line.replace(" ID", f" {uuid.uuid4()}"))[1:] for line in block.splitlines()]

    for program, *words in typed:
        known = {"automation": automation_app, "deployment": deployment_app}[program]
        known.parse_args(words, exit_on_error=False, print_error=False)  # raises for what it doesn't know

    deployments = YAML(typ="safe").load(Path(__file__).parents[2] / "prefect.yaml")["deployments"]
    (ingest,) = (one for one in deployments if one["entrypoint"].endswith(":ingest"))
    assert {words[3] for words in typed if words[0] == "deployment"} == {f"ingest/{ingest['name']}"}
    assert {words[2] for words in typed if words[0] == "automation"} == {"petmodels: tell of silence of ingest"}
    assert "ingest" in SILENCES


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", OPERATIONS, re.DOTALL)


def documents() -> list[list[dict[str, Any]]]:
    """Return what the blocks hold: the compose file, the manifests, the pod of gpu, how that of cpu differs."""
    return [list(YAML(typ="safe").load_all(text)) for text in fenced("yaml")]


def test_the_yaml_is_yaml() -> None:
    assert [{type(one) for one in held} for held in documents()] == [{dict}] * 4


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods' specifications by pool, that of cpu made as the text says."""
    _, _, (gpu,), (other,) = documents()
    cpu = copy.deepcopy(gpu)
    del cpu["nodeSelector"], cpu["tolerations"]
    (container,) = cpu["containers"]
    container["resources"] = other["resources"]
    container["volumeMounts"] += other["volumeMounts"]
    cpu["volumes"] += other["volumes"]
    for volume in cpu["volumes"]:
        if volume["name"] == "workspaces":
            volume["persistentVolumeClaim"]["claimName"] = "petmodels-workspaces-cpu"
        if volume["name"] == "ssh":
            volume["secret"]["secretName"] = "petmodels-ssh-cpu"
    return {"cpu": cpu, "gpu": gpu}


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_what_a_pod_mounts_is_made_by_what_stands_above_it(pool: str) -> None:
    _, manifests, *_ = documents()
    claims = {one["metadata"]["name"] for one in manifests if one["kind"] == "PersistentVolumeClaim"}
    secrets = set(re.findall(r"create secret generic (\S+)", OPERATIONS))
    pod = pods()[pool]
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}

    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert {
        one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one
    } <= claims
    assert {one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one} <= secrets
    assert {oct(one["secret"]["defaultMode"]) for one in pod["volumes"] if "secret" in one} == {"0o400"}
    assert container["envFrom"][0]["secretRef"]["name"] in secrets


def test_the_manifests_are_ones() -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    _, manifests, *_ = documents()

    for manifest in manifests:
        validate(manifest, "1.31", strict=True)
    with pytest.raises(Exception, match="verb"):
        validate({**manifests[2], "rules": [{"verb": ["get"]}]}, "1.31", strict=True)


def test_the_variables_of_the_kubernetes_worker_are_ones_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = pytest.importorskip("prefect_kubernetes.settings")
    _, manifests, *_ = documents()
    (container,) = manifests[-1]["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])

    read = settings.KubernetesSettings()

    assert read.observer.namespaces == {"petmodels"}
    found = read.worker.api_auth_string_secret_name, read.worker.api_auth_string_secret_key
    assert found == ("petmodels-worker", "PREFECT_API_AUTH_STRING")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx on this machine")
@pytest.mark.parametrize("servers", ["one", "several"])
def test_nginx_has_nothing_to_say_against_its_lines(servers: str, tmp_path: Path) -> None:
    (lines,) = fenced("nginx")
    if servers == "several":
        upstream, passing = re.findall(r"`(upstream prefect .*?|proxy_pass http://prefect;)`", OPERATIONS)
        lines = f"{upstream}\n" + lines.replace("proxy_pass http://127.0.0.1:4200;", passing)
        assert passing in lines
    without_key = "\n".join(line for line in lines.replace("443 ssl", "443").splitlines() if "ssl_" not in line)
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{without_key}\n}}\n")

    said = subprocess.run(
        ["nginx", "-t", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    units = []
    for text in fenced("ini"):
        name = text.split(":")[0].split()[1].rpartition("/")[2].replace("@.", "@cpu.")
        units.append(tmp_path / name)
        units[-1].write_text(text.replace("/opt/petmodels/.venv/bin", str(Path(sys.executable).parent)))

    wrong = tmp_path / "wrong.service"
    wrong.write_text(units[0].read_text().replace("Restart=", "Restrat="))

    said = subprocess.run(["systemd-analyze", "verify", *units, wrong], stderr=subprocess.PIPE, text=True, check=False)

    assert [unit.name for unit in units] == ["prefect-server.service", "petmodels-worker@cpu.service"]
    assert "Restrat" in said.stderr
    assert [line for line in said.stderr.splitlines() if any(unit.name in line for unit in units)] == []


def compose() -> list[str]:
    """Return the command that reads compose files on this machine; skips the test where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            answered = subprocess.run([*command, "version"], capture_output=True, check=False)
            if answered.returncode == 0:
                return command
    pytest.skip("no docker compose on this machine")


@pytest.mark.slow
def test_the_compose_file_is_one_and_the_pools_share_no_folder(tmp_path: Path) -> None:
    command = compose()
    (tmp_path / "compose.yaml").write_text(fenced("yaml")[0])
    for name in ("server.env", "worker.env", "postgres.password", "signing.key"):
        (tmp_path / name).touch()

    said = subprocess.run([*command, "config"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    services = YAML(typ="safe").load(said.stdout)["services"]
    volumes = {name: services[name]["volumes"] for name in ("cpu", "gpu")}
    sources = {name: [Path(_source(volume)).name for volume in volumes[name]] for name in volumes}
    assert sources == {"cpu": ["cpu", "ssh-cpu"], "gpu": ["gpu", "ssh-gpu"]}


def _source(volume: "str | dict[str, str]") -> str:
    """Return where a volume is from, as the first or the second generation of compose says it."""
    return volume.split(":")[0] if isinstance(volume, str) else volume["source"]


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_the_job_of_a_kubernetes_pool_is_one_that_executes_a_run(pool: str) -> None:
    worker = pytest.importorskip("prefect_kubernetes.worker")
    validate = pytest.importorskip("kubernetes_validate").validate
    template = worker.KubernetesWorker.get_default_base_job_template()
    template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"] = pods()[pool]

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # asked for nothing, but wished for
        filled = worker.KubernetesWorkerJobConfiguration.from_template_and_values(template, {"env": {"ONE": "1"}})
        job = asyncio.run(filled)
        job.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="train"))

    (container,) = job.job_manifest["spec"]["template"]["spec"]["containers"]
    validate(job.job_manifest, "1.31")
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert {"name": "ONE", "value": "1"} in container["env"]
    assert {"name": "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR", "value": "reschedule"} in container["env"]
