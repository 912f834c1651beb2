"""Run DVC commands one after the other: `python -P dvc_commands.py "repro --pull split" "push --run-cache split"`.

In one process, because DVC and what it needs for S3 take a second to import; with `-P`, because modules beside this
file have names that others use. Says which command begins, and ends with the status of the first that fails. Leaves
what they leave; imports nothing of the project.
"""

import runpy
import shlex
import sys
from collections.abc import Sequence

BEGINS = "> dvc "


def main(commands: Sequence[str]) -> int:
    """Run the commands until one fails; return its status, else 0."""
    for command in commands:
        print(f"{BEGINS}{command}", flush=True)
        if status := _status(command):
            return status
    return 0


def _status(command: str) -> int:
    sys.argv = ["dvc", *shlex.split(command)]
    try:
        runpy.run_module("dvc", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
