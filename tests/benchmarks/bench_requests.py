"""How many requests a step costs, counted by a proxy in front of the S3 server: with nothing to fetch, and with ten
thousand versions. Versions count downwards in the keys, so that the newest ones come first in any listing.
"""

import os
from pathlib import Path

from petmodels.registry import Registry
from tests.benchmarks.measure import Row
from tests.petmodels.bundles import make_bundle
from tests.petmodels.proxy import Proxy, proxying
from tests.petmodels.stores import BUCKET, serving
from tests.petmodels.test_many_versions import costs, fill

TITLE = "Requests"
_FEW, _MANY = 10, 10_000


def rows(folder: Path, repeats: int) -> list[Row]:
    """Count once: requests don't vary."""
    (folder / "store").mkdir()
    with serving(folder / "store") as server, proxying(server.endpoint) as proxy:
        os.environ.update(server.environment())
        found = {}
        for number in (_FEW, _MANY):
            address = f"s3://{BUCKET}/{number}"
            os.environ["AWS_ENDPOINT_URL"] = server.endpoint
            fill(Registry(address), make_bundle(folder / f"first-{number}", tag=str(number)), number)
            os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
            found[number] = costs(proxy, Registry(address, cache=folder / str(number)), folder / f"new-{number}")
        warm = [_warm(proxy, folder, spec, most) for spec, most in (("pets@production", 1), ("pets@1", 0))]
    return [*warm, *(_row(step, found[_FEW][step], found[_MANY][step]) for step in found[_FEW])]


def _warm(proxy: Proxy, folder: Path, spec: str, most: int) -> Row:
    address, cache = f"s3://{BUCKET}/{_MANY}", folder / str(_MANY)
    Registry(address, cache=cache).pull(spec, folder / spec)
    proxy.requests.clear()
    Registry(address, cache=cache).pull(spec, folder / spec)
    found = len(proxy.requests)
    return Row(what=f"warm pull of {spec}", figure=f"{found}", target=f"≤ {most}", held=found <= most)


def _row(step: str, few: int, many: int) -> Row:
    figure = f"{few} with {_FEW} versions, {many} with {_MANY:,}"
    return Row(what=step, figure=figure, target="no more", held=many <= few)
