"""Prefect's server, whose transactions on SQLite take turns.

`python -m flows.server start` takes the arguments of `prefect server start`.
"""

import runpy
import sys

from sqlalchemy import event
from sqlalchemy.engine import Engine


def take_turns() -> None:
    """Let each of Prefect's transactions wait for SQLite's write lock where it begins, before it has read anything.

    Prefect begins them with a read. When another one commits before its first write, SQLite refuses that write at
    once, however long the time-out: it would rest on what is no longer so. An event whose evaluation is refused four
    times is dropped, and nobody is told of the run that failed. A refusal may also stop the whole server for a minute.
    Other databases are left alone.
    """
    event.listen(Engine, "before_cursor_execute", _immediate, retval=True)


def _immediate(*call: object) -> tuple[object, object]:
    _connection, _cursor, statement, parameters, *_ = call
    return "BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement, parameters


if __name__ == "__main__":
    take_turns()
    sys.argv[1:1] = ["server"]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
