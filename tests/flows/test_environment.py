"""What is started here heeds no hook's repository, no habits of a person's git, and asks no proxy for this machine."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from flows.children import output
from flows.demo_folder import claim
from flows.environment import apart, direct, inherited
from flows.errors import RemoteError, StackError
from flows.remote import push_head
from tests.flows.projects import git

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "work")
    (folder / "file").write_text("content")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


@pytest.fixture
def habits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person whose git signs what it commits, has hooks everywhere, and calls no remote origin."""
    for name in ("pre-commit", "pre-push", "post-checkout"):
        hook = tmp_path / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    settings = f"[commit]\ngpgSign = true\n[gpg]\nprogram = false\n[core]\nhooksPath = {tmp_path}/hooks\n"
    settings += "[clone]\ndefaultRemoteName = upstream\n[safe]\ndirectory = *\n"  # this checkout may be somebody else's
    (tmp_path / "gitconfig").write_text(settings)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))


@pytest.mark.slow
@pytest.mark.usefixtures("habits")
def test_the_demo_commits_into_its_own_repository_and_no_other(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a hook of git's in a worktree would start it."""
    monkeypatch.setenv("GIT_DIR", str(project / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(project / ".git/index"))

    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "flows.demo", "--source", str(tmp_path / "empty"), "--folder"]

    done = subprocess.run([*command, str(tmp_path / "demo")], cwd=ROOT, capture_output=True, text=True, check=False)

    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert "ERROR: failed to reproduce 'download'" in done.stderr
    assert git(tmp_path / "demo", "log", "--format=%s") == "The demo's settings"
    assert git(project, "log", "--format=%s") == "first"
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.usefixtures("habits")
def test_a_stacks_remote_is_made_whatever_a_persons_git_does_at_such_times(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))

    push_head(project, tmp_path / "project.git")

    monkeypatch.delenv("GIT_DIR")
    assert git(tmp_path / "project.git", "log", "--format=%s", "main") == "first"


def test_a_checkout_of_somebody_elses_is_refused_in_gits_own_words(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

    with pytest.raises(
        StackError, match=r"^detected dubious ownership .*; git config --global --add safe\.directory /"
    ):
        push_head(project, tmp_path / "project.git")


def test_a_setting_that_the_environment_gives_git_is_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'commit.gpgSign'='true'")  # as below a `git -c commit.gpgSign=true`
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "/work")

    def setting(name: str) -> str:
        command = ["git", "config", "--get", name]
        return subprocess.run(command, cwd=project, env=apart(), capture_output=True, text=True, check=True).stdout

    assert setting("safe.directory") == "/work\n"
    assert setting("commit.gpgSign") == "false\n"


@pytest.mark.slow
def test_a_copy_without_git_costs_the_demo_one_line(tmp_path: Path) -> None:
    """As the archive is that a web site offers."""
    (tmp_path / "copy").mkdir()
    command = [sys.executable, "-m", "flows.demo", "--source", "sample:"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GIT_CEILING_DIRECTORIES": str(tmp_path)}

    done = subprocess.run(command, cwd=tmp_path / "copy", env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "demo: git: not a git repository (or any of the parent directories): .git\n"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/params.yaml").write_text("theirs")
    return tmp_path / "theirs"


@pytest.mark.slow
def test_the_demo_puts_nothing_into_a_repository_that_it_has_not_made(theirs: Path) -> None:
    git(theirs, "init", "--quiet")
    git(theirs, "add", "--all")
    git(theirs, "commit", "--quiet", "--message", "first")
    (theirs / "untracked").touch()
    command = [sys.executable, "-m", "flows.demo", "--folder", str(theirs)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    told = f"demo: the folder is somebody else's, or only half made; name another, or delete it: {theirs}\n"
    assert (done.returncode, done.stderr) == (1, told)
    assert git(theirs, "status", "--porcelain") == "?? untracked"
    assert (theirs / "params.yaml").read_text() == "theirs"


@pytest.mark.parametrize("is_repository", [True, False])
def test_the_demo_makes_no_folder_of_files_its_own(theirs: Path, is_repository: bool) -> None:
    if is_repository:
        git(theirs, "init", "--quiet")

    with pytest.raises(FileExistsError, match=r"the folder is somebody else's, .*: /.*/theirs$"):
        claim(theirs)


@pytest.mark.parametrize("what", ["its first commit", "its mark", "nothing"])
def test_the_demo_goes_on_in_what_it_has_begun(theirs: Path, what: str) -> None:
    """An earlier demo knew of no mark."""
    if what == "nothing":
        (theirs / "params.yaml").unlink()
    if what == "its mark":
        git(theirs, "init", "--quiet")
        git(theirs, "config", "petmodels.demo", "true")
    if what == "its first commit":
        git(theirs, "init", "--quiet")
        git(theirs, "add", "--all")
        git(theirs, "commit", "--quiet", "--message", "The demo's settings")

    claim(theirs)

    assert git(theirs, "config", "--get", "petmodels.demo") == "true"


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_in_one_line(tmp_path: Path) -> None:
    code = """
import runpy, signal, sys
import flows.loop
def struck(*arguments): raise KeyboardInterrupt
flows.loop.git = struck
sys.argv = ["demo", "--folder", "demo"]
runpy.run_module("flows.demo", run_name="__main__")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "demo: interrupted; the same command goes on from here\n")


def test_a_shallow_clone_is_told_how_to_be_whole(project: Path, tmp_path: Path) -> None:
    git(project, "commit", "--quiet", "--allow-empty", "--message", "second")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{project}", "shallow")

    with pytest.raises(StackError, match=r"shallow update not allowed.*; this clone is shallow: git fetch --unshallow"):
        push_head(tmp_path / "shallow", tmp_path / "project.git")


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["Host key verification failed.", "git@example.org: Permission denied (publickey)."])
def test_why_ssh_did_not_let_git_in_is_told(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\necho '{reason}' >&2\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(tmp_path / "ssh"))

    with pytest.raises(RemoteError) as caught:
        output(["git", "clone", "git@example.org:team/pets.git", "clone"], tmp_path)

    assert str(caught.value) == f"git clone: {reason} Could not read from remote repository."


def test_a_user_without_a_name_gets_one_for_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_number: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)

    assert inherited()["USER"] == f"user-{os.getuid()}"


@pytest.mark.parametrize(
    ("named", "hosts"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "intranet"}, "intranet,127.0.0.1,localhost"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_no_proxy_is_asked_for_this_machine(named: dict[str, str], hosts: str) -> None:
    assert direct(named) == {"NO_PROXY": hosts, "no_proxy": hosts}
