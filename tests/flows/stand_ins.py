"""A checkout with the project's prefect.yaml and flows of a few lines: for tests of what stands around the flows."""

import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]

FLOWS = {
    "retrain": """
from prefect import flow
@flow(log_prints=True)
def retrain(model: str = "pets", revision: str = "main", alias: str = "production", overrides: dict[str, str] = {},
            train_on: str = "train/gpu", force: bool = False):
    print(f"retraining {model}")
""",
    "train": """
from prefect import flow
@flow
def train(revision: str = "", dvc_lock: str = "", params: str = ""):
    pass
""",
    "ingest": """
from prefect import flow
@flow
def ingest(model: str = "pets", branch: str = "main"):
    pass
""",
    "release": """
from typing import Literal
from prefect import flow
@flow
def release(model: str, action: Literal["promote", "rollback"], alias: str = "production", version: int | None = None,
            reason: str = ""):
    pass
""",
    "reproduce": """
from prefect import flow
@flow
def reproduce(version: str):
    pass
""",
    "audit": """
from prefect import flow
@flow
def audit(model: str | None = None):
    pass
""",
    "watch": """
from prefect import flow
@flow
def watch(model: str = "pets", alias: str = "production", branch: str = "main"):
    pass
""",
}


def checkout(folder: Path, more: dict[str, str] | None = None, *, real: bool = False) -> Path:
    """Make a checkout in `folder` whose flows are stand-ins, or the project's own; `more` holds further modules."""
    folder.mkdir(parents=True)
    shutil.copytree(PROJECT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(PROJECT / "prefect.yaml", folder)
    for name, text in {**FLOWS, **(more or {})}.items():
        path = folder / f"flows/{name}.py"
        if not (real and path.exists()):
            path.write_text(text, encoding="utf-8")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "--quiet", "-b", "main"], ["add", "--all"], ["commit", "--quiet", "--message", "Start"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder
