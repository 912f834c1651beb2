"""Workspaces: clones at a revision that one run at a time may write to; and the pipeline in them, by real DVC."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest
import yaml

from flows import pipeline
from flows.dvc_lock import take_lock, take_lock_of
from flows.dvc_process import DvcProcess
from flows.errors import BusyError, ChildError, RemoteError, RequestError, SettingsError, StageError
from flows.object_store import weed
from flows.reach import lacking
from flows.settings import Settings
from flows.workspace import Workspace, workspace
from tests.disks import small_disk
from tests.flows.projects import Project, git, toy_project
from tests.petmodels.stores import serving


def quiet(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return toy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def settings(project: Project, tmp_path: Path) -> Settings:
    places = {"registry": str(tmp_path / "registry"), "dvc_remote": str(tmp_path / "dvc")}
    return Settings(git=str(project.remote), workspaces=tmp_path / "workspaces", **places)


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["main", "v1", "HEAD~0"])
def test_a_workspace_is_at_the_revision_whatever_it_is_called(
    project: Project, settings: Settings, revision: str
) -> None:
    git(project.folder, "tag", "--force", "v1")
    git(project.folder, "push", "--quiet", "--force", "origin", "v1")
    head = git(project.folder, "rev-parse", "HEAD")

    with workspace(settings, "a", head if revision == "HEAD~0" else revision, quiet) as w:
        assert w.commit == head
        assert (w.folder / "dvc.yaml").exists()


@pytest.mark.parametrize("revision", ["nowhere", "main..main", "main^-1", "main^@", "-q", "main:", "a b"])
def test_an_unknown_revision_is_named_with_the_branches(settings: Settings, revision: str) -> None:
    with pytest.raises(RequestError, match=rf"has no such revision; branches: main: {re.escape(revision)}$"):
        workspace(settings, "a", revision, quiet).__enter__()


@pytest.mark.slow
def test_a_branch_or_tag_that_the_remote_no_longer_has_is_an_unknown_revision(
    settings: Settings, project: Project, tmp_path: Path
) -> None:
    """The clone has a branch and a tag of its own from then, which would stay at that commit for ever."""
    remote = tmp_path / "renamed.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(project.remote), str(remote))
    git(remote, "tag", "v3", "main")
    renamed = Settings(**{**vars(settings), "git": str(remote)})
    for revision in ("main", "v3"):
        with workspace(renamed, "a", revision, quiet) as w:
            commit = w.commit
    git(remote, "branch", "--move", "main", "trunk")
    git(remote, "tag", "--delete", "v3")

    for revision in ("main", "v3", "HEAD", "refs/heads/main"):
        with pytest.raises(RequestError, match=rf"has no such revision; branches: trunk: {revision}$"):
            workspace(renamed, "a", revision, quiet).__enter__()
    for revision in ("trunk", commit, commit[:7]):
        with workspace(renamed, "a", revision, quiet) as w:
            assert w.commit == commit


def test_a_git_remote_that_is_away_is_named(settings: Settings, tmp_path: Path) -> None:
    away = Settings(**{**vars(settings), "git": str(tmp_path / "away.git")})

    with pytest.raises(RemoteError, match=r"away\.git"):
        workspace(away, "a", "main", quiet).__enter__()


@pytest.mark.parametrize(
    "address",
    [
        "https://ghp_token@example.org/r.git", "HTTPS://somebody@example.org/r.git",
        "ssh://git:word@example.org/r.git", "https://u:p@h/r",
    ],
)  # fmt: skip
def test_an_address_of_git_that_may_hold_a_secret_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REGISTRY": "s3://b/m", "DVC_REMOTE": "s3://b/d", "GIT": address}.items():
        monkeypatch.setenv(f"PETMODELS_{name}", value)

    with pytest.raises(SettingsError, match=r"^PETMODELS_GIT names a user, and git would show one that is a password"):
        Settings.from_environment()


@pytest.mark.parametrize(
    "address",
    [
        "git@example.org:r.git", "ssh://git@example.org:22/x@y.git", "https://example.org/team/repo@v1.git",
        "file:///srv/a:b@c/repo", "https://example.org/x?u=a@b", "/srv/a@b/repo",
    ],
)  # fmt: skip
def test_an_address_of_git_that_holds_none_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REGISTRY": "s3://b/m", "DVC_REMOTE": "s3://b/d", "GIT": address}.items():
        monkeypatch.setenv(f"PETMODELS_{name}", value)

    assert Settings.from_environment().git == address


def test_an_address_that_git_would_take_for_an_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_places(monkeypatch, git="--upload-pack=touch planted")

    with pytest.raises(
        SettingsError, match=r"^PETMODELS_GIT begins with a dash, .* option: --upload-pack=touch planted$"
    ):
        Settings.from_environment()


def test_what_begins_with_a_dash_is_no_option_of_git(settings: Settings, tmp_path: Path) -> None:
    """Neither the address, of a new clone and of one that is there, nor the revision."""
    planted = tmp_path / "planted"
    option = f"--upload-pack=touch {planted}"
    dashed = Settings(**{**vars(settings), "git": option})

    with pytest.raises(RemoteError, match="touch"):
        workspace(dashed, "new", "main", quiet).__enter__()
    with pytest.raises(RequestError, match=f"no such revision; branches: main: {option}$"):
        workspace(settings, "a", option, quiet).__enter__()
    with pytest.raises(RemoteError, match="touch"):
        workspace(dashed, "a", "main", quiet).__enter__()
    told = lacking(dashed)

    assert "touch" in told[0]
    assert not planted.exists()


def set_places(monkeypatch: pytest.MonkeyPatch, **places: str) -> None:
    for name, value in {"registry": "s3://b/m", "dvc_remote": "s3://b/d", "git": "/r.git", **places}.items():
        monkeypatch.setenv(f"PETMODELS_{name.upper()}", value)


@pytest.mark.parametrize(
    ("name", "place", "drop"),
    [
        ("REGISTRY", "s3://b/m", "s3://b"), ("REGISTRY", "s3://b/m/", "s3://b/m"), ("REGISTRY", "s3://b/m", "s3://b/m/x/"),
        ("DVC_REMOTE", "s3://b/all/d", "s3://b/all/"), ("REGISTRY", "shared/models", "shared"),
        ("REGISTRY", "shared/models", "link"), ("DVC_REMOTE", "shared/dvc", "./shared/dvc/drop"),
    ],
)  # fmt: skip
def test_a_drop_that_holds_the_registry_is_refused(
    name: str, place: str, drop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest would take their files for photographs, into quarantine and away from where they were."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "link").symlink_to("shared")
    monkeypatch.chdir(tmp_path)
    set_places(monkeypatch, **{name.lower(): place, "drop": drop})

    told = rf"^PETMODELS_DROP and PETMODELS_{name} lie in one another.*; give the drop a prefix or folder .*: {drop}$"
    with pytest.raises(SettingsError, match=told):
        Settings.from_environment()


@pytest.mark.parametrize("drop", ["s3://b/md", "s3://other", "s3://other/m", "/b/m", "", "ftp://b/m"])
def test_a_drop_beside_the_registry_is_taken(drop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_places(monkeypatch, drop=drop, dvc_remote="gs://b/m")

    assert Settings.from_environment().drop == drop


def test_a_signing_key_that_was_left_empty_signs_nothing_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REGISTRY": "s3://b/m", "DVC_REMOTE": "s3://b/d", "GIT": "/r.git", "SIGNING_KEY": ""}.items():
        monkeypatch.setenv(f"PETMODELS_{name}", value)

    with pytest.raises(SettingsError, match=r"^PETMODELS_SIGNING_KEY is set and names no file; to publish unsigned"):
        Settings.from_environment()


@pytest.mark.slow
def test_a_second_run_is_refused_while_the_first_works(settings: Settings) -> None:
    with workspace(settings, "a", "main", quiet), pytest.raises(BusyError, match="another run works here"):
        workspace(settings, "a", "main", quiet).__enter__()


@pytest.mark.slow
def test_slots_let_several_work_at_once_in_folders_of_their_own(settings: Settings) -> None:
    with (
        workspace(settings, "a", "main", quiet, slots=2) as one,
        workspace(settings, "a", "main", quiet, slots=2) as other,
    ):
        assert one.folder != other.folder


@pytest.mark.slow
def test_a_passing_clone_is_gone_at_the_end_also_when_the_run_has_failed(settings: Settings) -> None:
    with workspace(settings, "a", "main", quiet, fresh=True) as kept:
        pass
    with pytest.raises(KeyError), workspace(settings, "b", "main", quiet, fresh=True, passing=True) as gone:
        raise KeyError

    assert (kept.folder.exists(), gone.folder.exists()) == (True, False)


@pytest.mark.slow
def test_what_a_killed_run_left_is_put_right(settings: Settings) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        (w.folder / ".git/index.lock").touch()
        (w.folder / "dvc.lock").write_text("half")
        (w.folder / "params.yaml").write_text("changed: by hand")

    with workspace(settings, "a", "main", quiet) as again:
        assert again.text("dvc.lock") == ""
        assert "download" in again.text("params.yaml")


LOCKS = [
    "config",
    "HEAD",
    "packed-refs",
    "shallow",
    "refs/remotes/origin/main",
    "refs/tags/v2",
    "refs/heads/objects/one",
]


@pytest.mark.slow
@pytest.mark.parametrize("locked", LOCKS)
def test_a_lock_that_a_killed_git_left_stops_no_later_run(project: Project, settings: Settings, locked: str) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        lock = w.folder / f".git/{locked}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    head = project.change(download={"seed": LOCKS.index(locked) + 1})
    git(project.folder, "tag", "--force", "v2")
    git(project.folder, "push", "--quiet", "--force", "origin", "v2")

    with workspace(settings, "a", "v2", quiet) as again:
        assert again.commit == head
        assert list((again.folder / ".git").rglob("*.lock")) == []


@pytest.mark.slow
def test_a_git_remote_that_has_moved_is_followed(settings: Settings, project: Project, tmp_path: Path) -> None:
    moved = Settings(**{**vars(settings), "git": str(tmp_path / "moved.git")})
    git(tmp_path, "clone", "--quiet", "--bare", str(project.remote), moved.git)
    with workspace(settings, "a", "main", quiet):
        pass

    with workspace(moved, "a", "main", quiet) as w:
        assert w.git("remote", "get-url", "origin") == moved.git


@pytest.mark.slow
def test_a_clone_keeps_of_a_list_that_grows_what_was_added(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.clone.MOST_LOOSE_KIB", 1000)
    text = Random(1).randbytes(100_000).hex()
    with workspace(settings, "a", "main", quiet) as w:
        for number in range(15):
            w.set_text("arrivals.csv", text + str(number))
            git(w.folder, "add", "arrivals.csv")
            git(w.folder, "commit", "--quiet", "--message", "arrivals")
        git(w.folder, "push", "--quiet", "origin", "HEAD:refs/heads/arrivals")

    with workspace(settings, "a", "arrivals", quiet) as again:
        assert again.text("arrivals.csv") == text + "14"
        assert again.git("count-objects", "-v").startswith("count: 0\n")
        objects = again.folder / ".git/objects"
        assert sum(path.stat().st_size for path in objects.rglob("*") if path.is_file()) < 3 * 110_000


RUINED = [".git/HEAD", ".git/config", ".git/index", ".git/refs/remotes/origin/main", ".git/objects"]


@pytest.mark.slow
@pytest.mark.parametrize("ruined", RUINED)
@pytest.mark.parametrize("content", [b"", b"\0"])
def test_a_broken_clone_is_made_anew(project: Project, settings: Settings, ruined: str, content: bytes) -> None:
    """git doesn't flush what it writes, so a power cut may tear it. What it ignores stays, checkpoints among it."""
    with workspace(settings, "a", "main", quiet) as w:
        kept = w.folder / "build/checkpoints/a.pt"
        kept.parent.mkdir(parents=True)
        kept.write_text("epoch 1")
        place = w.folder / ruined
        for path in [one for one in place.rglob("*") if one.is_file()] if place.is_dir() else [place]:
            path.unlink(missing_ok=True)  # git shares files with a remote on the same disk
            path.write_bytes(content)

    with workspace(settings, "a", "main", quiet) as again:
        assert again.commit == git(project.folder, "rev-parse", "main")
        assert (again.folder / "dvc.yaml").exists()
        assert kept.read_text() == "epoch 1"


