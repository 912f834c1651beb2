"""Run everything that the flows need on this machine, in one terminal: `make stack`.

A Prefect server, an S3 store, a git remote, the work pools with a worker each, the deployments of prefect.yaml and the
automations. All state is in one folder, build/stack by default, and is found again by the next start; Ctrl-C ends
every process. The workers share nothing but git and the store: each has a workspace folder of its own.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from flows import object_store
from flows.environment import direct
from flows.errors import StackError
from flows.prefect_settings import DATABASE
from flows.remote import push_head
from flows.services import Service, alone, end_marked
from flows.stack_plan import PYTHON, Options, Stack, planned

__all__ = ["Options", "Stack", "running_stack"]

PORT, S3_PORT = 4200, 8333
_MOST_SECONDS = 180
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def running_stack(folder: Path, options: Options | None = None) -> Iterator[Stack]:
    """Run a stack whose state is in `folder` until the block ends.

    Raises StackError when one runs there already, a port is busy, or a part doesn't come up.
    """
    folder, options = folder.resolve(), options or Options()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if left := end_marked(str(folder)):
            _say(f"ended {left} processes that an earlier stack had left")
        stack = planned(folder, options)
        os.environ.update(direct(os.environ))  # for what this process asks its own servers
        try:
            _start(stack, options)
            yield stack
        finally:
            _stop(stack)


def _start(stack: Stack, options: Options) -> None:
    """Start the parts in the order in which they need each other."""
    if options.git is None:
        _say(push_head(options.project or options.checkout, stack.folder / "project.git"))
    _say("starting the store and Prefect's server")
    for name in ("s3", "server"):
        stack.services[name].start()
    for name in ("s3", "server"):
        stack.services[name].wait_until(stack.readiness(name), 90)
    gpus = max(1, options.pools.count("gpu"))
    # A stack's server is its own: with the folder moved, or another PETMODELS_GIT, it is the same project's still.
    limits = f"--gpus {gpus} --zombie-seconds {options.zombie_seconds} --take-over".split()
    _run(stack, options, "prepare", ["-m", "flows.prepare", *limits, "--python", PYTHON])
    if options.deploy:
        _say("deploying prefect.yaml")
        _run(stack, options, "deploy", ["-m", "prefect", "--no-prompt", "deploy", "--all"])
    workers = list(stack.services)[2:]
    _say(f"starting the workers: {', '.join(workers) or 'none'}")
    ready = {name: stack.readiness(name) for name in workers}
    for name in workers:
        stack.services[name].start()
    for name in workers:
        stack.services[name].wait_until(ready[name], 90)


def _run(stack: Stack, options: Options, name: str, arguments: list[str]) -> None:
    """Run a program that ends, in the checkout. Raises StackError with its last line when it fails."""
    service = Service(name, [PYTHON, *arguments], stack.variables, stack.services["s3"].logs, options.checkout)
    service.start()
    assert service.process
    try:
        status = service.process.wait(timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{name} has not ended after {_MOST_SECONDS} seconds; its log: {service.log}") from error
    if status:
        raise StackError(f"{name} failed: {service.last_line()}; its log: {service.log}")


def _stop(stack: Stack) -> None:
    """End the runs first, so that their workers note them as Crashed; then the workers, the server and the store."""
    services = list(reversed(stack.services.values()))
    end_marked(str(stack.folder), but=_ids(services))
    *workers, server, store = services
    for worker in workers:
        worker.stop(15)
    end_marked(str(stack.folder), but=_ids([server, store]))
    server.stop(5)
    store.stop(5)
    end_marked(str(stack.folder))
    object_store.forget_sockets(stack.store)


def _ids(services: list[Service]) -> list[int]:
    return [service.process.pid for service in services if service.process]


def main() -> None:
    """Run `python -m flows.stack` until Ctrl-C; exits with 1 when the stack can't be started."""
    parser = argparse.ArgumentParser(prog="python -m flows.stack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/stack"), help="where all state is kept")
    parser.add_argument("--port", type=_port, default=PORT, help=f"of Prefect's server and UI (default {PORT})")
    parser.add_argument("--s3-port", type=_port, default=S3_PORT, help=f"of the S3 store (default {S3_PORT})")
    parser.add_argument("--gpus", type=_count, default=1, help="how many workers the pool gpu gets (default 1)")
    parser.add_argument("--project", type=Path, help="what is trained: build/demo needs no internet (default: this)")
    arguments = parser.parse_args()
    if arguments.port == arguments.s3_port:
        parser.error(f"Prefect and the S3 store need a port each; give --port or --s3-port another: {arguments.port}")
    for number in _ENDING:  # a shell has Ctrl-C ignored in the background, and workers that inherit that don't end
        signal.signal(number, _end)
    try:
        options = Options(
            port=arguments.port,
            s3_port=arguments.s3_port,
            pools=("cpu", *["gpu"] * arguments.gpus),
            git=os.environ.get("PETMODELS_GIT"),
            project=arguments.project,
            notify=os.environ.get("PETMODELS_NOTIFY"),
            database=os.environ.get(DATABASE),
        )
        with running_stack(arguments.folder, options) as stack:
            _tell(stack)
            _watch(stack)
    except StackError as error:
        sys.exit(f"stack: {error}")
    except KeyboardInterrupt:
        _say("ended; `make stack` goes on from here")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535: {text}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number from 0 up is wanted: {text}")
    return int(text)


def _end(*_: object) -> None:
    """End the stack, and let no second Ctrl-C end what ends it."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    _say("ending; what runs is noted as Crashed, and goes on from its last checkpoint when it is begun again")
    raise KeyboardInterrupt


def _tell(stack: Stack) -> None:
    names = ("PREFECT_API_URL", "PETMODELS_REGISTRY", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    client = {name: stack.variables[name] for name in (*names, "AWS_DEFAULT_REGION", "NO_PROXY", "no_proxy")}
    client["PETMODELS_CACHE"] = str(stack.folder / "operator")  # what it has seen of this store goes with the store
    environment = stack.folder / "environment"
    environment.write_text("".join(f"export {name}={quote(client[name])}\n" for name in client))
    print(
        f"Prefect   {stack.address}\n"
        f"S3        {stack.store.endpoint}, bucket {object_store.BUCKET}\n"
        f"registry  {stack.variables['PETMODELS_REGISTRY']}\n"
        f"git       {stack.variables['PETMODELS_GIT']}\n"
        f"drop      {stack.variables['PETMODELS_DROP']}\n"
        f"logs      {stack.services['s3'].logs}\n"
        f"next      in another terminal: source {quote(str(environment))}; Ctrl-C here ends everything",
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
