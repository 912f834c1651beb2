"""The flow `train`: the one stage that wants an accelerator, on the machine that has it.

Reads the git remote, the DVC remote and two small texts, its parameters; leaves the stage's outputs in the DVC remote
and its dvc.lock as an artifact of the run. The two machines share nothing else.
"""

from uuid import UUID

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows import graph, pipeline
from flows.checkpoints import carried, training_id
from flows.dvc_lock import take_lock
from flows.errors import RemoteError
from flows.outcome import settled, tell
from flows.settings import Settings
from flows.workspace import workspace

LOCK_KEY = "dvc-lock"
STAGE = "train"
_SLOTS = 16  # trainings at once on one machine, each in a folder of its own; the pool's limit says how many


@flow(name="train", flow_run_name="train {revision:.7}")
@settled
def train(revision: str, dvc_lock: str, params: str) -> str:
    """Reproduce the stage `train` at a revision, given the lock and the params of the stages before it."""
    settings = Settings.from_environment()
    with workspace(settings, "train", revision, tell, slots=_SLOTS, with_dvc=True) as w:
        take_lock(w, dvc_lock)
        w.set_text(pipeline.PARAMS, params)
        inputs, made = graph.inputs_of(w.text(pipeline.STAGES), STAGE), pipeline.outputs_of(dvc_lock)
        told = pipeline.values_of(params, pipeline.PARAMS).get(STAGE)
        name = training_id(told, *(str(made.get(path)) for path in inputs))
        with carried(settings.checkpoints, name, w):
            # The inputs first: DVC reproduces a single stage on what lies in the workspace, be it of another lock.
            first = f"pull --force {' '.join(inputs)}"
            steps = pipeline.steps_in(w.dvc(first, f"repro --pull --single-item {STAGE}", f"push --run-cache {STAGE}"))
        lock = w.text(pipeline.LOCK)
    create_markdown_artifact(f"```yaml\n{lock}\n```", key=LOCK_KEY, description="dvc.lock after the stage train")
    what = next((step.what for step in steps if step.stage == STAGE), "unchanged")
    return f"train: {what}"


def lock_of(flow_run_id: UUID) -> str:
    """Return the dvc.lock that a run of `train` left; RemoteError when there is none."""
    from prefect.client.orchestration import get_client

    # By hand: the client's own method sends nulls for what isn't filtered by, which the server refuses.
    wanted = {"key": {"any_": [LOCK_KEY]}, "flow_run_id": {"any_": [str(flow_run_id)]}}
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json={"artifacts": wanted, "limit": 1}).json()
    text = str(found[0]["data"]) if found else ""
    if not text.startswith("```yaml\n"):
        raise RemoteError(f"the training ended without a dvc.lock; look at its run: {flow_run_id}")
    return text.removeprefix("```yaml\n").removesuffix("\n```")
