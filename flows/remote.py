"""The git remote of `make stack`: a bare repository beside the other state, made from a project's last commit."""

import os
import subprocess
from pathlib import Path

from flows.errors import StackError

BRANCH = "main"


def push_head(checkout: Path, remote: Path) -> str:
    """Bring the checkout's HEAD to the branch main of the bare repository `remote`; say in a line what became of it.

    Commits that flows have pushed there are never lost: where both sides went on, the remote stays as it is. Raises
    StackError where there is no commit, the remote holds another project, or git can't push.
    """
    if not (checkout / ".git").exists():  # git would take the repository around it
        raise StackError(f"not the top of a git repository; clone the project, or set PETMODELS_GIT: {checkout}")
    if _git("rev-parse", "--verify", "--quiet", "HEAD", folder=checkout).returncode:
        raise StackError(f"no commit to make a git remote from; commit, or set PETMODELS_GIT: {checkout}")
    if not remote.exists():
        _git("init", "--quiet", "--bare", "--initial-branch", BRANCH, str(remote), folder=checkout)
    pushed = _git("push", "--quiet", str(remote), f"HEAD:refs/heads/{BRANCH}", folder=checkout)
    if "[rejected]" in pushed.stderr:
        if _beginnings(checkout, "HEAD").isdisjoint(_beginnings(remote, BRANCH)):
            raise StackError(f"{remote} holds another project than {checkout}; give this one a --folder of its own")
        return f"flows have pushed commits that this checkout lacks; to have them: git pull {remote} {BRANCH}"
    if pushed.returncode:
        raise StackError(f"git push failed: {(pushed.stderr.strip().splitlines() or ['without a word'])[-1]}")
    return f"{remote.name} is at {_git('rev-parse', '--short', BRANCH, folder=remote).stdout.strip()}"


def _beginnings(folder: Path, revision: str) -> set[str]:
    """Return the commits without a parent that a revision goes back to: two that share none are two projects."""
    return set(_git("rev-list", "--max-parents=0", revision, folder=folder).stdout.split())


def _git(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    english = os.environ | {"LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=folder, env=english, capture_output=True, text=True, check=False)
