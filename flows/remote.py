"""The git remote of `make stack`: a bare repository beside the other state, made from the checkout's last commit."""

import subprocess
from pathlib import Path

from flows.errors import StackError

BRANCH = "main"


def push_head(checkout: Path, remote: Path) -> str:
    """Bring the checkout's HEAD to the branch main of the bare repository `remote`; say in a line what became of it.

    Commits that flows have pushed there are never lost: where both sides went on, the remote stays as it is.
    """
    if not remote.exists():
        _git("init", "--quiet", "--bare", "--initial-branch", BRANCH, str(remote), folder=checkout)
    try:
        _git("push", "--quiet", str(remote), f"HEAD:refs/heads/{BRANCH}", folder=checkout)
    except StackError:
        if _git("log", "--max-count=1", BRANCH, folder=remote):
            return f"flows have pushed commits that this checkout lacks; to have them: git pull {remote} {BRANCH}"
        raise
    return f"{remote.name} is at {_git('rev-parse', '--short', BRANCH, folder=remote)}"


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"git {arguments[0]} failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return done.stdout.strip()