def test_overrides_are_yaml_and_keep_the_rest(settings: Settings) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        told = pipeline.set_params(w, {"train.epochs": "7", "export.mean": "[0.1, 0.2, 0.3]"})

        assert told == "export.mean=[0.1, 0.2, 0.3], train.epochs=7"
        assert "epochs: 7" in w.text("params.yaml")
        assert "min_images: 20" in w.text("params.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["train.epoch", "train", "nothing.here", "train.epochs.more", "gate.max_p_value"])
def test_an_override_of_nothing_is_refused_by_name(settings: Settings, key: str) -> None:
    with workspace(settings, "a", "main", quiet) as w, pytest.raises(RequestError, match=rf": {key}$"):
        pipeline.set_params(w, {key: "7"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("[1", r"the value of train.epochs is no YAML: \[1"),
        ("[" * 3000, "the value of train.epochs is nested too deeply"),
    ],
)
def test_an_override_that_can_not_be_read_is_refused(settings: Settings, value: str, told: str) -> None:
    with workspace(settings, "a", "main", quiet) as w, pytest.raises(RequestError, match=told):
        pipeline.set_params(w, {"train.epochs": value})


def test_a_stage_is_told_whatever_its_name() -> None:
    lines = ["Running stage 'weigh-labels':", "Stage 'eval@cats' is cached - skipping run, checking out outputs"]

    assert pipeline.steps_in(lines) == [
        pipeline.Step("weigh-labels", "ran"),
        pipeline.Step("eval@cats", "from the run-cache"),
    ]


@pytest.mark.slow
def test_a_workspace_keeps_dvcs_state_below_its_own_folder(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's own place is one for all users of a machine, which each may write to, and whose pickles it loads."""
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)  # README has people set it, and it wins
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro")
        kept = w.folder / ".dvc/tmp/site"
        (place,) = w.python("-c", "from dvc.repo import Repo; print(Repo().site_cache_dir)")

        assert Path(place).is_relative_to(kept)
        assert list(Path(place).rglob("cache.db")) != []
        assert kept.stat().st_mode & 0o777 == 0o700  # what is below, DVC makes for everybody
        assert w.git("status", "--porcelain", "--", ".dvc") == ""


@pytest.mark.slow
def test_a_machine_learns_from_lock_and_remote_what_another_computed(settings: Settings, tmp_path: Path) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        ran = pipeline.steps_in(w.dvc("repro --pull", "push --run-cache"))
        lock = w.text(pipeline.LOCK)
    other = Settings(**{**vars(settings), "workspaces": tmp_path / "other"})

    with workspace(other, "a", "main", quiet) as w:
        unlocked = pipeline.changed_stages(w)
        w.set_text(pipeline.LOCK, lock)
        locked = pipeline.changed_stages(w)
        w.set_text(pipeline.LOCK, "")
        cached = pipeline.steps_in(w.dvc("repro --pull"))

        assert w.text("data/eval/metrics.json")
    assert {step.what for step in ran} == {"ran"}
    assert len(unlocked) == 6
    assert locked == []
    assert {step.what for step in cached} == {"from the run-cache"}


DVC_YAML = """
stages:
  copy: {cmd: cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}
  join: {cmd: cat b.txt code.py > c.txt; cp c.txt d.txt, deps: [b.txt, code.py], params: [x, y], outs: [c.txt]}
"""


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Workspace]:
    """A small pipeline that has run, and whose outputs are elsewhere by now."""
    files = {"dvc.yaml": DVC_YAML, "params.yaml": "{x: 1, y: 2}\n", "a.txt": "a\n", "code.py": "0\n"}
    w = Workspace(folder=tmp_path, commit="", tell=quiet, handle=-1, process=DvcProcess(tmp_path, (), quiet))
    for name, text in files.items():
        w.set_text(name, text)
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".dvc").mkdir()
    w.dvc("repro")
    for name in ("b.txt", "c.txt", "d.txt"):
        w.set_text(name, "")
    yield w
    w.process.end()


