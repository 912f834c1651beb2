"""A small project in a git remote and a DVC remote, a registry with a version of it, and a drop. Knows no pytest."""

import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.drop import Drop
from flows.ingest import IngestParams, Taken, take_in
from flows.params import section
from flows.settings import Settings
from flows.since import newest_version, versions_from
from flows.workspace import workspace
from petmodels.publish import Origin
from petmodels.registry import Registry
from petmodels.storage import Storage, open_storage
from tests.petmodels.bundles import write_files
from tests.pictures import content, pet, write_source
from tests.stages.settings import NO_CORRECTIONS, params_yaml

ROOT = Path(__file__).parents[3]
INGEST: dict[str, Any] = {
    "min_images_to_retrain": 2, "new_labels": False, "max_files_per_run": 100, "max_bytes": 100_000,
    "min_age_seconds": 0.0,
}  # fmt: skip
DVC_YAML = """
stages:
  prepare:
    cmd: python -m stages.prepare --raw data/raw --out data/prepared
    deps: [data/raw]
    outs: [data/prepared]
"""


def make_project(folder: Path) -> None:
    """Leave `<folder>/git`, a bare repository, `<folder>/dvc`, a DVC remote, and `<folder>/dvc.lock` after prepare."""
    project = folder / "project"
    shutil.copytree(ROOT / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "dvc.yaml").write_text(DVC_YAML)
    (project / "params.yaml").write_text(params_yaml() + yaml.safe_dump({"ingest": INGEST}))
    (project / ".gitignore").write_text("__pycache__/\nbuild/\n")
    write_source(project / "data/raw/source", num_images=3)
    (project / "data/.gitignore").write_text("/raw\n/prepared\n")
    (project / "data/arrivals.csv").write_text("address,sha256,label,arrived\n")
    (project / "data/corrections.csv").write_text(NO_CORRECTIONS)
    for command in (
        "git init --quiet --initial-branch main", "dvc init --quiet", "dvc config core.analytics false",
        "git add --all", "git commit --quiet --message project",
        f"dvc remote add --local --default it {folder / 'dvc'}",
        "dvc repro --quiet", "dvc push --quiet", f"git clone --quiet --bare . {folder / 'git'}",
    ):  # fmt: skip
        in_folder(project, *command.split())
    shutil.copy(project / "dvc.lock", folder / "dvc.lock")


def in_folder(folder: Path, *command: str) -> str:
    """Run a program with this interpreter's folder first on the path; return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        command, cwd=folder, env=os.environ | names | {"PATH": path}, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def in_remote(remote: Path, data: bytes, suffix: str = "") -> str:
    """Put an object into a DVC remote; return its name, the MD5 of its bytes and the suffix."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    path = remote / "files/md5" / md5[:2] / f"{md5[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"{md5}{suffix}"


@dataclass(frozen=True)
class Place:
    """Everything that one test's ingest reads and changes."""

    folder: Path
    settings: Settings

    @classmethod
    def made(cls, project: Path, folder: Path, drop: str = "") -> "Place":
        """Return a place with its own git remote, and an empty registry and drop."""
        shutil.copytree(project / "git", folder / "git")
        (folder / "drop").mkdir()
        names = {"registry": str(folder / "registry"), "git": str(folder / "git"), "dvc_remote": str(project / "dvc")}
        return cls(folder, Settings(**names, workspaces=folder / "work", drop=drop or str(folder / "drop")))

    @property
    def drop(self) -> Storage:
        return open_storage(self.settings.drop)

    def publish(self, lock: Path, commit: str = "") -> None:
        """Publish a version that was made from the project's images, at the branch's commit unless one is given."""
        commit = commit or in_folder(self.folder / "git", "git", "rev-parse", "main").strip()
        bundle = write_files(self.folder / "bundle", {"a": commit.encode()})
        origin = Origin(git_commit=commit, dvc_lock=lock.read_text(encoding="utf-8"))
        Registry(self.settings.registry, cache=self.folder / "cache").publish(bundle, "pets", origin)

    def put(self, key: str, data: bytes | None = None, *, variant: int = 50) -> bytes:
        """Drop a file: a new picture, unless there are bytes for it."""
        data = content(pet(0, variant), quality=95) if data is None else data
        assert self.drop.create(key, data)
        return data

    def arrivals(self) -> list[dict[str, str]]:
        """Return the rows of the branch's list."""
        text = in_folder(self.folder / "git", "git", "show", "main:data/arrivals.csv")
        return list(csv.DictReader(io.StringIO(text)))

    def commits(self) -> list[str]:
        """Return the commits of every branch, newest first."""
        return in_folder(self.folder / "git", "git", "rev-list", "--all").split()

    def kept(self) -> dict[str, bytes]:
        """Return all that lies in a drop in a folder, by key."""
        root = self.folder / "drop"
        files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

    def change_params(self, **changes: Any) -> None:
        """Commit other values of the section `ingest` to the branch."""
        clone = self._clone()
        params = yaml.safe_load((clone / "params.yaml").read_text())
        params["ingest"] |= changes
        (clone / "params.yaml").write_text(yaml.safe_dump(params))
        self._push(clone)

    def list_row(self, row: str, listing: str = "arrivals") -> None:
        """Have somebody else add a row to a list on the branch."""
        clone = self._clone()
        with (clone / f"data/{listing}.csv").open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(row + "\n")
        self._push(clone)

    def replace_files(self, changes: Mapping[str, Callable[[str], str]], *, without: str) -> None:
        """Commit other texts of files to the branch, and take one file away."""
        clone = self._clone()
        for name, change in changes.items():
            (clone / name).write_text(change((clone / name).read_text()))
        (clone / without).unlink()
        self._push(clone)

    def ingest(self, tell: Any = lambda _text: None, announce: Any = lambda _before, _num: None) -> Taken:
        """Take in once, as the flow does."""
        versions = versions_from(self.settings.registry, newest_version(self.settings.registry, "pets"))
        with workspace(self.settings, "ingest", "main", tell) as space:
            params = section(space.folder / "params.yaml", "ingest", IngestParams)
            drop = Drop(self.settings.drop)
            return take_in(space, drop, params, branch="main", versions=versions, announce=announce, tell=tell)

    def _clone(self) -> Path:
        clone = self.folder / "other"
        shutil.rmtree(clone, ignore_errors=True)
        in_folder(self.folder, "git", "clone", "--quiet", self.settings.git, str(clone))
        return clone

    def _push(self, clone: Path) -> None:
        in_folder(clone, "git", "commit", "--quiet", "--all", "--message", "somebody else's")
        in_folder(clone, "git", "push", "--quiet", "origin", "main")
