"""A clone of the project in a folder: made, brought up to date, and put right after a run that was killed in it."""

import os
import re
import shutil
from pathlib import Path

from flows.children import output
from flows.errors import ChildError, RequestError
from flows.telling import redacted

_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
MOST_LOOSE_KIB = 32 * 1024
# Tags by name: `--tags` alone would keep those that the remote no longer has.
_ALL = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]


def refresh(remote: str, folder: Path, handle: int) -> None:
    """Make the clone in `folder` know what git's remote knows; the lock `handle` is held while git works."""
    if not folder.exists():
        _cloned(remote, folder, handle).replace(folder)
        return
    if not _is_clone(folder, handle):
        renew(remote, folder, handle)
        return
    _unlock(folder)
    address = ["git", "config", "--get", "--default", "", "remote.origin.url"]
    if output(address, folder, keep=(handle,)).strip() != remote:
        output(["git", "remote", "set-url", "--", "origin", remote], folder, keep=(handle,))
    output(["git", "fetch", "--quiet", "--prune", "--force", "origin", *_ALL], folder, keep=(handle,))
    _pack(folder, handle)


def _pack(folder: Path, handle: int) -> None:
    """Have git store what changed in a file, not each of its versions, once those take much space.

    By itself git waits for some 6,700 objects, and of the list of arrivals each commit adds a whole one.
    """
    counts = dict(
        line.split(": ") for line in output(["git", "count-objects", "-v"], folder, keep=(handle,)).splitlines()
    )
    if int(counts["size"]) > MOST_LOOSE_KIB:
        output(["git", "gc", "--quiet", "--force", "--prune=now"], folder, keep=(handle,))


def renew(remote: str, folder: Path, handle: int) -> None:
    """Give a clone that is damaged, by a power cut perhaps, git's part of it anew; what git ignores there stays."""
    partial = _cloned(remote, folder, handle)
    shutil.rmtree(folder / ".git", ignore_errors=True)
    (partial / ".git").replace(folder / ".git")
    shutil.rmtree(partial)


def _cloned(remote: str, folder: Path, handle: int) -> Path:
    """Return a new clone beside `folder`, with nothing checked out."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    output(
        ["git", "clone", "--quiet", "--origin", "origin", "--no-checkout", "--", remote, str(partial)],
        folder.parent,
        keep=(handle,),
    )
    return partial


def checked_out(remote: str, folder: Path, revision: str, handle: int) -> str:
    """Check a branch, tag or commit out, with nothing of an earlier run but what git ignores; return the commit's hash.

    Raises RequestError for an unknown revision.
    """
    commit = _commit(folder, revision, handle)
    if commit is None:
        listing = ["git", "for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin"]
        names = [name for name in output(listing, folder, keep=(handle,)).split() if name != "HEAD"]
        branches = ", ".join(names[:9]) or "none"
        raise RequestError(f"{redacted(remote)} has no such revision; branches: {branches}: {revision}")
    output(["git", "checkout", "--quiet", "--force", "--detach", commit], folder, keep=(handle,))
    output(["git", "clean", "-ffdq"], folder, keep=(handle,))  # what git ignores stays: the data and its cache
    return commit


def _unlock(folder: Path) -> None:
    """Delete every lock that a killed git or DVC left: who holds the workspace's own lock knows that none works here.

    Of git's objects, which are many, none has to be locked for what is done in a workspace.
    """
    (folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    top = str(folder / ".git")
    for parent, folders, files in os.walk(top):
        if parent == top and "objects" in folders:
            folders.remove("objects")
        for name in files:
            if name.endswith(".lock"):
                (Path(parent) / name).unlink(missing_ok=True)


def _is_clone(folder: Path, handle: int) -> bool:
    try:
        found = output(["git", "rev-parse", "--show-toplevel", "HEAD"], folder, keep=(handle,))
    except ChildError:
        return False
    return Path(found.splitlines()[0]).resolve() == folder.resolve()


def _commit(folder: Path, revision: str, handle: int) -> str | None:
    """Return the commit that the remote calls so, None where it doesn't.

    A bare name would find the clone's own branch, which git made with it and which stays whatever becomes of the
    remote's: so a name is the remote's, or a commit's.
    """
    if any(sign in revision for sign in ("..", "^-")):  # a range, which no name is
        return None
    names = [f"refs/remotes/origin/{revision}", f"refs/tags/{revision}"]
    wanted = [f"{name}^{{commit}}" for name in [*names, *([revision] if _COMMIT.fullmatch(revision) else [])]]
    first = ["git", "rev-list", "--no-walk=unsorted", "--max-count=1", "--ignore-missing", *wanted, "--"]
    return output(first, folder, keep=(handle,)).strip() or None
