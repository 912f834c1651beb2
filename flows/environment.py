"""What programs inherit that are started here.

A git hook's variables would lead every git below it to the hook's repository. A stack and the demo, which commit and
push between folders of one machine, also take no notice of what a person's git asks or starts at such times, and no way
round by a proxy. Reads the environment; leaves nothing.
"""

import getpass
import os
from collections.abc import Mapping

# As `git rev-parse --local-env-vars` lists them, but for settings, which name no repository.
_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
_GIT_SETTINGS = {"commit.gpgSign": "false", "push.gpgSign": "false", "core.hooksPath": os.devnull}
_HERE = "127.0.0.1,localhost"


def inherited() -> dict[str, str]:
    """Return this process's environment, whatever repository a git hook has named in it.

    A user whom the system has no name for, as a container's may be, gets one: DVC asks for it.
    """
    return {name: value for name, value in os.environ.items() if name not in _REPOSITORY} | _user()


def apart() -> dict[str, str]:
    """Return `inherited` for what stays on this machine: git signs nothing and starts no hooks, no proxy is asked."""
    variables = inherited()
    variables.pop("GIT_CONFIG_PARAMETERS", None)  # the options of a `git -c` whose hook we run in; they would win
    return variables | _git_settings(variables) | direct(variables)


def direct(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that let programs reach this machine itself without a proxy."""
    named = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    hosts = named if named.strip() == "*" else ",".join(filter(None, [named, _HERE]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _user() -> dict[str, str]:
    try:
        getpass.getuser()
    except (KeyError, OSError):
        return {"USER": f"user-{os.getuid()}"}
    return {}


def _git_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the settings behind those that the environment names already."""
    count = variables.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    added: dict[str, str] = {}
    for number, (name, value) in enumerate(_GIT_SETTINGS.items(), start=first):
        added |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return added | {"GIT_CONFIG_COUNT": str(first + len(_GIT_SETTINGS))}
