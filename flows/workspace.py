"""A clone of the project on this machine at one revision, which one run at a time may write to.

Reads the git remote; leaves `<workspaces>/<name>`, its lock beside it, and DVC's cache, which the workspaces of a
machine share. Whatever a killed run left in a workspace is put right by the next one.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.children import Tell, output, run
from flows.clone import checked_out, refresh, renew
from flows.dvc_process import DvcProcess
from flows.errors import BusyError, ChildError
from flows.leash import GRACE_SECONDS

if TYPE_CHECKING:
    from flows.settings import Settings

_PATIENCE_SECONDS = GRACE_SECONDS + 5


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A clone that is ours while the block runs: its folder, and the full hash of the commit that is checked out."""

    folder: Path
    commit: str
    tell: Tell
    handle: int
    process: DvcProcess

    def git(self, *arguments: str) -> str:
        """Run git in the clone and return what it prints."""
        return output(["git", *arguments], self.folder, keep=(self.handle,)).strip()

    def dvc(self, *commands: str) -> list[str]:
        """Run DVC's commands, such as "repro --pull", one after the other; tell their lines, and return the last ones.

        The first that fails is the last that runs: StageError with the stage's own line, RemoteError where it wants a
        remote, else ChildError.
        """
        return self.process.run(commands)

    def python(self, *arguments: str) -> list[str]:
        """Run this interpreter in the clone, tell its lines, and return the last ones."""
        return run([sys.executable, *arguments], self.folder, self.tell, keep=(self.handle,))

    def text(self, name: str) -> str:
        """Return a small file's text, "" where there is none."""
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def set_text(self, name: str, text: str) -> None:
        """Write a small file; an empty text removes it."""
        path = self.folder / name
        if not text:
            path.unlink(missing_ok=True)
        elif text != self.text(name):
            path.write_text(text, encoding="utf-8")


@contextmanager
def workspace(
    settings: "Settings",
    name: str,
    revision: str,
    tell: Tell,
    *,
    fresh: bool = False,
    passing: bool = False,
    slots: int = 1,
    with_dvc: bool = False,
) -> Iterator[Workspace]:
    """Yield the workspace `name` at a branch, tag or commit of the git remote, and nobody else's while the block runs.

    `fresh` clones anew, with an empty cache of its own; `passing` removes the clone at the end. With `slots`, so many
    runs may work at once, each in a folder of its own. `with_dvc` begins DVC's process at once, for whoever is sure to
    need it. Raises BusyError, RequestError for an unknown revision, RemoteError when git's remote can't be reached.
    """
    settings.workspaces.mkdir(parents=True, exist_ok=True)
    folder, handle = _locked_soon(settings.workspaces, name, slots)
    modules = ("dvc_s3", "s3fs") if settings.dvc_remote.startswith("s3://") else ()
    process = DvcProcess(folder, modules, tell, remote=settings.dvc_remote, keep=(handle,))
    try:
        if with_dvc:
            process.begin()
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        commit = _at(settings.git, folder, revision, handle)
        _write_config(settings, folder, own_cache=fresh)
        yield Workspace(folder=folder, commit=commit, tell=tell, handle=handle, process=process)
    finally:
        try:
            process.end()
            if passing:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _at(remote: str, folder: Path, revision: str, handle: int) -> str:
    """Bring the clone to a revision, and make git's part anew where git can't; return the commit's hash."""
    try:
        refresh(remote, folder, handle)
        return checked_out(remote, folder, revision, handle)
    except ChildError:
        renew(remote, folder, handle)  # fails as well, and tells why, when it is the remote or the disk
        return checked_out(remote, folder, revision, handle)


def _locked_soon(workspaces: Path, name: str, slots: int) -> tuple[Path, int]:
    """Return a folder and its lock; what a run that died has started gets the time to end."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _locked(workspaces, name, slots)
        except BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _locked(workspaces: Path, name: str, slots: int) -> tuple[Path, int]:
    for slot in range(1, slots + 1):
        folder = workspaces / (name if slot == 1 else f"{name}-{slot}")
        handle = os.open(folder.with_name(f".{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        return folder, handle
    raise BusyError(f"another run works here, or what it started is still ending; wait for it: {workspaces / name}")


def _write_config(settings: "Settings", folder: Path, *, own_cache: bool) -> None:
    """Tell DVC, in this clone alone, which remote, cache and place for its state to use.

    Credentials it finds in the environment.
    """
    cache = folder / ".dvc/cache" if own_cache else settings.workspaces / "cache"
    # DVC's own place for its state, whose pickles it loads, is one that every user of the machine may write to; and
    # whoever lets it make a folder lets everybody into it, so this one is made before.
    site = folder / ".dvc/tmp/site"
    site.mkdir(parents=True, exist_ok=True)
    site.chmod(0o700)
    lines = ["[core]", "    remote = flows", "    analytics = false", "    autostage = false"]
    lines += [f"    site_cache_dir = {site}"]
    lines += ["[cache]", f"    dir = {cache}", "    type = reflink,copy"]
    lines += ["['remote \"flows\"']", f"    url = {settings.dvc_remote}", "    verify = true"]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and settings.dvc_remote.startswith("s3://"):
        lines.append(f"    endpointurl = {endpoint}")
    path = folder / ".dvc/config.local"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
