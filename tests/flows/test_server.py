"""Transactions of Prefect's server on SQLite, two at once: each reads, and then writes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TWO_AT_ONCE = """
import asyncio
import sqlalchemy as sa
from prefect.server.database import provide_database_interface

async def count(number: int) -> None:
    async with provide_database_interface().session_context(begin_transaction=True) as session:
        for word in ("read", "write"):
            if word == "read":
                await session.execute(sa.text("SELECT * FROM numbers"))
                await asyncio.sleep(0.5)
            else:
                await session.execute(sa.text(f"INSERT INTO numbers VALUES ({number})"))

async def main() -> None:
    async with (await provide_database_interface().engine()).begin() as connection:
        await connection.execute(sa.text("CREATE TABLE numbers (number INTEGER)"))
    await asyncio.gather(*(count(number) for number in range(2)))
    async with (await provide_database_interface().engine()).begin() as connection:
        print(sorted(row.number for row in await connection.execute(sa.text("SELECT * FROM numbers"))))

"""


def counted(folder: Path, first: str) -> subprocess.CompletedProcess[str]:
    code = f"{TWO_AT_ONCE}{first}asyncio.run(main())"
    environment = {"PREFECT_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=100)


def test_two_transactions_that_read_first_both_write(tmp_path: Path) -> None:
    done = counted(tmp_path, "from flows.server import take_turns; take_turns()\n")
    assert (done.stdout, done.returncode) == ("[0, 1]\n", 0), done.stderr


def test_in_the_background_there_would_be_no_turns() -> None:
    command = [sys.executable, "-m", "flows.server", "start", "--background"]

    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert (done.returncode, done.stderr) == (
        1, "server: in the background its transactions would take no turns; leave --background out\n"
    )  # fmt: skip


def test_without_turns_one_is_refused_which_is_why_there_are_turns(tmp_path: Path) -> None:
    """When this fails, Prefect or SQLite does better by now, and `flows.server` can go."""
    assert "database is locked" in counted(tmp_path, "").stderr
