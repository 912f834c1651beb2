"""The stack's git remote follows the checkout, and loses nothing that flows have pushed."""

import subprocess
from pathlib import Path
from random import Random

import pytest

from flows.errors import StackError
from flows.remote import push_head


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, name: str) -> str:
    (folder / name).write_text(name)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", name)
    return git(folder, "rev-parse", "HEAD")


def num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "work")
    commit(folder, "first")
    return folder


def test_main_of_the_remote_is_the_head_of_the_checkout_at_each_start(project: Path, tmp_path: Path) -> None:
    push_head(project, tmp_path / "project.git")
    head = commit(project, "second")
    push_head(project, tmp_path / "project.git")
    assert git(tmp_path / "project.git", "rev-parse", "main") == head


def test_what_flows_have_pushed_stays_and_the_way_to_have_it_is_told(project: Path, tmp_path: Path) -> None:
    remote = tmp_path / "project.git"
    push_head(project, remote)
    git(tmp_path, "clone", "--quiet", "-b", "main", str(remote), "flow")
    arrived = commit(tmp_path / "flow", "arrivals")
    git(tmp_path / "flow", "push", "--quiet")
    commit(project, "meanwhile")
    assert push_head(project, remote).endswith(f"to have them: git pull {remote} main")
    assert git(remote, "rev-parse", "main") == arrived


@pytest.mark.slow
def test_the_remote_keeps_of_a_list_that_grows_what_was_added(project: Path, tmp_path: Path) -> None:
    remote = tmp_path / "project.git"
    (project / "arrivals.csv").write_text(Random(1).randbytes(100_000).hex())
    commit(project, "arrivals")
    push_head(project, remote)
    before = num_bytes(remote)

    for number in range(25):
        with (project / "arrivals.csv").open("a") as file:
            file.write(f"{number}\n")
        commit(project, f"arrivals {number}")
        git(project, "push", "--quiet", str(remote), "HEAD:main")

    assert num_bytes(remote) < before + 12 * 110_000  # as many packs at most, and not 25


def test_another_project_is_not_pushed_over_the_first_one(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet", "-b", "work")
    commit(other, "something else")
    push_head(project, tmp_path / "project.git")
    with pytest.raises(StackError, match=f"project.git holds another project than {other}; give this one a --folder"):
        push_head(other, tmp_path / "project.git")
    assert git(tmp_path / "project.git", "rev-parse", "main") == git(project, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["missing", "below"])
def test_a_folder_that_is_no_repository_is_one_line(project: Path, name: str) -> None:
    (project / "below").mkdir()
    with pytest.raises(StackError, match=f"not the top of a git repository.*{name}"):
        push_head(project / name, project / "project.git")


def test_a_folder_without_a_commit_is_one_line(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(StackError, match=f"no commit to make a git remote from.*{tmp_path}"):
        push_head(tmp_path, tmp_path / "project.git")
