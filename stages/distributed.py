"""Train on several GPUs of one machine: one process a GPU under torch's launcher, which share each step's images.

Without batch norm and dropout it is the step that one process makes. Reads what the stage train reads; the process of
rank 0 alone writes. This module starts the processes and lets them agree; together.py deals the batches out.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as processes
from torch import nn

from stages.cores import num_cores
from stages.devices import missing_cuda
from stages.errors import ResourceError, StageError
from stages.interrupts import held_back

if TYPE_CHECKING:
    from stages.train import TrainParams

Value = TypeVar("Value")


def num_processes(device: str, gpus: int) -> int:
    """Return how many processes the stage should start for `device` and up to so many GPUs; 1: it trains by itself."""
    if "RANK" in os.environ or gpus == 1 or device not in {"auto", "cuda"} or missing_cuda():
        return 1
    return min(gpus, torch.cuda.device_count())


def launch(params: "TrainParams", paths: Mapping[str, Path], *, number: int) -> None:
    """Run the stage train in `number` processes under torch's launcher.

    Raises ResourceError when one of them fails; it has said why by then.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, num_cores() // number)))
    root = str(Path(__file__).parents[1])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    settings = {"OMP_NUM_THREADS": threads, "PYTHONPATH": search}
    if os.environ.get("OPENBLAS_NUM_THREADS") == str(num_cores()):  # what settle_threads gave this one process
        settings["OPENBLAS_NUM_THREADS"] = threads
    with tempfile.TemporaryDirectory() as folder:
        order = Path(folder, "order.json")
        names = {name: str(path.absolute()) for name, path in paths.items()}
        order.write_text(json.dumps({"params": asdict(params), "paths": names}), encoding="utf-8")
        places = ["--standalone", f"--nproc-per-node={number}", f"--log-dir={folder}"]
        launcher = [sys.executable, "-m", "torch.distributed.run", *places]
        launched = None
        try:
            with held_back():
                launched = subprocess.Popen(
                    [*launcher, "-m", "stages.distributed", str(order)],
                    env=os.environ | settings,
                )
            status = launched.wait()
        except BaseException:
            if launched:
                _end(launched)
            raise
    if status:
        raise ResourceError(f"one of the training's {number} processes failed; what it said stands above")


def _end(launched: "subprocess.Popen[bytes]") -> None:
    """Wait until the launcher has ended its processes, which are in sessions of their own and known to it alone.

    It is asked to only where it didn't get the signal that this process got: a second one would cut it short.
    """
    for seconds, otherwise in ((5, launched.terminate), (40, launched.kill)):
        try:
            launched.wait(seconds)
        except subprocess.TimeoutExpired:
            otherwise()


def rank() -> int:
    """Return this process's number among those that train together; 0 where there is one."""
    return processes.get_rank() if processes.is_initialized() else 0


def size() -> int:
    """Return how many processes train together."""
    return processes.get_world_size() if processes.is_initialized() else 1


def wait_for_all() -> None:
    """Return when every process has come this far."""
    if processes.is_initialized():
        processes.barrier()


def agreed(value: Value) -> Value:
    """Return rank 0's value on every process, so that all decide alike."""
    if not processes.is_initialized():
        return value
    values: list[Any] = [value]
    processes.broadcast_object_list(values)
    found: Value = values[0]
    return found


def averaged(value: float) -> float:
    """Return the mean of all processes' values."""
    if not processes.is_initialized():
        return value
    values: list[Any] = [None] * size()
    processes.all_gather_object(values, value)
    return float(sum(values)) / size()


def bare(model: nn.Module) -> nn.Module:
    """Return the network inside torch's wrapper, if it wears one."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        inner: nn.Module = model.module
        return inner
    return model


@contextmanager
def _group() -> Iterator[None]:
    number = torch.cuda.device_count()
    if number:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % number)
    # NCCL wants a GPU for each process.
    processes.init_process_group("nccl" if number >= int(os.environ["LOCAL_WORLD_SIZE"]) else "gloo")
    try:
        yield
    finally:
        processes.destroy_process_group()


def _main() -> None:
    from stages.train import TrainParams, train

    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        with _group():
            train(TrainParams(**order["params"]), **{name: Path(path) for name, path in order["paths"].items()})
    except StageError as error:
        sys.exit(f"train: {error}")


if __name__ == "__main__":
    _main()
