"""Whether the stores that the next retrain needs beside the registry are there: found at night, not amid a training.

Asks the git remote and the DVC remote one question each, and reads the signing key's file; leaves nothing.
"""

from collections.abc import Callable
from pathlib import Path

from flows.children import output
from flows.errors import FlowError, RemoteError
from flows.settings import DVC_REMOTE, Settings
from petmodels.errors import PetmodelsError
from petmodels.signing import check_key_file
from petmodels.storage import open_storage

# A host that says nothing is waited for without end by ssh and git://; over http git itself ends after a minute.
MOST_SECONDS = 120.0


def lacking(settings: Settings) -> list[str]:
    """Return a sentence for each that isn't there or can't be read; where a retrain has published, all were there."""
    checks: tuple[Callable[[Settings], None], ...] = (_check_git, _check_dvc_remote, _check_key)
    return [told for told in (_told(check, settings) for check in checks) if told]


def _told(check: Callable[[Settings], None], settings: Settings) -> str:
    try:
        check(settings)
    except (FlowError, PetmodelsError) as error:
        return str(error)
    return ""


def _check_git(settings: Settings) -> None:
    # In no repository: its settings would count.
    output(["git", "ls-remote", "--", settings.git, "HEAD"], Path("/"), timeout_seconds=MOST_SECONDS)


def _check_dvc_remote(settings: Settings) -> None:
    """Raise RemoteError unless DVC has left something there; what each version needs only a `dvc status` would say."""
    if next(open_storage(settings.dvc_remote).folders("files/md5/"), None) is None:
        raise RemoteError(f"{DVC_REMOTE} holds nothing of DVC's: {settings.dvc_remote}")


def _check_key(settings: Settings) -> None:
    if settings.signing_key:
        check_key_file(settings.signing_key)
