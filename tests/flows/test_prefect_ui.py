"""Prefect's pages in a real browser, with the project's own deployments and a thousand runs behind them.

`pytest -s` prints how long each page took until it showed what it is for.
"""

import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright

from flows import object_store
from flows.stack import Options, Stack, running_stack
from tests.flows.api import Api
from tests.flows.stand_ins import checkout

CHROMIUM = shutil.which("chromium")
NUM_RUNS = 1000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.skipif(object_store.weed() is None, reason="no S3 server on this platform"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    project = checkout(tmp_path_factory.mktemp("project") / "checkout", real=True)
    options = Options(checkout=project, pools=(), notify="http://127.0.0.1:9/nobody")
    with running_stack(tmp_path_factory.mktemp("stack"), options) as running:
        yield running


@pytest.fixture(scope="module")
def run(stack: Stack) -> str:
    """Return the id of a run with artifacts, beside a thousand older ones."""
    api = Api(stack.api)
    run = api.run("release/manual", model="pets", action="rollback", reason="it mistakes every Bombay")
    api.post("/artifacts/", key="report", type="markdown", data="# Accuracy 84.7 %", flow_run_id=run)
    table = '[{"rule": "accuracy", "verdict": "better"}]'
    api.post("/artifacts/", key="gate", type="table", data=table, flow_run_id=run)
    _add_runs(stack.folder / "prefect/prefect.db", run)
    assert len(api.runs(name={"like_": "older-"})) == 200  # a page of the answer
    return run


def _add_runs(database: Path, pattern: str) -> None:
    """Copy the run `pattern` and its state a thousand times, as if each had completed."""
    with sqlite3.connect(database, timeout=60) as connection:
        connection.row_factory = sqlite3.Row
        run = dict(connection.execute("select * from flow_run where id = ?", [pattern]).fetchone())
        state = dict(connection.execute("select * from flow_run_state where id = ?", [run["state_id"]]).fetchone())
        for number in range(NUM_RUNS):
            ids = {"run": str(uuid.uuid4()), "state": str(uuid.uuid4())}
            done = {"id": ids["state"], "flow_run_id": ids["run"], "type": "COMPLETED", "name": "Completed"}
            _insert(connection, "flow_run_state", state | done)
            copied = {"id": ids["run"], "state_id": ids["state"], "name": f"older-{number}", "idempotency_key": None}
            _insert(connection, "flow_run", run | copied | {"state_type": "COMPLETED", "state_name": "Completed"})
    connection.close()


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    connection.execute(f"insert into {table} ({names}) values ({', '.join('?' * len(row))})", list(row.values()))  # noqa: S608


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def shown(browser: Browser, address: str, text: str) -> list[str]:
    """Open a page and wait until it shows `text`; return the errors that its scripts threw."""
    errors: list[str] = []

    def note(error: Error) -> None:
        errors.append(error.message)

    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.on("pageerror", note)
    start = time.perf_counter()
    page.goto(address)
    expect(page.get_by_text(text).first).to_be_visible(timeout=60_000)
    print(f"{address}: {time.perf_counter() - start:.1f} s")
    page.close()
    return errors


def test_the_list_of_a_thousand_runs_is_shown(stack: Stack, browser: Browser, run: str) -> None:
    assert shown(browser, f"{stack.address}/runs", "older-") == []


def test_the_page_of_a_run_is_shown_with_its_deployment(stack: Stack, browser: Browser, run: str) -> None:
    assert shown(browser, f"{stack.address}/runs/flow-run/{run}", "manual") == []


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("artifacts", "report"),
        ("automations", "petmodels: end runs without a heartbeat"),
        ("deployments", "on-arrival"),
        ("work-pools", "gpu"),
        ("dashboard", "Flow Runs"),
    ],
)
def test_the_operators_pages_are_shown(stack: Stack, browser: Browser, run: str, page: str, text: str) -> None:
    assert shown(browser, f"{stack.address}/{page}", text) == []


def test_the_form_of_a_release_asks_for_a_reason(stack: Stack, browser: Browser, run: str) -> None:
    deployment = Api(stack.api).get("/deployments/name/release/manual")["id"]
    assert shown(browser, f"{stack.address}/deployments/deployment/{deployment}/run", "reason") == []
