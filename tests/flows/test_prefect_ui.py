"""Prefect's pages in a real browser, of a retrain that ended well and of one that did not, and a thousand runs behind.

`pytest -s` prints how long each page took until it showed what it is for.
"""

import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, expect, sync_playwright
from prefect import flow, runtime
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import object_store
from flows.artifacts import leave_page, leave_table, shown
from flows.prefect_settings import DATABASE
from tests.flows.api import wait
from tests.flows.operator import Operator
from tests.servers import http_server

CHROMIUM = shutil.which("chromium")
NUM_RUNS = 1000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.skipif(object_store.weed() is None, reason="no S3 server on this platform"),
    pytest.mark.skipif(DATABASE in os.environ, reason="the thousand runs are written into SQLite"),
]


@pytest.fixture(scope="module")
def run(operator: Operator) -> str:
    """Return the id of a retrain that has published and promoted, beside a thousand older ones."""
    run = operator.run("retrain/weekly", model="pets")
    assert run["state"]["type"] == "COMPLETED"
    _add_runs(operator.stack.folder / "prefect/prefect.db", run["id"])
    assert len(operator.api.runs(name={"like_": "older-"})) == 200  # a page of the answer
    return str(run["id"])


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


@contextmanager
def opened(browser: Browser, address: str, text: str) -> Iterator[Page]:
    """Open a page, wait until it shows `text`, and yield it; its scripts must throw no errors."""
    errors: list[str] = []

    def note(error: Error) -> None:
        errors.append(error.message)

    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.on("pageerror", note)
    start = time.perf_counter()
    page.goto(address)
    expect(page.get_by_text(text).first).to_be_visible(timeout=60_000)
    print(f"{address}: {time.perf_counter() - start:.1f} s")
    try:
        yield page
    finally:
        page.close()
    assert errors == []


@pytest.mark.usefixtures("run")
def test_the_list_of_a_thousand_runs_is_shown(operator: Operator, browser: Browser) -> None:
    with opened(browser, f"{operator.stack.address}/runs", "older-"):
        pass


def test_the_page_of_a_retrain_shows_its_parts_and_the_stages_lines(
    operator: Operator, browser: Browser, run: str
) -> None:
    with opened(browser, f"{operator.stack.address}/runs/flow-run/{run}", "Running stage 'prepare':") as page:
        expect(page.get_by_text("weekly").first).to_be_visible(timeout=60_000)
        page.get_by_text("Artifacts", exact=True).last.click()
        expect(page.get_by_text("pets-decision").first).to_be_visible(timeout=60_000)


def test_the_page_of_a_failed_retrain_says_why(operator: Operator, browser: Browser) -> None:
    failed = operator.run("retrain/weekly", model="pets", revision="nowhere")

    with opened(browser, f"{operator.stack.address}/runs/flow-run/{failed['id']}", "has no such revision; branches: "):
        pass


@pytest.mark.parametrize(
    ("key", "text"),
    [("decision", "the first version: "), ("gate", "logistic"), ("metrics", "accuracy_low"), ("stages", "train/gpu")],
)
def test_what_a_retrain_leaves_is_shown(operator: Operator, browser: Browser, run: str, key: str, text: str) -> None:
    with opened(browser, artifact(operator, run, f"pets-{key}"), text):
        pass


def test_a_chart_of_the_report_is_shown_as_a_picture(operator: Operator, browser: Browser, run: str) -> None:
    address = artifact(operator, run, "pets-chart-accuracy-of-the-toy")

    with opened(browser, address, "pets-chart-accuracy-of-the-toy") as page:
        page.wait_for_function("document.images.length && document.images[0].complete")
        assert page.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]") == [240, 60]


@pytest.mark.parametrize("kind", ["page", "table"])
def test_names_and_labels_of_strangers_are_shown_as_text(operator: Operator, browser: Browser, kind: str) -> None:
    with http_server() as host:
        entity = host.url("/beacon.png").replace("/", "&#47;")  # a file's name holds no slash
        names = [
            f"<img src={entity}>.jpg",
            f"![]({host.url('/picture.png')})",
            f"see {host.url('/login')}, www.host.example or ann@host.example",
            f"[sign in]({entity}) | [sign in](javascript:alert(1))",
            r"great_pyrenees **pug** \\<b>&lt;b&gt; a_ _b # 1. 'c' ~~d~~ `e` \\",
            "1. of two",
        ]
        with temporary_settings({PREFECT_API_URL: operator.stack.api}):
            run = _left(kind, names)

        with opened(browser, artifact(operator, run, "strange"), "the last one") as page:
            for name in names:
                expect(page.get_by_text(name, exact=True).locator("visible=true").first).to_be_visible(timeout=60_000)
            page.wait_for_load_state("networkidle")
            assert page.locator("a[href*='host'], a[href*='login'], a[href*='javascript'], img").count() == 0

        assert host.requests == []


def _left(kind: str, names: list[str]) -> str:
    """Return the id of a run that has left the names on a page or in a table, and one in the description."""

    @flow
    def leaving() -> str:
        description = f"{names[0]} is the first one"
        if kind == "page":
            leave_page("\n\n".join([*map(shown, names), "the last one"]), "strange", description)
        else:
            leave_table([{"file": name} for name in [*names, "the last one"]], "strange", description)
        return str(runtime.flow_run.id)

    return leaving()


def artifact(operator: Operator, run: str, key: str) -> str:
    """Return the address of the page of what a run has left under this key."""
    asked = {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}
    (found,) = operator.api.post("/artifacts/filter", artifacts=asked)
    return f"{operator.stack.address}/artifacts/artifact/{found['id']}"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("artifacts", "pets-chart"),
        ("automations", "petmodels: end runs without a heartbeat"),
        ("deployments", "on-arrival"),
        ("work-pools", "gpu"),
        ("dashboard", "Flow Runs"),
    ],
)
@pytest.mark.usefixtures("run")
def test_the_operators_pages_are_shown(operator: Operator, browser: Browser, page: str, text: str) -> None:
    with opened(browser, f"{operator.stack.address}/{page}", text):
        pass


@pytest.mark.usefixtures("run")
def test_the_form_of_a_release_moves_the_alias_with_the_reason_that_was_typed(
    operator: Operator, browser: Browser
) -> None:
    deployment = operator.api.get("/deployments/name/release/manual")["id"]
    before = {run["id"] for run in operator.api.runs(deployment_id={"any_": [deployment]})}

    with opened(browser, f"{operator.stack.address}/deployments/deployment/{deployment}/run", "reason") as page:
        field(page, "alias", "textarea").fill("staging")
        page.get_by_text("int", exact=True).click()
        field(page, "version", "input").fill("1")
        field(page, "reason", "textarea").fill("Ann has looked at it")
        page.get_by_text("Submit", exact=True).click()
        wait(lambda: len(operator.api.runs(deployment_id={"any_": [deployment]})) > len(before), 60, "a run")

    (run,) = {run["id"] for run in operator.api.runs(deployment_id={"any_": [deployment]})} - before
    assert operator.ended(run)["state"]["message"] == "staging names pets@1: Ann has looked at it"
    steps = {alias.name: alias.steps for alias in operator.registry.aliases("pets")}
    assert [(step.version, step.note) for step in steps["staging"]] == [(1, f"Ann has looked at it (run {run[-12:]})")]


def field(page: Page, label: str, kind: str) -> Locator:
    """Return the field below a label; Prefect's labels name no field."""
    return page.locator(f"xpath=//label[starts-with(normalize-space(.), '{label} ')]/following::{kind}[1]")