@pytest.mark.slow
def test_only_what_the_lock_knows_is_taken_for_data_that_is_elsewhere(copied: Workspace) -> None:
    w = copied
    assert pipeline.changed_stages(w) == []

    w.set_text("dvc.yaml", DVC_YAML.replace("[c.txt]", "[c.txt, d.txt]"))
    with_new_output = pipeline.changed_stages(w)
    w.set_text("dvc.yaml", DVC_YAML)
    w.set_text("params.yaml", "{x: 1}\n")
    without_a_param = pipeline.changed_stages(w)
    w.set_text("params.yaml", "{x: 1, y: 2}\n")
    w.set_text("code.py", "")

    assert (with_new_output, without_a_param) == (["join"], ["join"])
    with pytest.raises(RequestError, match=r"lacks a file that dvc\.yaml names as a dependency: join: code\.py$"):
        pipeline.changed_stages(w)


def entries(remote: Path) -> dict[Path, int]:
    """Return when each entry of a DVC remote's run-cache was written."""
    return {path: path.stat().st_mtime_ns for path in (remote / "runs").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_of_the_run_cache_what_is_there_is_not_copied_again(settings: Settings, tmp_path: Path) -> None:
    """Else each retrain would take longer than the one before, on every machine."""
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull split", "push --run-cache")
        before = entries(tmp_path / "dvc")
        torn = next(iter(before))
        torn.write_bytes(torn.read_bytes()[:20])  # as by a power cut of a remote that is a folder
        torn_at = torn.stat().st_mtime_ns

        w.dvc("repro --pull train", "push --run-cache")

    after = entries(tmp_path / "dvc")
    assert (len(before), len(after)) == (3, 4)
    assert after[torn] != torn_at
    assert {path: when for path, when in after.items() if path in before and path != torn} == {
        path: when for path, when in before.items() if path != torn
    }


@pytest.mark.slow
def test_another_version_of_a_package_is_work_for_the_stages_that_name_it(settings: Settings, tmp_path: Path) -> None:
    project = toy_project(tmp_path / "project", download={"images": 8})
    stages = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    stages["stages"]["train"]["params"].append({"pins.yaml": ["torch"]})
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(stages))
    (project.folder / "pins.yaml").write_text('pillow: "13.0.0"\ntorch: "2.20"\n')
    project.push("pins")
    settings = Settings(**{**vars(settings), "git": str(project.remote)})
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro", "push --run-cache")
        lock, unchanged = w.text(pipeline.LOCK), pipeline.changed_stages(w)

    (project.folder / "pins.yaml").write_text('pillow: "13.1.0"\ntorch: "2.21"\n')
    project.push("another torch")
    with workspace(settings, "a", "main", quiet) as w:
        take_lock(w, lock)
        changed = pipeline.changed_stages(w)
        ran = pipeline.steps_in(w.dvc("repro --pull"))

    assert (unchanged, changed) == ([], ["train"])
    assert [step.stage for step in ran if step.what == "ran"] == ["train"]


