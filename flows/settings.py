"""What a worker must know of the world: addresses, from its environment, so that no parameter of a flow holds one.

Reads environment variables; leaves nothing. Credentials are not among them: the programs that need them (git, DVC,
boto3) find them where they always do.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from flows.errors import SettingsError
from flows.telling import redacted
from petmodels.errors import AddressError
from petmodels.storage import open_storage

REGISTRY = "PETMODELS_REGISTRY"
GIT = "PETMODELS_GIT"
DVC_REMOTE = "PETMODELS_DVC_REMOTE"
WORKSPACES = "PETMODELS_WORKSPACES"
DROP = "PETMODELS_DROP"
SIGNING_KEY = "PETMODELS_SIGNING_KEY"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a worker finds everything.

    `registry` is petmodels' address; `git` what `git clone` takes; `dvc_remote` an `s3://bucket/prefix` or a folder;
    `workspaces` a folder of this machine for clones and DVC's cache; `drop` where people leave photographs, "" for
    nowhere; `signing_key` the file of the key that versions are signed with, None for unsigned ones.
    """

    registry: str
    git: str
    dvc_remote: str
    workspaces: Path
    drop: str = ""
    signing_key: Path | None = None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Return the settings of this machine.

        Raises SettingsError naming the first variable that is missing, and for a drop that isn't apart from the stores.
        """
        found = cls(
            registry=_variable(REGISTRY, "s3://bucket/models"),
            git=_checked(_variable(GIT, "git@example.org:petmodels.git")),
            dvc_remote=_variable(DVC_REMOTE, "s3://bucket/dvc"),
            workspaces=Path(os.environ.get(WORKSPACES) or _default_folder()).expanduser().absolute(),
            drop=os.environ.get(DROP, ""),
            signing_key=_signing_key(),
        )
        _check_drop(found)
        return found

    @property
    def checkpoints(self) -> str:
        """Where checkpoints of trainings lie while they run: beside DVC's own folders of its remote."""
        return f"{self.dvc_remote.rstrip('/')}/checkpoints"


def _variable(name: str, example: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(f"the worker's environment lacks {name}; set it, for example to {example}")
    return value


def _signing_key() -> Path | None:
    value = os.environ.get(SIGNING_KEY)
    if value == "":  # as an unfilled ${KEY} leaves it: whoever wrote that meant to sign
        raise SettingsError(f"{SIGNING_KEY} is set and names no file; to publish unsigned versions, unset it")
    return Path(value) if value else None


def _checked(address: str) -> str:
    """Return an address of git's; raise SettingsError for one that is an option to git or may hold a secret."""
    if address.startswith("-"):
        raise SettingsError(f"{GIT} begins with a dash, and git would take it for an option: {redacted(address)}")
    scheme, separator, rest = address.partition("://")
    user, at, _ = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")
    # Over https a token may stand for the user's name.
    if separator and at and (":" in user or scheme.lower() in {"http", "https"}):
        raise SettingsError(
            f"{GIT} names a user, and git would show one that is a password; leave it out, and use an ssh key or a "
            "credential helper"
        )
    return address


def _check_drop(settings: Settings) -> None:
    """Raise SettingsError where ingest would take a store's files for photographs, or a store has the drop's in it."""
    for name, address in ((REGISTRY, settings.registry), (DVC_REMOTE, settings.dvc_remote)):
        drop, store = _parts(settings.drop), _parts(address)
        num_shared = min(len(drop), len(store))
        if num_shared and drop[:num_shared] == store[:num_shared]:
            told = f"{DROP} and {name} lie in one another, and ingest takes away what lies in the drop"
            raise SettingsError(f"{told}; give the drop a prefix or folder of its own: {settings.drop}")


def _parts(address: str) -> tuple[str, ...]:
    """Return an address part by part, a folder's as links lead to it; () for what is neither in S3 nor a folder."""
    try:
        found = open_storage(address).address
    except AddressError:  # none is said, or whoever uses it says what is wrong
        return ()
    return tuple(found.split("/")) if "://" in found else Path(os.path.realpath(found)).parts


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "petmodels" / "workspaces"
