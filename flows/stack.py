"""Run everything that the flows need on this machine, in one terminal: `make stack`.

A Prefect server, an S3 store, a git remote, the work pools with a worker each, the deployments of prefect.yaml and the
automations. All state is in one folder, build/stack by default, and is found again by the next start; Ctrl-C ends
every process. The workers share nothing but git and the store: each has a workspace folder of its own.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from flows import object_store
from flows.errors import StackError
from flows.prefect_settings import SERVER, WORKER, ZOMBIE_SECONDS
from flows.remote import push_head
from flows.services import MARK, Service, check_port, end_marked

PORT, S3_PORT = 4200, 8333
PYTHON = sys.executable


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may differ between stacks.

    A port of None is any free one, kept over restarts. `checkout` is where prefect.yaml and the flows are. `pools` gets
    a worker for every entry. `git` is the project's remote; without one, a bare repository is made from HEAD.
    `deploy` can be switched off, to have the servers and workers alone.
    """

    checkout: Path = field(default_factory=Path.cwd)
    port: int | None = None
    s3_port: int | None = None
    pools: tuple[str, ...] = ("cpu", "gpu")
    git: str | None = None
    notify: str | None = None
    zombie_seconds: int = ZOMBIE_SECONDS
    deploy: bool = True


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that runs. `variables` are what a client of it needs: prefect, petmodels, dvc, aws."""

    folder: Path
    address: str
    store: object_store.Server
    variables: dict[str, str]
    services: dict[str, Service]

    @property
    def api(self) -> str:
        return f"{self.address}/api"

    def restart(self, name: str) -> None:
        """Start the service `name`, which was killed, again; return when it answers."""
        service = self.services[name]
        service.start()
        service.wait_until(self.readiness(name), 90)

    def readiness(self, name: str) -> Callable[[], bool]:
        """Return what says whether the service `name` answers."""
        if name == "server":
            return lambda: _is_healthy(self.api)
        if name == "s3":
            return lambda: object_store.answers(self.store)
        log = self.services[name].log
        length = log.stat().st_size if log.exists() else 0
        return lambda: b" started!" in log.read_bytes()[length:]


@contextmanager
def running_stack(folder: Path, options: Options | None = None) -> Iterator[Stack]:
    """Run a stack whose state is in `folder` until the block ends.

    Raises StackError when one runs there already, a port is busy, or a part doesn't come up.
    """
    folder, options = folder.resolve(), options or Options()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if left := end_marked(str(folder)):
            _say(f"ended {left} processes that an earlier stack had left")
        stack = _planned(folder, options)
        try:
            _start(stack, options)
            yield stack
        finally:
            _stop(stack)


def _planned(folder: Path, options: Options) -> Stack:
    ports = _ports(folder / "ports.json", options)
    (folder / "s3").mkdir(exist_ok=True)
    store, command = object_store.prepared(folder / "s3", port=ports["s3"])
    address = f"http://127.0.0.1:{ports['prefect']}"
    variables = _variables(folder, address, store, options)
    logs = folder / "logs"
    services = {"s3": Service("s3", command, variables, logs, folder / "s3")}
    start = [PYTHON, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports["prefect"])]
    services["server"] = Service("server", start, variables | SERVER, logs)
    for name, pool, own in _workers(options.pools):
        command = [PYTHON, "-m", "prefect", "worker", "start", "--type", "process", "--pool", pool, "--name", name]
        own_folder = folder / "workspaces" / name
        workspaces = {"PETMODELS_WORKSPACES": str(own_folder), "PETMODELS_CACHE": str(own_folder / "models")}
        services[name] = Service(name, command, variables | WORKER | workspaces | own, logs)
    return Stack(folder=folder, address=address, store=store, variables=variables, services=services)


def _workers(pools: tuple[str, ...]) -> list[tuple[str, str, dict[str, str]]]:
    """Return name, pool and variables of each worker. Several of the GPU pool take one GPU each."""
    workers = []
    for number, pool in enumerate(pools):
        place = pools[:number].count(pool)
        own = {"CUDA_VISIBLE_DEVICES": str(place)} if pool == "gpu" and pools.count("gpu") > 1 else {}
        workers.append((f"{pool}-{place + 1}", pool, own))
    return workers


def _variables(folder: Path, address: str, store: object_store.Server, options: Options) -> dict[str, str]:
    """Return the environment of every process of the stack. Nothing of another Prefect or another S3 remains in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AWS_"))}
    path = os.pathsep.join([str(Path(PYTHON).parent), os.environ.get("PATH", "")])
    bucket = f"s3://{object_store.BUCKET}"
    ours = {
        MARK: str(folder),
        "PATH": path,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"{address}/api",
        "PETMODELS_CHECKOUT": str(options.checkout.resolve()),
        "PETMODELS_GIT": options.git or str(folder / "project.git"),
        "PETMODELS_REGISTRY": f"{bucket}/registry",
        "PETMODELS_DVC_REMOTE": f"{bucket}/dvc",
        "PETMODELS_DROP": f"{bucket}/drop",
    }
    notify = {"PETMODELS_NOTIFY": options.notify} if options.notify else {}
    return kept | store.environment() | ours | notify


