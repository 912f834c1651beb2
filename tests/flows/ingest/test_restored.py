"""The commands of docs/operations.md that bring back what was lost of git, rows and originals, and move the stores."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from petmodels.storage import open_storage
from tests.flows.ingest.place import ROOT, Place, in_folder, in_remote
from tests.pictures import content, pet, write_source

OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

needs_aws = pytest.mark.skipif(shutil.which("aws") is None, reason="no aws on this machine")


def typed(first_line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Run a block of the page as a person would, in a folder."""
    text = OPERATIONS.split(f"```\n# {first_line}\n", maxsplit=1)[1].split("```", maxsplit=1)[0]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    in_folder(folder, "bash", "-c", text)


def variables(place: Place) -> dict[str, str]:
    names = {
        "git": "GIT",
        "drop": "DROP",
        "dvc_remote": "DVC_REMOTE",
        "registry": "REGISTRY",
        "workspaces": "WORKSPACES",
    }
    return {f"PETMODELS_{variable}": str(vars(place.settings)[name]) for name, variable in names.items()}


def clone(place: Place, folder: Path) -> Path:
    in_folder(folder, "git", "clone", "--quiet", place.settings.git, "clone")
    return folder / "clone"


def taken_in(place: Place, num: int) -> list[bytes]:
    data = [place.put(f"Bengal/{number}.jpg", variant=50 + number) for number in range(num)]
    place.ingest()
    return data


@pytest.mark.slow
def test_the_workspace_of_ingest_gives_git_its_newest_rows_back(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_in(place, 2)
    rows, commits = place.arrivals(), place.commits()
    shutil.rmtree(place.folder / "git")
    in_folder(place.folder, "git", "init", "--quiet", "--bare", "--initial-branch", "main", "git")

    typed("the newest clone", tmp_path, monkeypatch, **variables(place))

    assert (place.arrivals(), place.commits()) == (rows, commits)
    assert place.ingest().losses.lines() == []


@pytest.mark.slow
def test_a_workspace_that_was_set_back_still_knows_the_newest_rows(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_in(place, 2)
    commits = place.commits()
    in_folder(place.folder / "git", "git", "update-ref", "refs/heads/main", "main~1")
    assert len(place.ingest().losses.unlisted) == 2

    typed("a clone that was set back", tmp_path, monkeypatch, **variables(place))

    assert place.commits() == commits
    assert place.ingest().losses.lines() == []


def published_with_raw(place: Place, folder: Path) -> Place:
    """Publish a version whose lock names data/raw as download leaves it; return the place with its DVC remote."""
    remote, rows = folder / "dvc", place.arrivals()
    text = in_folder(place.folder / "git", "git", "show", "main:data/arrivals.csv").encode()
    files = {"arrivals.csv": text, "corrections.csv": b""}
    for number, row in enumerate(rows, start=1):
        key = row["address"].removeprefix(f"{place.settings.drop}/")
        files[f"arrivals/{number:05d}/{key.rpartition('/')[2]}"] = place.drop.read(key, 10**6)[0]
    listed = [{"md5": in_remote(remote, data), "relpath": name} for name, data in sorted(files.items())]
    found = in_remote(remote, json.dumps(listed).encode(), ".dir")
    out = {"path": "data/raw", "hash": "md5", "md5": found}
    (folder / "raw.lock").write_text(
        yaml.safe_dump({"schema": "2.0", "stages": {"download": {"cmd": "x", "outs": [out]}}})
    )
    place.replace_files(
        {"dvc.yaml": lambda _text: yaml.safe_dump({"stages": {"download": {"cmd": "x", "outs": ["data/raw"]}}})},
        without="data/.gitignore",
    )
    found_place = replace(place, settings=replace(place.settings, dvc_remote=str(remote)))
    found_place.publish(folder / "raw.lock")
    return found_place


@needs_aws
@pytest.mark.slow
def test_the_dvc_remote_gives_rows_and_originals_of_the_newest_version_back(
    bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = taken_in(bucket, 3)
    place = published_with_raw(bucket, tmp_path)
    rows = place.arrivals()
    kept = [row for row in rows if row != rows[1]]
    newer = "https://example.org/x.jpg," + "0" * 64 + ",pug,2026-01-01"
    place.list_row(newer)
    changed = {
        "data/arrivals.csv": lambda text: "".join(x for x in text.splitlines(True) if rows[1]["sha256"] not in x)
    }
    place.replace_files(changed, without="params.yaml")
    place.drop.delete(f"accepted/{rows[0]['sha256']}.jpg")
    folder = clone(place, tmp_path)

    for step in ("what the newest version was made of", "the rows", "the originals"):
        typed(step, folder, monkeypatch, **variables(place))

    assert len(kept) == 2
    assert place.arrivals() == [*rows, dict(zip(rows[0], newer.split(","), strict=True))]
    for one in data:
        key = f"accepted/{hashlib.sha256(one).hexdigest()}.jpg"
        assert place.drop.read(key, 10**6)[0] == one


@needs_aws
@pytest.mark.slow
def test_after_a_move_ingest_and_a_clean_machines_download_find_everything(
    project: Path, bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.publish(project / "dvc.lock")
    (data,) = taken_in(bucket, 1)
    to = f"{bucket.settings.drop}-moved"
    moved = replace(bucket, settings=replace(bucket.settings, drop=f"{to}/drop", dvc_remote=f"{to}/dvc"))
    old = {"OLD_DROP": bucket.settings.drop, "OLD_DVC_REMOTE": f"{to}/copied"}
    folder = clone(bucket, tmp_path)
    for path in (path for path in (project / "dvc").rglob("*") if path.is_file()):
        open_storage(old["OLD_DVC_REMOTE"]).create(path.relative_to(project / "dvc").as_posix(), path.read_bytes())

    for step in ("the objects", "the rows' addresses"):
        typed(step, folder, monkeypatch, **variables(moved) | old)
    for address in old.values():
        storage = open_storage(address)
        for key in [found.key for found in storage.list("")]:
            storage.delete(key)
    quiet = moved.ingest()
    moved.put("Bengal/again.jpg", data)
    moved.put("Bengal/new.jpg", content(pet(0, 60)))
    taken = moved.ingest()

    assert (quiet.sentence, quiet.losses.lines()) == (f"nothing waits in {to}/drop", [])
    assert taken.sentence == "1 accepted, 1 already there"
    assert {row["address"].rpartition("/")[0] for row in moved.arrivals()} == {f"{to}/drop/accepted"}
    assert downloaded(moved, tmp_path / "clean") == 2


def downloaded(place: Place, folder: Path) -> int:
    """Return how many arrivals the branch's stage `download` fetches on a machine that has nothing."""
    folder.mkdir()
    write_source(folder / "source", num_images=1)
    fresh = clone(place, folder)
    params = yaml.safe_load((fresh / "params.yaml").read_text())
    params["download"] |= {"source": str(folder / "source"), "checksum": None, "size_bytes": None}
    (fresh / "params.yaml").write_text(yaml.safe_dump(params))
    paths = {"arrivals": "data/arrivals.csv", "corrections": "data/corrections.csv", "cache": "c", "out": "data/raw"}
    options = [part for name, path in paths.items() for part in (f"--{name}", path)]
    in_folder(fresh, sys.executable, "-m", "stages.download", *options)
    return len([path for path in (fresh / "data/raw/arrivals").rglob("*") if path.is_file()])