@pytest.mark.slow
def test_dvc_by_itself_copies_the_whole_run_cache_which_is_why_the_flows_see_to_it(
    settings: Settings, tmp_path: Path
) -> None:
    """When this fails, DVC does better by now, and `copy_new_entries_alone` can go."""
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull split", "push --run-cache")
        before = entries(tmp_path / "dvc")

        w.python("-m", "dvc", "push", "--run-cache")

    after = entries(tmp_path / "dvc")
    assert not {path for path, when in after.items() if before[path] == when}


@pytest.mark.slow
def test_what_the_newest_version_does_not_need_can_be_freed_and_is_computed_anew(settings: Settings) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull split", "push --run-cache")
        first = w.text(pipeline.LOCK)
        pipeline.set_params(w, {"split.seed": "1"})
        w.dvc("repro --pull split", "push --run-cache")
        w.dvc("gc --workspace --cloud --force")
        kept = pipeline.changed_stages(w, "split")
        pipeline.set_params(w, {"split.seed": "0"})
        again = pipeline.steps_in(w.dvc("repro --pull split"))

        assert kept == []
        assert [(step.stage, step.what) for step in again][-1] == ("split", "ran")
        assert pipeline.outputs_of(w.text(pipeline.LOCK)) == pipeline.outputs_of(first)


