"""The git remote of `make stack`: a bare repository beside the other state, made from the checkout's last commit."""

import os
import subprocess
from pathlib import Path

from flows.errors import StackError

BRANCH = "main"


def push_head(checkout: Path, remote: Path) -> str:
    """Bring the checkout's HEAD to the branch main of the bare repository `remote`; say in a line what became of it.

    Commits that flows have pushed there are never lost: where both sides went on, the remote stays as it is. Raises
    StackError where there is no commit, or git can't push.
    """
    if _git("rev-parse", "--verify", "--quiet", "HEAD", folder=checkout).returncode:
        raise StackError(f"no commit to make a git remote from; commit, or set PETMODELS_GIT: {checkout}")
    if not remote.exists():
        _git("init", "--quiet", "--bare", "--initial-branch", BRANCH, str(remote), folder=checkout)
    pushed = _git("push", "--quiet", str(remote), f"HEAD:refs/heads/{BRANCH}", folder=checkout)
    if "[rejected]" in pushed.stderr:
        return f"flows have pushed commits that this checkout lacks; to have them: git pull {remote} {BRANCH}"
    if pushed.returncode:
        raise StackError(f"git push failed: {(pushed.stderr.strip().splitlines() or ['without a word'])[-1]}")
    return f"{remote.name} is at {_git('rev-parse', '--short', BRANCH, folder=remote).stdout.strip()}"


def _git(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    english = os.environ | {"LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=folder, env=english, capture_output=True, text=True, check=False)