def _start(stack: Stack, options: Options) -> None:
    """Start the parts in the order in which they need each other."""
    if options.git is None:
        _say(push_head(options.checkout, stack.folder / "project.git"))
    for name in ("s3", "server"):
        stack.services[name].start()
    for name in ("s3", "server"):
        stack.services[name].wait_until(stack.readiness(name), 90)
    gpus = str(max(1, options.pools.count("gpu")))
    prepare = ["-m", "flows.prepare", "--gpus", gpus, "--zombie-seconds", str(options.zombie_seconds)]
    _run(stack, options, "prepare", prepare)
    if options.deploy:
        _run(stack, options, "deploy", ["-m", "prefect", "--no-prompt", "deploy", "--all"])
    waiting = []
    for name in list(stack.services)[2:]:
        waiting.append((stack.services[name], stack.readiness(name)))
        stack.services[name].start()
    for service, is_ready in waiting:
        service.wait_until(is_ready, 90)


def _run(stack: Stack, options: Options, name: str, arguments: list[str]) -> None:
    """Run a program that ends, in the checkout. Raises StackError with its last line when it fails."""
    service = Service(name, [PYTHON, *arguments], stack.variables, stack.services["s3"].logs, options.checkout)
    service.start()
    assert service.process
    if service.process.wait(timeout=180):
        raise StackError(f"{name} failed: {service.last_line()}; its log: {service.log}")


def _stop(stack: Stack) -> None:
    """End the workers with their runs while the server can still note it, then everything else."""
    for name in reversed(stack.services):
        stack.services[name].stop()
    end_marked(str(stack.folder))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"a stack runs in this folder already; end it, or give --folder: {folder}") from error
        yield


def _ports(path: Path, options: Options) -> dict[str, int]:
    """Return the ports asked for, or those of the last start, or free ones. Raises StackError when one is busy."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    ports = {
        "prefect": options.port or kept.get("prefect") or object_store.free_port(),
        "s3": options.s3_port or kept.get("s3") or object_store.free_port(),
    }
    check_port(ports["prefect"], "--port")
    check_port(ports["s3"], "--s3-port")
    path.write_text(json.dumps(ports))
    return ports


def _is_healthy(api: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def main() -> None:
    """Run `python -m flows.stack` until Ctrl-C; exits with 1 when the stack can't be started."""
    parser = argparse.ArgumentParser(prog="python -m flows.stack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/stack"), help="where all state is kept")
    parser.add_argument("--port", type=int, default=PORT, help=f"of Prefect's server and UI (default {PORT})")
    parser.add_argument("--s3-port", type=int, default=S3_PORT, help=f"of the S3 store (default {S3_PORT})")
    parser.add_argument("--gpus", type=int, default=1, help="how many workers the pool gpu gets (default 1)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    options = Options(
        port=arguments.port,
        s3_port=arguments.s3_port,
        pools=("cpu", *["gpu"] * arguments.gpus),
        git=os.environ.get("PETMODELS_GIT"),
        notify=os.environ.get("PETMODELS_NOTIFY"),
    )
    try:
        with running_stack(arguments.folder, options) as stack:
            _tell(stack)
            _watch(stack)
    except StackError as error:
        sys.exit(f"stack: {error}")
    except KeyboardInterrupt:
        _say("ended; `make stack` goes on from here")


def _tell(stack: Stack) -> None:
    client = ("PREFECT_API_URL", "PETMODELS_REGISTRY", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    (stack.folder / "environment").write_text(
        "".join(f"export {name}='{stack.variables[name]}'\n" for name in (*client, "AWS_REGION"))
    )
    print(
        f"Prefect   {stack.address}\n"
        f"S3        {stack.store.endpoint}, bucket {object_store.BUCKET}\n"
        f"registry  {stack.variables['PETMODELS_REGISTRY']}\n"
        f"git       {stack.variables['PETMODELS_GIT']}\n"
        f"drop      {stack.variables['PETMODELS_DROP']}\n"
        f"logs      {stack.services['s3'].logs}\n"
        f"next      in another terminal: source {stack.folder / 'environment'}; Ctrl-C here ends everything",
        flush=True,
    )


def _watch(stack: Stack) -> None:
    """Start again what ends by itself, for as long as nobody presses Ctrl-C."""
    while True:
        for name, service in stack.services.items():
            if not service.is_alive:
                _say(f"{name} ended: {service.last_line()}; starting it again")
                stack.restart(name)
        time.sleep(1)


def _say(line: str) -> None:
    print(f"stack: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