@pytest.mark.slow
def test_of_several_commands_the_first_that_fails_is_the_last_that_runs(settings: Settings) -> None:
    told: list[str] = []
    with workspace(settings, "a", "main", told.append) as w:
        with pytest.raises(ChildError, match=r"^dvc repro: .*'absent'"):
            w.dvc("version", "repro absent", "repro download")

        assert not (w.folder / "data/raw").exists()
    assert [line for line in told if line.startswith("> dvc")] == ["> dvc version", "> dvc repro absent"]


@pytest.mark.slow
def test_a_dvc_remote_that_refuses_is_told_with_its_reason(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull download")
        lock = w.text(pipeline.LOCK)
    other = Settings(**{**vars(settings), "workspaces": tmp_path / "other", "dvc_remote": "s3://nobody/dvc"})

    with workspace(other, "a", "main", quiet) as w:
        w.set_text(pipeline.LOCK, lock)
        with pytest.raises(RemoteError, match=r"^dvc pull: .*Unable to locate credentials"):
            pipeline.can_pull(w, "download")
        w.dvc("repro download")
        with pytest.raises(RemoteError, match=r"^dvc push: .*Unable to locate credentials"):
            w.dvc("push --run-cache download")


@pytest.mark.slow
@pytest.mark.skipif(weed() is None, reason="no S3 server on this platform")
def test_a_bucket_of_dvc_that_is_not_there_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Settings(**{**vars(settings), "dvc_remote": "s3://nosuch/dvc"})

    (tmp_path / "s3").mkdir()
    with serving(tmp_path / "s3") as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        with (
            workspace(nowhere, "a", "main", quiet) as w,
            pytest.raises(ChildError, match=r"bucket does not exist.*; the DVC remote is s3://nosuch/dvc$"),
        ):
            w.dvc("repro --pull download")


@pytest.mark.slow
def test_a_file_that_the_dvc_remote_has_lost_is_named_as_such_and_made_again_as_the_documents_say(
    settings: Settings, tmp_path: Path
) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull split", "push --run-cache")
        lock = w.text(pipeline.LOCK)
    files, workspaces = tmp_path / "dvc/files/md5", settings.workspaces
    outs = pipeline.outputs_of(lock)
    raw, prepared = (_listed(files, outs[folder]) for folder in ("data/raw", "data/prepared"))
    lost = min(raw & prepared)
    (files / lost[:2] / lost[2:]).unlink()
    shutil.rmtree(workspaces)

    told = r"^dvc could not do the stage download: 2 files failed to download from the DVC remote, the first: "
    with workspace(settings, "a", "main", quiet) as w:
        w.set_text(pipeline.LOCK, lock)
        with pytest.raises(StageError, match=rf"{told}'{lost}' - .*; the DVC remote is {tmp_path / 'dvc'}$"):
            w.dvc("repro --pull split")
    shutil.rmtree(workspaces)
    for path in [one for one in files.rglob("*.dir") if lost in one.read_text()]:
        path.unlink()
    with workspace(settings, "a", "main", quiet) as w:
        w.set_text(pipeline.LOCK, lock)
        steps = pipeline.steps_in(w.dvc("repro --pull split", "push --run-cache"))

    assert {step.stage: step.what for step in steps} == {"download": "ran", "prepare": "ran", "split": "unchanged"}
    assert (files / lost[:2] / lost[2:]).exists()


def _listed(files: Path, folder: str) -> set[str]:
    return {one["md5"] for one in json.loads((files / folder[:2] / folder[2:]).read_text())}


@pytest.mark.slow
def test_a_disk_without_inodes_is_named(settings: Settings, tmp_path: Path) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull split", "push --run-cache")
        lock = w.text(pipeline.LOCK)

    with small_disk(tmp_path / "small", 50_000, num_files=250) as disk:
        small = Settings(**{**vars(settings), "workspaces": disk})
        with workspace(small, "a", "main", quiet) as w:
            w.set_text(pipeline.LOCK, lock)
            told = rf"; the disk has room for \d+ more files \(inodes\), .*: {w.folder}$"
            with pytest.raises(ChildError, match=told):
                w.dvc("repro --pull split")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "  split:",
            "<<<<<<< HEAD\n  split:\n=======",
            r"\(possible merge conflicts\)\. While .*, in line 19, column 1$",
        ),
        (
            "cmd:",
            "cmmd:",
            r"validation failed: 2 errors\. extra keys not allowed, in stages -> download -> cmmd, line 3",
        ),
    ],
)
def test_a_broken_dvc_yaml_is_named(settings: Settings, before: str, after: str, told: str) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        w.set_text(pipeline.STAGES, w.text(pipeline.STAGES).replace(before, after, 1))

        with pytest.raises(ChildError, match=rf"^dvc status: '\./dvc\.yaml' .*{told}"):
            pipeline.changed_stages(w)


