"""Show the whole loop in miniature: photographs are dropped, and a better model is in production with nobody looking.

Reads a project that has been reproduced. Leaves a stack's folder. Some photographs make the first model; others are
dropped where people drop theirs. Ingest takes them in, its event starts a retrain, the gate compares, the alias moves;
every step is printed.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect.client.orchestration import SyncPrefectClient
from ruamel.yaml import YAML

from flows.arrivals import CORRECTIONS
from flows.arrivals import PATH as ARRIVALS
from flows.environment import apart
from flows.errors import FlowError, StackError
from flows.photographs import Photograph, dealt, of_project, unpacked
from flows.stack import Options, Stack, running_stack
from petmodels.hashing import digest_of, no_progress
from petmodels.s3 import S3Storage
from petmodels.storage import open_storage

MODEL = "pets"
_MOST_SECONDS = 1200.0


def run_loop(
    project: Path, folder: Path, after: Sequence[Sequence[str]], program: Path, *, arrivals: Path | None = None
) -> None:
    """Run the loop in a stack in `folder`, which is made anew; then let the consumer's `program` do its commands.

    The images that come later are those of the archive or folder `arrivals`, else a share of the project's own. Raises
    FlowError where a step doesn't end as it should.
    """
    project, folder = project.resolve(), folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    first, later = dealt(project) if arrivals is None else (of_project(project), unpacked(arrivals, folder / "later"))
    remote = first_project(project, folder, first, len(later))
    with running_stack(folder / "stack", Options(git=str(remote))) as stack, SyncPrefectClient(stack.api) as client:
        os.environ.update(stack.store.environment())  # for the photographs that this process drops
        _say(f"a stack runs: Prefect at {stack.address}, S3 at {stack.store.endpoint}, two workers")
        _say(f"retrain on the first {len(first)} images")
        _say(_ended(client, _started(client, "retrain/weekly")))
        _drop(stack, later)
        _say(f"{len(later)} more images are dropped at {stack.variables['PETMODELS_DROP']}")
        since = time.time()
        _say(_ended(client, _started(client, "ingest/hourly")))
        _say("the images' arrival starts a retrain")
        _say(_ended(client, _triggered(client, "on-arrival", since)))
        for arguments in after:
            print(f"$ petmodels {' '.join(arguments)}", flush=True)
            subprocess.run([str(program), *arguments], env=_consumers(stack, folder), check=True)


def first_project(project: Path, folder: Path, photographs: Sequence[Photograph], num_later: int) -> Path:
    """Return a bare repository with the project as it is, but its source a folder of these images, and no arrivals.

    Nor corrections: the images are those that are left, with the labels that were found to be right.
    """
    source, clone, remote = folder / "source", folder / "clone", folder / "project.git"
    for photograph in photographs:
        target = source / photograph.label / photograph.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photograph.path, target)
    git(folder, "clone", "--quiet", "--origin", "origin", "--no-hardlinks", str(project), str(clone))
    _set_params(clone / "params.yaml", source, num_later)
    for listing in (clone / ARRIVALS, clone / CORRECTIONS):
        if listing.exists():
            header = listing.read_text(encoding="utf-8").partition("\n")[0]
            listing.write_text(f"{header}\n", encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message", "The first images")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    git(clone, "push", "--quiet", str(remote), "HEAD:refs/heads/main")
    return remote


def _set_params(path: Path, source: Path, num_later: int) -> None:
    yaml = YAML()
    yaml.width = 4096
    params = yaml.load(path)
    params["download"].update(source=str(source), checksum=None, size_bytes=None)
    params["prepare"].update(files="**/*.*", labels_from="folder")
    params["ingest"].update(min_images_to_retrain=num_later // 2, max_files_per_run=100_000, min_age_seconds=0)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def _drop(stack: Stack, photographs: Sequence[Photograph]) -> None:
    """Put the images where people drop theirs, in a folder a label."""
    drop = open_storage(stack.variables["PETMODELS_DROP"])
    assert isinstance(drop, S3Storage)
    for photograph in photographs:
        path = photograph.path
        drop.upload(f"{photograph.label}/{path.name}", path, digest_of(path), no_progress)


def _started(client: SyncPrefectClient, deployment: str) -> str:
    found = _api(client, f"/deployments/name/{deployment}")
    return str(_api(client, f"/deployments/{found['id']}/create_flow_run", {"idempotency_key": uuid4().hex})["id"])


def _triggered(client: SyncPrefectClient, deployment: str, since: float) -> str:
    """Return the run that an event has started at a deployment, as soon as there is one."""
    after = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    question = {
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"expected_start_time": {"after_": after}},
    }
    for _ in range(600):
        if found := _api(client, "/flow_runs/filter", question):
            return str(found[0]["id"])
        time.sleep(0.5)
    raise StackError(f"no run of {deployment} began within five minutes of the event")


def _ended(client: SyncPrefectClient, run: str) -> str:
    """Return the sentence of a run that completed; the stages' own lines are printed meanwhile."""
    began, shown = time.monotonic(), set[str]()
    while time.monotonic() - began < _MOST_SECONDS:
        state = _api(client, f"/flow_runs/{run}")["state"]
        # Lines come in no order: those of a task may overtake those of its flow.
        newest = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_DESC"}
        for line in reversed(_api(client, "/logs/filter", newest)):
            if line["id"] not in shown and line["message"].startswith(("Running stage", "Stage '")):
                print(f"  {line['message']}", file=sys.stderr, flush=True)
            shown.add(line["id"])
        if state["type"] == "COMPLETED":
            return str(state["message"])
        if state["type"] in {"FAILED", "CRASHED", "CANCELLED"}:
            raise FlowError(f"{state['name'].lower()}: {state['message']}")
        time.sleep(1)
    address = str(client.api_url).removesuffix("/api/")
    raise FlowError(f"a run did not end within {_MOST_SECONDS:.0f} seconds; look at {address}: {run}")


def _api(client: Any, path: str, content: Mapping[str, Any] | None = None) -> Any:
    """Ask the server by Prefect's own client, which asks again while the server is busy.

    It is opened once: that takes as long as ten questions.
    """
    return client.request("GET" if content is None else "POST", path, json=content).json()


def _consumers(stack: Stack, folder: Path) -> dict[str, str]:
    return stack.variables | {"PETMODELS_CACHE": str(folder / "consumer")}


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person called demo, apart from the habits of whoever runs this; return what it prints.

    Raises subprocess.CalledProcessError, which holds what git said.
    """
    command = ["git", "-c", "user.name=demo", "-c", "user.email=demo@localhost", *arguments]
    english = apart() | {"LC_ALL": "C"}
    return subprocess.run(command, cwd=folder, env=english, check=True, capture_output=True, text=True).stdout


def _say(sentence: str) -> None:
    print(f"demo: {sentence}", flush=True)
