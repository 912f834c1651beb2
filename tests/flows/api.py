"""Ask a Prefect server over plain HTTP: the tests' view of it owes nothing to Prefect's own client."""

import json
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError


@dataclass(frozen=True)
class Api:
    """The API at an address such as http://127.0.0.1:4200/api."""

    address: str

    def get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def post(self, path: str, **content: object) -> Any:
        return self._send("POST", path, content)

    def patch(self, path: str, **content: object) -> Any:
        return self._send("PATCH", path, content)

    def delete(self, path: str) -> Any:
        return self._send("DELETE", path, None)

    def run(self, deployment: str, **parameters: object) -> str:
        """Ask for a run of `flow/deployment` now; return its id."""
        found = self.get(f"/deployments/name/{deployment}")
        content = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}
        run = self.post(f"/deployments/{found['id']}/create_flow_run", **content)
        return str(run["id"])

    def runs(self, **conditions: object) -> list[Any]:
        """Return the runs that fulfil `conditions`, as Prefect's filters for flow runs say it."""
        found: list[Any] = self.post("/flow_runs/filter", flow_runs=conditions or None, limit=200)
        return found

    def state(self, run: str) -> str:
        return str(self.get(f"/flow_runs/{run}")["state"]["name"])

    def emit(self, event: str, resource: str, *, tag: str | None = None, **payload: object) -> None:
        """Send an event as a flow would; `tag` is one of its run's."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        content = {"id": str(uuid.uuid4()), "occurred": now, "event": event, "payload": payload}
        related = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}] if tag else []
        self._send("POST", "/events", [content | {"resource": {"prefect.resource.id": resource}, "related": related}])

    def _send(self, method: str, path: str, content: object) -> Any:
        """Send a request; again while the server is busy, as its own client does: with SQLite a write may be."""
        data = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)  # noqa: S310
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    text = answer.read()
                return json.loads(text) if text else None
            except TimeoutError:
                continue
            except HTTPError as error:
                error.close()
                if error.code != 503:
                    raise
                time.sleep(0.5)
        raise AssertionError(f"no answer, or 503, again and again: {method} {path}")


def wait(
    condition: Callable[[], object], seconds: float, what: str, *, why: Callable[[], object] = str, every: float = 0.3
) -> float:
    """Wait until `condition`; return how many seconds it took. Fails, saying `what` and `why`, when it takes longer."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} seconds: {what}; {why()}"
        time.sleep(every)
    return time.monotonic() - start
