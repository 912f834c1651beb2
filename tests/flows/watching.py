"""What a watch needs: lists in a git remote, a drop, and a model that tells colours apart. Knows no pytest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.champion import champion_of
from flows.drop import Drop
from flows.params import section
from flows.settings import Settings
from flows.watch import WatchParams, look
from flows.watched import Watched
from flows.workspace import workspace
from petmodels import Origin, Registry
from petmodels.storage import open_storage
from tests.flows.projects import Project, git
from tests.petmodels.bundles import image_bytes, make_bundle
from tests.stages.settings import NO_CORRECTIONS

PARAMS = {"max_images": 100, "min_images": 4, "max_p_value": 0.01}
AS_TESTED = {label: {"num_images": 40, "num_right": 38} for label in ("red", "green", "blue")}


@dataclass(frozen=True)
class Watching:
    """A place with a version that is watched, and all that its watch reads."""

    project: Project
    settings: Settings

    @classmethod
    def made(cls, folder: Path, drop: str = "") -> "Watching":
        """Return a place where nothing has arrived and nothing is published."""
        remote, clone = folder / "git", folder / "clone"
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
        git(folder, "clone", "--quiet", str(remote), str(clone))
        (clone / "data").mkdir()
        (clone / "data/arrivals.csv").write_text("address,sha256,label,arrived\n")
        (clone / "data/corrections.csv").write_text(NO_CORRECTIONS)
        (clone / "params.yaml").write_text(yaml.safe_dump({"watch": PARAMS}))
        (clone / ".gitignore").write_text("build/\n")
        (folder / "drop").mkdir()
        project = Project(remote, clone)
        project.push("nothing has arrived")
        places = {"registry": str(folder / "registry"), "dvc_remote": str(folder / "dvc")}
        drop = drop or str(folder / "drop")
        return cls(project, Settings(git=str(remote), workspaces=folder / "work", drop=drop, **places))

    @property
    def registry(self) -> Registry:
        return Registry(self.settings.registry, cache=self.project.folder.parent / "cache")

    def publish(
        self,
        *,
        seen: Sequence[str] | None = (),
        tested: Mapping[str, Any] | None = AS_TESTED,
        commit: str | None = None,
    ) -> None:
        """Publish and promote a version of the branch's commit, which was trained on `seen` images and `tested` so."""
        folder = make_bundle(self.project.folder.parent / "bundle")
        if tested is not None:
            (folder / "card.json").write_text(json.dumps({"test_by_label": tested}))
        if seen is not None:
            (folder / "seen_images.csv").write_text("sha256,group\n" + "".join(f"{one},{one}\n" for one in seen))
        head = git(self.project.folder, "rev-parse", "HEAD")
        origin = Origin(git_commit=head if commit is None else commit)
        self.registry.promote(self.registry.publish(folder, "pets", origin).manifest.name, "production")

    def arrive(
        self, label: str, num: int = 1, *, shows: str = "", day: str = "2100-01-01", is_kept: bool = True
    ) -> list[str]:
        """Have ingest take in photographs of a label, which show that colour or another; return their SHA-256."""
        path, drop = self.project.folder / "data/arrivals.csv", open_storage(self.settings.drop)
        first, hashes = len(path.read_text().splitlines()), []
        for number in range(first, first + num):
            data = image_bytes(shows or label, size=(30 + number, 30), kind="PNG")
            hashes.append(hashlib.sha256(data).hexdigest())
            address = f"{self.settings.drop}/accepted/{hashes[-1]}.png"
            with path.open("a") as file:
                file.write(f"{address},{hashes[-1]},{label},{day}\n")
            if is_kept:
                assert drop.create(f"accepted/{hashes[-1]}.png", data)
        self.project.push(f"{num} arrived")
        return hashes

    def correct(self, sha256: str, label: str) -> None:
        """Give an image its right label, or none, as `stages.correct` does."""
        with (self.project.folder / "data/corrections.csv").open("a") as file:
            file.write(f"{sha256},{label},red,,,,1,2100-01-01\n")
        self.project.push("corrected")

    def look(self, told: list[str] | None = None) -> Watched:
        """Watch once, as the flow does."""
        tell = (told if told is not None else []).append
        champion = champion_of(self.registry, "pets", "production")
        assert champion
        with workspace(self.settings, "watch", "main", tell) as space:
            params = section(space.folder / "params.yaml", "watch", WatchParams)
            return look(space, Drop(self.settings.drop), champion, params, tell)
