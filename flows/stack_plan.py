"""What a stack consists of: its programs, their commands, ports and variables, worked out before anything starts."""

import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from flows import object_store
from flows.environment import apart, direct, inherited
from flows.errors import StackError
from flows.prefect_settings import DATABASE, ORIGINS, SERVER, WORKER, ZOMBIE_SECONDS
from flows.services import MARK, Service, check_port
from petmodels.tree import Tree

PYTHON = sys.executable


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may differ between stacks.

    A port of None is any free one, kept over restarts. `checkout` is where prefect.yaml and the flows are. `pools` gets
    a worker for every entry. `git` is the project's remote; without one, a bare repository is made from the last commit
    of `project`, which is the checkout unless another is named; StackError where both are given.
    `deploy` can be switched off, to have the servers and workers alone. `database` is the address of the server's own,
    such as postgresql+asyncpg://…; without one, it is SQLite in the stack's folder.
    """

    checkout: Path = field(default_factory=Path.cwd)
    port: int | None = None
    s3_port: int | None = None
    pools: tuple[str, ...] = ("cpu", "gpu")
    git: str | None = None
    project: Path | None = None
    notify: str | None = None
    zombie_seconds: int = ZOMBIE_SECONDS
    deploy: bool = True
    database: str | None = None

    def __post_init__(self) -> None:
        if self.git and self.project:
            raise StackError(f"--project makes a git remote, and PETMODELS_GIT names one; unset either: {self.git}")


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


def planned(folder: Path, options: Options) -> Stack:
    ports = _ports(folder / "ports.json", options)
    (folder / "s3").mkdir(exist_ok=True)
    store, command = object_store.prepared(folder / "s3", port=ports["s3"])
    address = f"http://127.0.0.1:{ports['prefect']}"
    variables = _variables(folder, address, store, options)
    logs = folder / "logs"
    services = {"s3": Service("s3", command, variables, logs, folder / "s3")}
    start = [PYTHON, "-m", "flows.server", "start", "--host", "127.0.0.1", "--port", str(ports["prefect"])]
    database = {DATABASE: options.database} if options.database else {}
    settings = SERVER | database | {ORIGINS: f"{address},http://localhost:{ports['prefect']}"}
    services["server"] = Service("server", start, variables | settings, logs, options.checkout.resolve())
    temporary = own_temporary_folder()
    for name, pool, own in _workers(options.pools):
        command = [PYTHON, "-m", "prefect", "worker", "start", "--type", "process", "--pool", pool, "--name", name]
        own_folder = folder / "workspaces" / name
        own |= {"PETMODELS_WORKSPACES": str(own_folder), "PETMODELS_CACHE": str(own_folder / "models")}
        own |= {"TMPDIR": str(temporary)}
        own |= {"PREFECT_HOME": str(folder / f"prefect-{name}")}  # results that are kept there are no way between them
        services[name] = Service(name, command, variables | WORKER | own, logs)
    return Stack(folder=folder, address=address, store=store, variables=variables, services=services)


def own_temporary_folder() -> Path:
    """Return a folder of this user's for temporary files, made if need be; raise StackError where it is another's.

    Prefect's workers make a `runner_storage` among the temporary files, where a second user of the machine may not
    write. Its path is short, because the sockets of processes that load images are below it.
    """
    folder = Path(tempfile.gettempdir()) / f"petmodels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise StackError(f"this folder should be yours and is somebody else's; set TMPDIR to another place: {folder}")
    return folder


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
    is_local = options.git is None or Path(options.git).exists()
    # A remote elsewhere may want commits signed, so git stays as this person has it.
    ours_or_theirs = apart() if is_local else inherited() | direct(os.environ)
    kept = {name: value for name, value in ours_or_theirs.items() if not name.startswith(("PREFECT_", "AWS_"))}
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


def _ports(path: Path, options: Options) -> dict[str, int]:
    """Return the ports asked for, or those of the last start, or free ones. Raises StackError when one is busy."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    ports = {
        "prefect": options.port or kept.get("prefect") or object_store.free_port(),
        "s3": options.s3_port or kept.get("s3") or object_store.free_port(),
    }
    check_port(ports["prefect"], "--port")
    check_port(ports["s3"], "--s3-port")
    Tree(path.parent).write(path, lambda file: file.write(json.dumps(ports).encode()))
    return ports


def _is_healthy(api: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
