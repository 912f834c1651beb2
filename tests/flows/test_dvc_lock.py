"""A lock that came from elsewhere says no more than DVC may believe, and what DVC fetches by it is what it names."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from flows.dvc_lock import take_lock, take_lock_of
from flows.dvc_process import DvcProcess
from flows.errors import ChildError, RequestError
from flows.pipeline import outputs_of
from flows.settings import Settings
from flows.workspace import Workspace, workspace
from petmodels import Origin, Registry
from tests.flows.projects import toy_project
from tests.petmodels.bundles import make_bundle

HASH = "00112233445566778899aabbccddeeff"


def lock(**entry: object) -> str:
    """Return a lock whose stage has one output, with these changes."""
    return f"schema: '2.0'\nstages: {{train: {{cmd: x, outs: [{ {'path': 'data/train', 'md5': HASH, **entry} }]}}}}"


@pytest.fixture
def w(tmp_path: Path) -> Workspace:
    return Workspace(folder=tmp_path, commit="", tell=str, handle=-1, process=DvcProcess(tmp_path, (), str))


@pytest.mark.parametrize(
    "text", [lock(), lock(md5=f"{HASH}.dir", size=1, nfiles=2, hash="md5"), "schema: '2.0'\nstages: {}", ""]
)
def test_a_lock_of_ours_is_taken_over_as_it_is(w: Workspace, text: str) -> None:
    w.set_text("dvc.yaml", "stages: {train: {cmd: x}}")

    take_lock(w, text)

    assert w.text("dvc.lock") == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lock(md5="..//../../somebody/key"), "whose hash is none"),
        (lock(md5=None), "whose hash is none"),
        (lock(md5=HASH.upper()), "whose hash is none"),
        (lock(files=[{"relpath": "../../stages/train.py", "md5": HASH}]), "more than paths and hashes .*: files$"),
        (lock(cloud={"there": {"etag": "x"}}), "more than paths and hashes .*: cloud$"),
        (f"stages: {{train: {{outs: [{{md5: {HASH}}}]}}}}", "a file that has no path .*: train$"),
        (lock(path=["a"]), "a file that has no path .*: train$"),
        (lock(path="../other"), r"leaves the project .*: \.\./other$"),
        (lock(path="/etc/passwd"), "leaves the project .*: /etc/passwd$"),
        ("stages: []", "without stages"),
        ("[1]", "without stages"),
        ("stages: {train: {outs: {path: x}}}", "without lists of files"),
        ("stages: {train: x}", "without lists of files"),
        ("stages: {train: {outs: [x]}}", "without lists of files"),
        ("stages: {", "dvc.lock is no YAML"),
        ("[" * 3000, "dvc.lock is nested too deeply"),
    ],
)
def test_any_other_is_refused_and_the_old_one_stays(w: Workspace, text: str, reason: str) -> None:
    w.set_text("dvc.lock", "the last one")

    with pytest.raises(RequestError, match=reason):
        take_lock(w, text)

    assert w.text("dvc.lock") == "the last one"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [lock(path="/" + "a" * 10**6), lock(**{"a" * 10**6: 1}), f"stages: {{{'a' * 10**6}: x}}"]
)
def test_a_message_quotes_no_more_than_a_line_of_it(w: Workspace, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        take_lock(w, text)

    assert len(str(caught.value)) < 500


def test_stages_that_dvc_yaml_no_longer_has_are_left_out(w: Workspace) -> None:
    """Else their hash of `data/bundle` would stand after, and for, that of the stage which makes it by now."""
    one = lock(path="data/bundle").replace("train", "package")
    both = one.replace("stages: {", f"stages: {{export: {{cmd: y, outs: [{{path: data/bundle, md5: {HASH[::-1]}}}]}}, ")
    w.set_text("dvc.yaml", "stages: {export: {cmd: y, outs: [data/bundle]}}")

    take_lock(w, both)

    assert outputs_of(w.text("dvc.lock")) == {"data/bundle": HASH[::-1]}
    assert "package" not in w.text("dvc.lock")


def test_a_version_whose_lock_is_not_taken_over_costs_a_line(w: Workspace, tmp_path: Path) -> None:
    told: list[str] = []
    registry = Registry(tmp_path / "registry", cache=tmp_path / "cache")
    origin = Origin(dvc_lock=lock(md5="..//../../somebody/key"))
    version = registry.publish(make_bundle(tmp_path / "bundle"), "pets", origin).manifest

    take_lock_of(replace(w, tell=told.append), version)

    assert w.text("dvc.lock") == ""
    assert told == [
        "what pets@1 was made from is left out: a dvc.lock whose hash is none is not taken over: train: data/train"
    ]


@pytest.mark.slow
def test_other_bytes_in_the_dvc_remote_are_not_taken_for_what_the_lock_names(tmp_path: Path) -> None:
    places = {"registry": str(tmp_path / "registry"), "dvc_remote": str(tmp_path / "dvc")}
    settings = Settings(git=str(toy_project(tmp_path / "project").remote), workspaces=tmp_path / "workspaces", **places)
    with workspace(settings, "a", "main", str) as w:
        w.dvc("repro", "push")
        kept = w.text("dvc.lock")
        original = (w.folder / "data/train/means.json").read_bytes()
    (stored,) = (path for path in (tmp_path / "dvc").rglob("*") if path.is_file() and path.read_bytes() == original)
    stored.chmod(0o600)
    stored.write_bytes(original[::-1])
    shutil.rmtree(tmp_path / "workspaces")

    with workspace(settings, "a", "main", str) as w:
        take_lock(w, kept)
        with pytest.raises(ChildError):
            w.dvc("pull --force train")
        assert not (w.folder / "data/train/means.json").exists()
