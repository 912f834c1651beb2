"""Stacks whose Prefect server finds its tables made, which takes each one four seconds of processor to do.

The tables are made once by all processes that test together. Tests that show a stack from nothing on run it themselves.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from flows.prefect_settings import SERVER
from flows.stack import Options, Stack, running_stack


@contextmanager
def stack_with_tables(factory: pytest.TempPathFactory, options: Options) -> Iterator[Stack]:
    """Run a stack in a new folder until the block ends."""
    folder = factory.mktemp("stack")
    if not options.database:
        give_tables(factory, folder)
    with running_stack(folder, options) as stack:
        yield stack


def give_tables(factory: pytest.TempPathFactory, folder: Path) -> None:
    """Let the server of the stack that will run in a folder find its tables made."""
    (folder / "prefect").mkdir()
    shutil.copyfile(_database(factory), folder / "prefect" / "prefect.db")


def _database(factory: pytest.TempPathFactory) -> Path:
    """Return a database of Prefect's with all its tables and nothing in them; whoever comes first makes it."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "migrated"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            _make_tables(folder.with_suffix(".unfinished"))
            folder.with_suffix(".unfinished").rename(folder)
    return folder / "prefect.db"


def _make_tables(home: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    environment = kept | SERVER | {"PREFECT_HOME": str(home)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=180)
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what it wrote last may lie in a file beside it
