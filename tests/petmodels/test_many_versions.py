"""Many versions: no more requests than for ten where one is asked for, and together where all are read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from petmodels.commands_read import list_versions
from petmodels.documents import Statement
from petmodels.names import version_key
from petmodels.parallel import at_once
from petmodels.registry import Registry
from tests.petmodels.bundles import make_bundle, write_files
from tests.petmodels.proxy import FOREVER, Fault, Proxy
from tests.petmodels.stores import Server

FEW_VERSIONS, NUM_VERSIONS = 10, 1_100


def costs(proxy: Proxy, registry: Registry, folder: Path) -> dict[str, int]:
    """Return how many requests each step takes in a cache that has never seen the registry."""

    def cost(step: Callable[[], object]) -> int:
        proxy.requests.clear()
        step()
        return len(proxy.requests)

    return {
        "list": cost(lambda: registry.listing("pets")),
        "petmodels list": cost(lambda: list_versions("pets", registry=registry.storage.address, limit=10, json=False)),
        "petmodels list, all models": cost(
            lambda: list_versions("", registry=registry.storage.address, limit=10, json=False)
        ),
        "newest": cost(lambda: registry.newest("pets")),
        "pull": cost(lambda: registry.pull("pets")),
        "publish": cost(lambda: registry.publish(write_files(folder, {"a": b"another"}), "pets")),
        "promote": cost(lambda: registry.promote("pets", "production")),
    }


@pytest.mark.slow
def test_more_versions_than_a_page_lists_cost_no_more_requests_than_ten(
    proxy: Proxy, server: Server, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for number in (FEW_VERSIONS, NUM_VERSIONS):
        address = f"{s3_address}/{number}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        fill(Registry(address), make_bundle(tmp_path / f"first{number}", tag=str(number)), number)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        found[number] = costs(proxy, Registry(address, cache=tmp_path / str(number)), tmp_path / f"new{number}")

    print(f"requests with {NUM_VERSIONS} versions: {found[NUM_VERSIONS]}")
    assert found[NUM_VERSIONS] == found[FEW_VERSIONS]


@pytest.mark.slow
def test_verify_reads_manifests_together(proxy: Proxy, s3_address: str, tmp_path: Path) -> None:
    registry = Registry(s3_address)
    fill(registry, write_files(tmp_path / "bundle", {"a": b"1"}), 6)
    proxy.faults.append(Fault(method="GET", part="/versions/", stall_seconds=0.3, times=FOREVER))
    proxy.spans.clear()

    found = registry.verify_all("pets")

    assert (found.num_versions, found.findings) == (6, ())
    assert proxy.most_at_once("/versions/") > 1


def fill(registry: Registry, bundle: Path, num_versions: int) -> None:
    first = registry.publish(bundle, "pets").manifest

    def put(version: int) -> None:
        data = Statement(replace(first, version=version).to_payload()).to_bytes()
        assert registry.storage.create(version_key("pets", version), data)

    at_once(put, range(2, num_versions + 1))
