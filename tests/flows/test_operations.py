"""What docs/operations.md says is what the code does, as far as words can be compared with it.

Its units, compose file and job template are read by the programs they are for, where those are installed:
`systemd-analyze`, `docker compose`, and `pip install prefect-kubernetes kubernetes-validate`.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from flows.prefect_settings import SERVER, WORKER, ZOMBIE_SECONDS

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")


def block(first_line: str) -> str:
    return OPERATIONS.split(f"# {first_line}\n", maxsplit=1)[1].split("```", maxsplit=1)[0]


@pytest.mark.parametrize(("file", "settings"), [("/etc/petmodels/server", SERVER), ("/etc/petmodels/worker", WORKER)])
def test_the_environment_files_hold_the_settings_of_the_stack(file: str, settings: dict[str, str]) -> None:
    assert block(file).split() == [f"{name}={value}" for name, value in settings.items()]


def test_the_time_after_which_a_run_is_dead_is_the_one_in_the_text() -> None:
    assert f"({ZOMBIE_SECONDS} seconds, and some more on a busy server)" in OPERATIONS


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", OPERATIONS, re.DOTALL)


def test_the_yaml_is_yaml() -> None:
    assert [type(YAML(typ="safe").load(text)) for text in fenced("yaml")] == [dict, dict]


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


def test_the_compose_file_is_one_and_the_pools_share_no_folder(tmp_path: Path) -> None:
    command = compose()
    (tmp_path / "compose.yaml").write_text(fenced("yaml")[0])
    for name in ("server.env", "worker.env", "postgres.password"):
        (tmp_path / name).touch()

    said = subprocess.run([*command, "config"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    services = YAML(typ="safe").load(said.stdout)["services"]
    volumes = {name: services[name]["volumes"] for name in ("cpu", "gpu")}
    sources = {name: [_source(volume) for volume in volumes[name]] for name in volumes}
    assert sources == {"cpu": ["cpu"], "gpu": ["gpu"]}


def _source(volume: "str | dict[str, str]") -> str:
    """Return where a volume is from, as the first or the second generation of compose says it."""
    return volume.split(":")[0] if isinstance(volume, str) else volume["source"]


def test_the_job_of_the_kubernetes_pool_is_one_that_executes_a_run() -> None:
    worker = pytest.importorskip("prefect_kubernetes.worker")
    validate = pytest.importorskip("kubernetes_validate").validate
    template = worker.KubernetesWorker.get_default_base_job_template()
    template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"] = YAML(typ="safe").load(fenced("yaml")[1])

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # asked for nothing, but wished for
        filled = worker.KubernetesWorkerJobConfiguration.from_template_and_values(template, {"env": {"ONE": "1"}})
        job = asyncio.run(filled)
        job.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="train"))

    (container,) = job.job_manifest["spec"]["template"]["spec"]["containers"]
    validate(job.job_manifest, "1.31")
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert {"name": "ONE", "value": "1"} in container["env"]
