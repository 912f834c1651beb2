"""The git remote of `make stack`: a bare repository beside the other state, made from a project's last commit."""

import re
import subprocess
from pathlib import Path

from flows.environment import apart
from flows.errors import StackError

BRANCH = "main"
# Each ingest pushes the whole list of arrivals. By itself git would keep some 6,700 objects as they came, or 50 packs.
_PACKED = {"receive.unpackLimit": "1", "gc.autoPackLimit": "10", "gc.autoDetach": "false"}


def push_head(checkout: Path, remote: Path) -> str:
    """Bring the checkout's HEAD to the branch main of the bare repository `remote`; say in a line what became of it.

    Commits that flows have pushed there are never lost: where both sides went on, the remote stays as it is. Raises
    StackError where there is no commit, the remote holds another project, or git can't push.
    """
    if not (checkout / ".git").exists():  # git would take the repository around it
        raise StackError(f"not the top of a git repository; clone the project, or set PETMODELS_GIT: {checkout}")
    head = _git("rev-parse", "--verify", "--quiet", "HEAD", folder=checkout)
    if head.returncode:
        nothing = f"no commit to make a git remote from; commit, or set PETMODELS_GIT: {checkout}"
        raise StackError(telling(head.stderr) or nothing)
    if not remote.exists():
        _git("init", "--quiet", "--bare", "--initial-branch", BRANCH, str(remote), folder=checkout)
    for name, value in _PACKED.items():
        _git("config", name, value, folder=remote)
    pushed = _git("push", "--quiet", str(remote), f"HEAD:refs/heads/{BRANCH}", folder=checkout)
    if "[rejected]" in pushed.stderr:
        if _beginnings(checkout, "HEAD").isdisjoint(_beginnings(remote, BRANCH)):
            raise StackError(f"{remote} holds another project than {checkout}; give this one a --folder of its own")
        return f"flows have pushed commits that this checkout lacks; to have them: git pull {remote} {BRANCH}"
    if pushed.returncode:
        raise StackError(f"git push failed: {telling(pushed.stderr) or 'without a word'}")
    return f"{remote.name} is at {_git('rev-parse', '--short', BRANCH, folder=remote).stdout.strip()}"


def _beginnings(folder: Path, revision: str) -> set[str]:
    """Return the commits without a parent that a revision goes back to: two that share none are two projects."""
    return set(_git("rev-list", "--max-parents=0", revision, folder=folder).stdout.split())


def telling(said: str) -> str:
    """Return the line of git's that tells most, and the way on where one is known; "" where git said nothing."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    kinds = ("! [", "fatal: ", "error: ", "")
    found = next((line for kind in kinds for line in lines if line.startswith(kind)), "")
    ways = {"shallow": "this clone is shallow: git fetch --unshallow", "safe.directory": lines[-1] if lines else ""}
    way = next((f"; {way}" for word, way in ways.items() if word in said), "")
    return re.sub("^(fatal|error): ", "", found) + way


def _git(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    english = apart() | {"LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=folder, env=english, capture_output=True, text=True, check=False)
