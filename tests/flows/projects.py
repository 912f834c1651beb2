"""A project that retrains in seconds, in a bare git repository: real git, DVC, S3 and registry; a toy is learnt.

Nothing here knows pytest.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TOY = Path(__file__).with_name("toy.py")
GATE = {
    "max_p_value": 0.05,
    "min_images": 20,
    "max_label_fall": 0.9,
    "label_falls": {},
    "costs": {},
    "max_seconds_ratio": 50.0,
    "max_size_ratio": 2.0,
}
PARAMS: dict[str, dict[str, Any]] = {
    "download": {"seed": 0, "images": 60, "noise": 45.0},
    "prepare": {"min_side": 8},
    "split": {"seed": 0, "pollute": False},
    "train": {"epochs": 1, "epoch_seconds": 0.0, "image_size": 32, "images": 1000, "shuffle": False, "fail": False},
    "evaluate": {"seed": 0},
    "export": {"mean": None, "padding_bytes": 0},
    "gate": GATE,
}
INPUTS = {
    "download": [], "prepare": ["data/raw"], "split": ["data/prepared/index.csv"],
    "train": ["data/prepared", "data/split"], "evaluate": ["data/prepared", "data/split", "data/train"],
    "export": ["data/eval", "data/split", "data/train"],
}  # fmt: skip
OUTPUTS = {
    "download": "data/raw", "prepare": "data/prepared", "split": "data/split", "train": "data/train",
    "evaluate": "data/eval", "export": "data/bundle",
}  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A bare repository at `remote`, and a person's clone of it at `folder`."""

    remote: Path
    folder: Path

    def change(self, **sections: dict[str, Any]) -> str:
        """Change parameters on the branch main, push, and return the commit."""
        params = yaml.safe_load((self.folder / "params.yaml").read_text())
        for section, values in sections.items():
            params[section].update(values)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
        return self.push("change " + ", ".join(sections))

    def push(self, message: str) -> str:
        """Commit everything, push it to main, and return the commit."""
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--message", message)
        git(self.folder, "push", "--quiet", "origin", "HEAD:main")
        return git(self.folder, "rev-parse", "HEAD")


def toy_project(folder: Path, **sections: dict[str, Any]) -> Project:
    """Make the toy project below `folder`, with its parameters changed as told."""
    remote, clone = folder / "remote.git", folder / "clone"
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    git(folder, "clone", "--quiet", str(remote), str(clone))
    shutil.copyfile(TOY, clone / "toy.py")
    stages = {
        name: {"cmd": f"python toy.py {name}", "deps": ["toy.py", *INPUTS[name]], "params": [name],
               "outs": [OUTPUTS[name]]}
        for name in INPUTS
    }  # fmt: skip
    stages["export"]["params"] = list(INPUTS)  # the bundle holds them all
    (clone / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (clone / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (clone / ".dvc").mkdir()
    (clone / ".dvc/config").write_text("[core]\n    analytics = false\n    autostage = false\n")
    (clone / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (clone / ".gitignore").write_text("/data/\nbuild/\n__pycache__/\n")
    project = Project(remote, clone)
    project.push("the toy project")
    if sections:
        project.change(**sections)
    return project


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person called test."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout.strip()
