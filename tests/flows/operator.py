"""What the tests of the flows do at a stack: start runs, wait for them, kill them, and look at what they left."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import yaml

from flows.object_store import BUCKET
from flows.services import marked
from flows.stack import Stack
from petmodels import Origin, Registry
from petmodels.hashing import sha256_of
from tests.flows.api import Api, wait
from tests.flows.projects import OUTPUTS, Project, git

_EVERY = 1.0  # second: each question costs the server 8 ms and more of a core that runs want


@dataclass(frozen=True)
class Operator:
    """A person at a running stack whose git remote is a toy project."""

    stack: Stack
    project: Project

    @property
    def api(self) -> Api:
        return Api(self.stack.api)

    @property
    def registry(self) -> Registry:
        return Registry(self.stack.variables["PETMODELS_REGISTRY"], cache=self.stack.folder / "operator")

    def branch(self, name: str, **sections: dict[str, Any]) -> str:
        """Make or move a branch that is main with other parameters; return its name."""
        folder = self.project.folder
        git(folder, "checkout", "--quiet", "-B", name, "main")
        params = yaml.safe_load((folder / "params.yaml").read_text())
        for section, values in sections.items():
            params[section].update(values)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        git(folder, "commit", "--quiet", "--all", "--allow-empty", "--message", name)
        git(folder, "push", "--quiet", "--force", "origin", name)
        git(folder, "checkout", "--quiet", "main")
        return name

    def start(self, deployment: str, **parameters: object) -> str:
        """Ask for a run now; return its id."""
        return self.api.run(deployment, **parameters)

    def run(self, deployment: str, seconds: float = 400, **parameters: object) -> dict[str, Any]:
        """Start a run and return it when it has ended."""
        return self.ended(self.start(deployment, **parameters), seconds)

    def retrain(self, model: str, revision: str = "main", **parameters: object) -> str:
        """Retrain, and return the sentence that the run ended with; it must have completed."""
        run = self.run("retrain/weekly", model=model, revision=revision, **parameters)
        assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
        return str(run["state"]["message"])

    def ended(self, run: str, seconds: float = 400) -> dict[str, Any]:
        """Return a run when it has ended, in whatever way."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait(lambda: self._run(run)["state"]["type"] in final, seconds, f"the run {run} has ended", every=_EVERY)
        return self._run(run)

    def seeded(self, model: str, like: str = "base", alias: str = "production") -> None:
        """Publish another model's production version again under a new name, as a retrain would have."""
        registry = self.registry
        old = registry.manifest(f"{like}@production")
        origin = Origin(message=old.message, git_commit=old.git_commit, dvc_lock=old.dvc_lock, params=old.params)
        new = registry.publish(registry.pull(old.name), model, origin).manifest
        registry.promote(new.name, alias)

    def moves(self, model: str) -> list[tuple[str, int]]:
        """Return the moves of a model's aliases that the server has heard of, oldest first: alias and version."""
        about = {"event": {"name": ["petmodels.alias.moved"]}, "resource": {"id": [f"petmodels.model.{model}"]}}
        found = self.api.post("/events/filter", filter=about | {"order": "ASC"})["events"]
        return [(event["payload"]["alias"], event["payload"]["version"]) for event in found]

    def plain(self, revision: str) -> dict[str, str]:
        """Return the bundle's files, by SHA-256, that the stages, one after the other, make of a revision in a clone.

        In one process and without DVC: an eighth of what `dvc repro` takes.
        """
        folder = self.stack.folder / f"plain-{revision}"
        git(self.stack.folder, "clone", "--quiet", "--branch", revision, str(self.project.remote), str(folder))
        subprocess.run([sys.executable, "toy.py", *OUTPUTS], cwd=folder, check=True)
        bundle = folder / "data/bundle"
        return {path.relative_to(bundle).as_posix(): sha256_of(path) for path in bundle.rglob("*") if path.is_file()}

    def files(self, model: str) -> dict[str, str]:
        """Return the files of a model's production version by SHA-256."""
        return {file.path: file.sha256 for file in self.registry.manifest(f"{model}@production").files}

    def logs(self, run: str) -> list[str]:
        """Return the lines that a run and its tasks have logged."""
        found = self.api.post("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC", limit=200)
        return [line["message"] for line in found]

    def kept_with(self, text: bytes) -> list[str]:
        """Return what holds `text`: the stack's files (database, logs, workspaces), and the objects of its bucket.

        The objects are asked for, because the store keeps them compressed; and its own identities hold the secret.
        """
        kept = [path for path in self.stack.folder.rglob("*") if path.is_file() and path.name != "identities.json"]
        objects = boto3.resource("s3").Bucket(BUCKET).objects.all()
        return [
            *(str(path) for path in kept if text in path.read_bytes()),
            *(one.key for one in objects if text in _unpacked(one.get()["Body"].read())),
        ]

    def waits_for_log(self, run: str, pattern: str, seconds: float = 400) -> None:
        """Wait until a run has logged a line that has this pattern."""

        def why() -> str:
            state = self._run(run)["state"]
            return f"it is {state['name']} since {state['timestamp']} and has said {self.logs(run)}"

        wait(
            lambda: any(re.search(pattern, line) for line in self.logs(run)),
            seconds,
            f"it has logged {pattern}",
            why=why,
            every=_EVERY,
        )

    def table(self, key: str) -> list[dict[str, Any]]:
        """Return the newest table artifact with this key."""
        found: dict[str, Any] = self.api.get(f"/artifacts/{key}/latest")
        rows: list[dict[str, Any]] = json.loads(found["data"])
        return rows

    def training_of(self, run: str, seconds: float = 400) -> str:
        """Return the id of the training that a retrain has started, when it runs."""
        found: list[str] = []

        def is_there() -> bool:
            children = self.api.post("/flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run]}})
            found[:] = [child["id"] for child in children if child["state"]["type"] == "RUNNING"]
            return bool(found)

        wait(is_there, seconds, f"the training of {run} runs", every=_EVERY)
        return found[0]

    def kill_processes_of(self, run: str, *, if_any: bool = False) -> None:
        """Kill -9 the process that runs a flow; what it has started is left to its own devices."""
        killed = 0
        for process_id in marked(str(self.stack.folder)):
            with suppress(psutil.Error):
                process = psutil.Process(process_id)
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run and "prefect" in " ".join(process.cmdline()):
                    os.kill(process_id, signal.SIGKILL)
                    killed += 1
        assert killed or if_any, f"no process runs {run}"

    def forget_workspace(self, worker: str) -> None:
        """Take a worker's disk away: its clones and its cache; what the dead have started must have ended."""
        folder = Path(self.stack.folder / "workspaces" / worker)
        for _ in range(100):
            if not self._users_of(folder):
                break
            time.sleep(0.2)
        shutil.rmtree(folder, ignore_errors=True)

    def _users_of(self, folder: Path) -> list[int]:
        found = []
        for process_id in marked(str(self.stack.folder)):
            with suppress(psutil.Error):
                if Path(psutil.Process(process_id).cwd()).is_relative_to(folder):
                    found.append(process_id)
        return found

    def _run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/flow_runs/{run}")
        return found


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
