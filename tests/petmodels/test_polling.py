"""A client that asks again and again pays for what moved, and is told of all that did."""

import os
from pathlib import Path

import pytest

from petmodels import aliases
from petmodels.documents import Statement, dump, load_object
from petmodels.errors import ReplayError
from petmodels.names import alias_key
from petmodels.registry import Registry
from petmodels.storage import Storage
from tests.petmodels.bundles import write_files
from tests.petmodels.proxy import FOREVER, Fault, Proxy

KEY = alias_key("pets", "production")


@pytest.fixture
def polled(registry: Registry, tmp_path: Path) -> Registry:
    """Return a registry whose production named pets@1 and names pets@2, as this machine has seen."""
    for number in (1, 2):
        registry.publish(write_files(tmp_path / f"bundle{number}", {"a": bytes([number])}), "pets")
        registry.promote(f"pets@{number}", "production")
    assert registry.manifest("pets@production").version == 2
    return registry


def elsewhere(registry: Registry, tmp_path: Path) -> Registry:
    """Return the registry as another machine sees it."""
    return Registry(registry.storage.address, cache=tmp_path / "another machine")


def seen(tmp_path: Path) -> Path:
    """Return the history that this machine remembers."""
    return next((tmp_path / "cache/seen").rglob("production.jsonl"))


def kept(tmp_path: Path) -> dict[str, tuple[int, bytes]]:
    """Return which files the memory is made of, and what is in them; what is written again is another file."""
    files = [path for path in (tmp_path / "cache/seen").rglob("*") if path.is_file()]
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in files}


def test_an_alias_that_has_not_moved_costs_no_body_and_no_write(
    proxy: Proxy, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(s3_address)
    registry.publish(write_files(tmp_path / "bundle", {"a": b"1"}), "pets")
    registry.promote("pets@1", "production")
    registry.manifest("pets@production")
    os.utime(seen(tmp_path), (0, 0))
    before = kept(tmp_path)
    monkeypatch.setattr(os, "fsync", None)
    proxy.answers.clear()

    assert Registry(s3_address).manifest("pets@production").version == 1

    assert [(method, status, num_bytes) for method, _, status, num_bytes in proxy.answers] == [("GET", 304, 0)]
    assert kept(tmp_path) == before
    assert seen(tmp_path).stat().st_mtime > 0, "a day without a network would call it stale"


def counting_statements(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that grows by each statement of an alias that is parsed from now on."""
    parsed: list[bytes] = []
    load_statement = aliases.load_statement

    def counted(data: bytes, where: str) -> Statement:
        parsed.append(data)
        return load_statement(data, where)

    monkeypatch.setattr(aliases, "load_statement", counted)
    return parsed


def test_an_alias_that_has_not_moved_is_read_no_further_than_its_last_step(
    polled: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = counting_statements(monkeypatch)

    assert polled.manifest("pets@production").version == 2
    assert len(parsed) == 1


def test_an_alias_that_has_moved_is_read_once(
    polled: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(polled, tmp_path).rollback("pets", "production")
    parsed = counting_statements(monkeypatch)

    assert polled.manifest("pets@production").version == 1
    assert len(parsed) == 3


def test_every_move_is_seen_between_polls_that_find_none(polled: Registry, tmp_path: Path) -> None:
    other, found = elsewhere(polled, tmp_path), []

    for version in (1, 2, 1):
        other.promote(f"pets@{version}", "production")
        found += [polled.manifest("pets@production").version for _ in range(2)]

    assert found == [1, 1, 2, 2, 1, 1]


@pytest.mark.slow
def test_a_store_that_does_not_know_the_condition_answers_as_before(
    proxy: Proxy, s3_address: str, tmp_path: Path
) -> None:
    registry = Registry(s3_address)
    for number in (1, 2):
        registry.publish(write_files(tmp_path / f"bundle{number}", {"a": bytes([number])}), "pets")
    registry.promote("pets@1", "production")
    proxy.faults.append(Fault(method="GET", part="production", times=FOREVER, without=("if-none-match",)))

    found = [registry.manifest("pets@production").version for _ in range(2)]
    elsewhere(registry, tmp_path).promote("pets@2", "production")
    found.append(registry.manifest("pets@production").version)

    assert found == [1, 1, 2]
    assert {status for method, path, status, _ in proxy.answers if "production" in path and method == "GET"} <= {
        200,
        404,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("production.etag", b""),
        ("production.etag", b'{"etag":"0'),
        ("production.etag", b'{"etag":"0","sha256":"0"}'),
        ("production.jsonl", b'{"payload":"'),
        ("production.jsonl", b"\xff" * 99),
        ("production.jsonl", b""),
    ],
    ids=["no mark", "half a mark", "another mark", "half a history", "junk", "nothing"],
)
def test_a_memory_that_is_not_whole_is_asked_for_anew(
    polled: Registry, tmp_path: Path, name: str, content: bytes
) -> None:
    whole = {file: data for file, (_, data) in kept(tmp_path).items()}
    seen(tmp_path).with_name(name).write_bytes(content)

    assert polled.manifest("pets@production").version == 2

    assert {file: data for file, (_, data) in kept(tmp_path).items()} == whole


def test_a_mark_that_is_no_text_is_none(polled: Registry, tmp_path: Path) -> None:
    mark = seen(tmp_path).with_name("production.etag")
    whole = mark.read_bytes()
    mark.write_bytes(dump(load_object(whole, "") | {"etag": 7}).encode())

    assert polled.manifest("pets@production").version == 2

    assert mark.read_bytes() == whole


def test_an_alias_that_was_set_back_is_refused_by_who_asks_with_a_mark(polled: Registry, tmp_path: Path) -> None:
    old, _ = polled.storage.read(KEY, 10**6)
    elsewhere(polled, tmp_path).promote("pets@1", "production")
    assert [polled.manifest("pets@production").version for _ in range(2)] == [1, 1]
    polled.storage.delete(KEY)
    polled.storage.create(KEY, old)

    for _ in range(2):
        with pytest.raises(ReplayError, match=r"the registry shows an older pets@production"):
            polled.manifest("pets@production")


@pytest.mark.slow
@pytest.mark.parametrize("moves", [[], [1, 2]], ids=["nothing had moved", "it had moved"])
def test_what_another_process_here_saw_meanwhile_is_the_answer(
    polled: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: list[int]
) -> None:
    """The store answers; then somebody promotes and another process of this machine reads it."""
    for version in moves:
        elsewhere(polled, tmp_path).promote(f"pets@{version}", "production")
    read_changed, waiting = type(polled.storage).read_changed, ["promote"]

    def slow(storage: Storage, key: str, limit: int, etag: str) -> tuple[bytes, str] | None:
        found = read_changed(storage, key, limit, etag)  # type: ignore[arg-type]
        if waiting:
            waiting.clear()
            elsewhere(polled, tmp_path).promote("pets@1", "production")
            Registry(polled.storage.address).manifest("pets@production")
        return found

    monkeypatch.setattr(type(polled.storage), "read_changed", slow)

    assert polled.manifest("pets@production").version == 1
