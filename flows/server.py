"""Prefect's server, whose transactions on SQLite take turns.

`python -m flows.server start` takes the arguments of `prefect server start`, except --background: the server has to run
in this process.
"""

import gc
import runpy
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import SQLITE_BEGIN_MODE
from prefect.server.database.interface import PrefectDBInterface
from sqlalchemy.ext.asyncio import AsyncSession


def take_turns() -> None:
    """Let each of Prefect's transactions wait for SQLite's write lock where it begins, before it has read anything.

    Prefect begins them with a read. When another one commits before its first write, SQLite refuses that write at
    once, however long the time-out: it would rest on what is no longer so. An event whose evaluation is refused four
    times is dropped, and nobody is told of the run that failed. A refusal may also stop the whole server for a minute.

    A session without a transaction begins none, though Prefect may open it while another one's is under way: it would
    wait for the lock that the other one holds. On other databases nothing changes.
    """
    plain = PrefectDBInterface.session_context

    @asynccontextmanager
    async def in_turn(
        self: PrefectDBInterface, begin_transaction: bool = False, with_for_update: bool = False
    ) -> AsyncIterator[AsyncSession]:
        mode = SQLITE_BEGIN_MODE.set(None)
        try:
            async with plain(self, begin_transaction, with_for_update=begin_transaction or with_for_update) as session:
                yield session
        finally:
            SQLITE_BEGIN_MODE.reset(mode)

    PrefectDBInterface.session_context = in_turn  # type: ignore[method-assign]  # Prefect has no setting for this


if __name__ == "__main__":
    if {"-b", "--background"} & set(sys.argv):
        sys.exit("server: in the background its transactions would take no turns; leave --background out")
    gc.set_threshold(100_000)  # what it imports stays: to look for garbage among it takes an eighth of its start
    take_turns()
    sys.argv[1:1] = ["server"]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
