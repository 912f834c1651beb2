"""What the flows cost over what they start: a retrain with nothing to do against `dvc status` and an empty flow on the
same Prefect server, and a whole retrain, with its training on another worker, against `dvc repro` in one clone. The
project is the tests' toy, whose stages take no time, so that the difference is the flows' own. A whole retrain is timed
from the request for it, a worker's seeing and beginning it included; the one with nothing to do, as a process begun by
hand, beside others that are. The last row is a retrain where the DVC remote knows a thousand stages that ran.
"""

import hashlib
import os
import statistics
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import boto3

from flows.object_store import BUCKET
from flows.stack import Options, running_stack
from tests.benchmarks.measure import Contender, Row, in_turns, run, samples_text
from tests.flows.operator import Operator
from tests.flows.projects import toy_project

TITLE = "Flows"
ROOT = Path(__file__).parents[2]
_EMPTY = "from prefect import flow\n@flow\ndef empty() -> None:\n    pass\nempty()"
_RETRAIN = "import sys; from flows.retrain import retrain; retrain(sys.argv[1], sys.argv[2])"
_MOST_SECONDS, _MOST_TIMES = 20.0, 3.0
_RUNS = 1000


def rows(folder: Path, repeats: int) -> list[Row]:
    """Run a stack and time retrains on it."""
    toy = toy_project(folder / "toy")
    with running_stack(folder / "stack", Options(checkout=ROOT, git=str(toy.remote))) as stack:
        operator = Operator(stack, toy)
        workspaces = stack.folder / "workspaces/bench"
        variables = stack.variables | {"PETMODELS_WORKSPACES": str(workspaces), "PYTHONPATH": str(ROOT)}
        os.environ.update(stack.store.environment())
        operator.run("retrain/weekly", model="idle")
        _flow(variables, "idle", "main")  # its own workspace, filled once
        clone = workspaces / "retrain"
        idle = in_turns(
            {
                "retrain": Contender(lambda: _flow(variables, "idle", "main")),
                "empty": Contender(lambda: run([sys.executable, "-c", _EMPTY], environment=variables)),
                "status": Contender(lambda: _dvc(variables, clone, "status")),
            },
            repeats,
        )
        contenders = _whole(operator, variables, folder)
        whole = in_turns(contenders, repeats)
        _remember_runs()
        late = in_turns({"retrain": contenders["retrain"]}, repeats)
    return [*_idle_rows(idle), *_whole_rows(whole), _late_row(late["retrain"], whole["retrain"])]


def _remember_runs() -> None:
    """Give the DVC remote's run-cache entries of stages that ran long ago: copies of one, with names of their own."""
    bucket = boto3.resource("s3").Bucket(BUCKET)
    entry = next(one for one in bucket.objects.all() if "/runs/" in one.key)
    root, text = entry.key.partition("/runs/")[0], entry.get()["Body"].read()

    def remember(number: int) -> None:
        name = hashlib.sha256(str(number).encode()).hexdigest()
        bucket.put_object(Key=f"{root}/runs/{name[:2]}/{name}/{name}", Body=text)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remember, range(_RUNS)))


def _whole(operator: Operator, variables: Mapping[str, str], folder: Path) -> dict[str, Contender]:
    """Return a retrain and a reproduction, each on a branch that nobody has computed before."""
    seeds, plain = count(100), folder / "plain"
    run(["git", "clone", "--quiet", operator.project.remote, plain])

    def new_branch() -> str:
        seed = next(seeds)
        return operator.branch(f"bench-{seed}", split={"seed": seed})

    def check_out() -> None:
        branch = new_branch()
        run(["git", "fetch", "--quiet", "origin", branch], cwd=plain)
        run(["git", "checkout", "--quiet", "--force", "FETCH_HEAD"], cwd=plain)

    branches: list[str] = []

    def ask_for() -> None:
        ended = operator.run("retrain/weekly", model=branches[-1], revision=branches[-1])
        assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]

    def begin_by_hand() -> None:
        _flow(variables, branches[-1], branches[-1])

    return {
        "retrain": Contender(ask_for, lambda: branches.append(new_branch())),
        "by hand": Contender(begin_by_hand, lambda: branches.append(new_branch())),
        "repro": Contender(lambda: _dvc(variables, plain, "repro"), check_out),
    }


def _flow(variables: Mapping[str, str], model: str, revision: str) -> None:
    run([sys.executable, "-c", _RETRAIN, model, revision], environment=variables)


def _dvc(variables: Mapping[str, str], folder: Path, command: str) -> None:
    run([sys.executable, "-m", "dvc", command], environment=variables, cwd=folder)


def _idle_rows(samples: Mapping[str, list[float]]) -> list[Row]:
    medians = {name: statistics.median(found) for name, found in samples.items()}
    limit = _MOST_TIMES * medians["status"] + medians["empty"]
    figure = samples_text(samples["retrain"])
    target = f"≤ 3 × `dvc status` + the empty flow: {limit:.2f} s"
    return [
        Row(what="retrain with nothing to do", figure=figure, target=target, held=medians["retrain"] <= limit),
        Row(what="for comparison: an empty flow", figure=samples_text(samples["empty"])),
        Row(what="for comparison: `dvc status`", figure=samples_text(samples["status"])),
    ]


def _whole_rows(samples: Mapping[str, list[float]]) -> list[Row]:
    more = statistics.median(samples["retrain"]) - statistics.median(samples["repro"])
    figure = f"{samples_text(samples['retrain'])}, {more:.1f} s more than `dvc repro`"
    return [
        Row(what="a whole retrain, published", figure=figure, target="≤ 20 s more", held=more <= _MOST_SECONDS),
        Row(what="for comparison: the same, its process begun by hand", figure=samples_text(samples["by hand"])),
        Row(what="for comparison: `dvc repro`", figure=samples_text(samples["repro"])),
    ]


def _late_row(late: list[float], early: list[float]) -> Row:
    times = statistics.median(late) / statistics.median(early)
    figure = f"{samples_text(late)}, {times:.2f} × the one without them"
    return Row(what=f"a whole retrain after {_RUNS:,} stages that ran", figure=figure)