def test_a_broken_dvc_yaml_is_not_the_newest_versions_fault(settings: Settings) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        w.set_text(pipeline.STAGES, "stages:\n<<<<<<< HEAD\n  split:\n=======\n")

        with pytest.raises(RequestError, match=r"^dvc\.yaml is no YAML: .*line 2"):
            take_lock_of(w, None)


@pytest.mark.slow
def test_what_neither_clone_nor_remote_has_can_not_be_pulled(settings: Settings, tmp_path: Path) -> None:
    with workspace(settings, "a", "main", quiet) as w:
        w.dvc("repro --pull download")
        lock = w.text(pipeline.LOCK)
        here = pipeline.can_pull(w, "download")
        w.dvc("push --run-cache download")
    other = Settings(**{**vars(settings), "workspaces": tmp_path / "other"})

    with workspace(other, "a", "main", quiet) as w:
        w.set_text(pipeline.LOCK, lock)
        there = pipeline.can_pull(w, "download")
    shutil.rmtree(tmp_path / "dvc")
    shutil.rmtree(tmp_path / "other")
    with workspace(other, "a", "main", quiet) as w:
        w.set_text(pipeline.LOCK, lock)
        anywhere = pipeline.can_pull(w, "download")
        with pytest.raises(RemoteError, match=r"dvc pull: .* Checkout failed for following targets: data/raw$"):
            w.dvc("pull --force download")

    assert (here, there, anywhere) == (True, True, False)


@pytest.mark.slow
def test_a_revision_that_is_not_there_leaves_neither_dvc_nor_the_lock(settings: Settings) -> None:
    before = set(psutil.Process().children(recursive=True))  # servers of other tests

    for _ in range(2):
        with pytest.raises(RequestError, match="nowhere"), workspace(settings, "a", "nowhere", quiet, with_dvc=True):
            pass

    assert set(psutil.Process().children(recursive=True)) <= before
