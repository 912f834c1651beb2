"""The whole stack ended by Ctrl-C and by a power cut amid a training, and begun again by the same command.

Nothing is put right by hand: the dead runs are ended by the automation, after the time that the project has set for it.
Then Prefect's database, the DVC remote and the drop are lost, and brought back from their backups.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import pytest

from flows.object_store import BUCKET, free_port, weed
from flows.prefect_settings import DATABASE, ZOMBIE_SECONDS
from flows.services import marked
from flows.stack import Options
from flows.stack_plan import planned
from petmodels.storage import open_storage
from tests.flows.interruptions import assert_goes_on, in_the_middle
from tests.flows.operator import Operator
from tests.flows.projects import Project
from tests.flows.stacks import give_tables

ROOT = Path(__file__).parents[2]
SERVICES_SECONDS = 90  # the automation looks at what is overdue, and the server may have it wait for the next look

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(weed() is None, reason="no S3 server on this platform"),
    pytest.mark.skipif(DATABASE in os.environ, reason="the database that is saved and lost is SQLite's"),
]


@pytest.fixture
def operator(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, toy: Project, monkeypatch: pytest.MonkeyPatch
) -> Operator:
    """A person beside a stack that somebody else starts and ends."""
    options = Options(checkout=ROOT, port=free_port(), s3_port=free_port(), git=str(toy.remote))
    stack = planned(tmp_path / "stack", options)
    give_tables(tmp_path_factory, stack.folder)
    for name, value in stack.store.environment().items():
        monkeypatch.setenv(name, value)
    return Operator(stack, toy)


@contextmanager
def terminal(operator: Operator) -> Iterator["subprocess.Popen[str]"]:
    """Run `make stack` without make; by the end of the block somebody must have ended it."""
    ports = (operator.stack.address, "--port"), (operator.stack.store.endpoint, "--s3-port")
    flags = [word for address, flag in ports for word in (flag, address.rpartition(":")[2])]
    command = [sys.executable, "-m", "flows.stack", "--folder", str(operator.stack.folder), *flags]
    proxy = "http://127.0.0.1:9"  # nobody is there; it isn't to be asked for this machine
    environment = os.environ | {"PETMODELS_GIT": str(operator.project.remote), "http_proxy": proxy}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        try:
            assert any("Ctrl-C here ends everything" in line for line in started.stdout), started.wait(90)
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGINT)
        started.wait(90)


def cut_the_power(operator: Operator, terminal: "subprocess.Popen[str]") -> None:
    """Kill -9 every process of the stack at once, the one in the terminal first."""
    terminal.kill()
    while left := marked(str(operator.stack.folder)):
        for process_id in left:
            try:
                os.kill(process_id, signal.SIGKILL)
            except ProcessLookupError:
                continue


def test_a_stack_goes_on_after_ctrl_c_after_a_power_cut_and_from_its_backups(operator: Operator) -> None:
    with terminal(operator) as first:
        ended, *runs_of_ended = in_the_middle(operator, "ended", seed=21)
        first.send_signal(signal.SIGINT)
        assert first.wait(90) == 0
    assert marked(str(operator.stack.folder)) == []

    with terminal(operator) as second:
        states = [operator.ended(run, seconds=30)["state"]["type"] for run in reversed(runs_of_ended)]
        assert states[0] == "CRASHED"
        assert_goes_on(operator, "ended", ended, after=runs_of_ended[1])

        cut, *runs_of_cut = in_the_middle(operator, "cut", seed=22)
        cut_the_power(operator, second)

    with terminal(operator) as third:
        # It waits until the dead one's slot is free, which nobody frees by hand.
        waiting = operator.start("retrain/weekly", model="cut", revision=cut)
        seconds = ZOMBIE_SECONDS + SERVICES_SECONDS
        states = [operator.ended(run, seconds)["state"]["name"] for run in runs_of_cut]
        assert states == ["Crashed", "Crashed"]
        assert_goes_on(operator, "cut", cut, after=runs_of_cut[1], run=waiting)

        for model in ("ended", "cut"):
            assert operator.registry.verify_all(model).findings == ()
            assert operator.registry.versions(model) == [1]
            assert [step.version for step in operator.registry.aliases(model)[0].steps] == [1]
        assert operator.retrain("ended", ended).startswith("nothing to do: ended@1 is what ")
        remembered = ended_well(operator)
        drop = open_storage(operator.stack.variables["PETMODELS_DROP"])
        drop.create("accepted/a.jpg", b"a cat")
        backup = backed_up(operator)
        lose(operator, third)

    with terminal(operator) as fourth:
        restore(operator, backup)
        assert ended_well(operator) == remembered != set()
        assert b"".join(drop.download("accepted/a.jpg", 0, 5)) == b"a cat"
        assert operator.retrain("restored", ended).startswith("production names restored@1 because ")
        happened = {row["stage"]: row["what happened"] for row in operator.table("restored-stages")}
        assert list(happened) == ["download", "prepare", "split", "train", "evaluate", "export"]
        assert not [what for what in happened.values() if what.startswith("ran")]
        fourth.send_signal(signal.SIGINT)
        assert fourth.wait(90) == 0


def ended_well(operator: Operator) -> set[str]:
    """Return the ids of the runs that have completed; those that only wait for their time are made anew by a start."""
    return {run["id"] for run in operator.api.runs(state={"type": {"any_": ["COMPLETED"]}})}


def backed_up(operator: Operator) -> dict[str, bytes]:
    """Save what docs/operations.md says of the running server's database, the DVC remote and the drop."""
    bucket, database = boto3.resource("s3").Bucket(BUCKET), operator.stack.folder / "prefect/prefect.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(operator.stack.folder / "copy")) as copy:
        source.backup(copy)
    found = [*bucket.objects.filter(Prefix="dvc/"), *bucket.objects.filter(Prefix="drop/")]
    return {one.key: one.get()["Body"].read() for one in found}


def lose(operator: Operator, terminal: "subprocess.Popen[str]") -> None:
    """Lose all three, and each machine's workspaces, and put the database's copy in its place."""
    bucket = boto3.resource("s3").Bucket(BUCKET)
    for prefix in ("dvc/", "drop/"):
        bucket.objects.filter(Prefix=prefix).delete()
    assert {one.key.partition("/")[0] for one in bucket.objects.all()} == {"registry"}
    terminal.send_signal(signal.SIGINT)
    assert terminal.wait(90) == 0
    shutil.rmtree(operator.stack.folder / "workspaces")
    for path in (operator.stack.folder / "prefect").glob("prefect.db*"):
        path.unlink()
    (operator.stack.folder / "copy").replace(operator.stack.folder / "prefect/prefect.db")


def restore(operator: Operator, backup: dict[str, bytes]) -> None:
    """Bring the objects back."""
    for key, data in backup.items():
        boto3.resource("s3").Bucket(BUCKET).put_object(Key=key, Body=data)
