"""The network of a model: its ONNX file opened in onnxruntime, and checked to be what a model needs.

Reads a verified file; leaves nothing. A network takes `image`, N x 3 x height x width, and gives `probabilities`,
N x labels.
"""

import ctypes
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from petmodels.bundle import MODEL, bytes_of
from petmodels.errors import FormatError, MachineError
from petmodels.machine import LACKS_MEMORY, NO_THREADS, memory_to
from petmodels.parallel import lets_start, num_cores, process_lock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAFE = (1, 24)  # from this onnxruntime on a model is kept from files of this machine, also by whole paths
_LOCATION = b"location"  # what ONNX calls the name of such a file
_NO_MEMORY = ("allocate memory", "bad_alloc")  # in onnxruntime's words
_sessions: WeakSet[Any] = WeakSet()


class Network:
    """A network in onnxruntime; in a process that was forked since, or that unpickled it, it is opened once more."""

    def __init__(self, path: Path, name: str, *, num_labels: int) -> None:
        """Open the network at `path`; `name` is what errors call the model.

        Raises BundleError when the file can't be read, MachineError when onnxruntime is not installed, FormatError when
        it can't load the network, or when that has other inputs and outputs than the above or not an output for each
        label.
        """
        self._name, self._num_labels = name, num_labels
        # Kept, because by the time of a fork another model may lie there; onnxruntime keeps them, too.
        with memory_to(f"open {MODEL}", name):
            self._bytes = bytes_of(path)
        self._session, self._process = _opened(self._bytes, name), os.getpid()
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        outputs = {one.name: one.shape for one in self._session.get_outputs()}
        if set(inputs) != {"image"} or "probabilities" not in outputs:
            raise FormatError(f"{MODEL} of {name} has no input image or no output probabilities")
        count = outputs["probabilities"][-1]
        if isinstance(count, int) and count != num_labels:
            raise FormatError(f"{MODEL} of {name} answers {count} numbers for {num_labels} labels")

    def answers(self, batch: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return the network's N x labels probabilities for N x 3 x height x width preprocessed images.

        Raises FormatError when the network takes no images of that size, or answers other than with a number for each
        label: a bundle whose preprocess.json and network disagree is found here when it has no self-test. Raises
        MachineError where the memory is lacking.
        """
        import numpy as np

        name = self._name
        session = self._session_here()
        try:
            found: NDArray[np.float32] = session.run(["probabilities"], {"image": batch})[0]
        except Exception as error:
            _check_machine(error, f"answer a batch of {len(batch)}", name)
            if not _is_of_onnxruntime(error):
                raise
            size = " x ".join(str(side) for side in batch.shape[2:])
            raise FormatError(f"{MODEL} of {name} can't answer images of {size} pixels: {_reason(error)}") from error
        if found.shape != (len(batch), self._num_labels):
            shape = " x ".join(str(side) for side in found.shape)
            raise FormatError(
                f"{MODEL} of {name} answers {shape} numbers for {len(batch)} images and {self._num_labels} labels"
            )
        if not np.isfinite(found).all():
            raise FormatError(f"{MODEL} of {name} answers with no numbers (nan or inf)")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session out, which can't leave its process."""
        return {**self.__dict__, "_session": None, "_process": 0}

    def _session_here(self) -> Any:
        """Return a session of this process: the threads of an inherited one are not in it."""
        process = os.getpid()
        if self._process != process:
            with process_lock():
                if self._process != process:
                    self._session, self._process = _opened(self._bytes, self._name), process
        return self._session


def onnxruntime_here() -> Any:
    """Return onnxruntime; raise MachineError where it isn't installed, or where this machine can't load it.

    From 1.29 on it reports to its maker over the network, from a thread that keeps a forked process from ending. It is
    told not to, unless ORT_DISABLE_TELEMETRY says otherwise.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if error.name == "onnxruntime" and find_spec("onnxruntime") is None:
            text = "predicting needs onnxruntime, pulling does not; run: pip install 'petmodels[onnx]'"
            raise MachineError(f"{text} (for macOS and 64-bit Linux with glibc 2.28 or newer, no Alpine)") from error
        raise MachineError(f"onnxruntime is installed, but can't be loaded here: {_reason(error)}") from error
    return onnxruntime


def _opened(network: bytes, name: str) -> Any:
    onnxruntime = onnxruntime_here()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    cores = num_cores()
    # onnxruntime waits for ever when it gets some of its threads and not all; for one it starts none. Twice as many are
    # tried, because those that have just ended may count for an instant.
    options.intra_op_num_threads = cores if cores == 1 or lets_start(2 * cores) else 1
    # Threads that wait for the next request in a busy loop took three times the CPU at 20 requests a second.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A model may name other files that hold its weights. Those of one that comes as bytes are looked for below the
    # current folder; a bundle's model holds all of its own, so they are sent to where nothing can lie.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < _SAFE and _LOCATION in network:
        raise FormatError(
            f"{MODEL} of {name} may name files of this machine, and onnxruntime {onnxruntime.__version__} would read "
            "them; from 1.24 on it doesn't"
        )
    try:
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        _check_machine(error, f"open {MODEL}", name)
        if isinstance(error, (RuntimeError, ValueError, NotImplementedError)) or _is_of_onnxruntime(error):
            raise FormatError(f"onnxruntime can't load {MODEL} of {name}: {_reason(error)}") from error
        raise
    _sessions.add(session)
    _look_after_children()
    return session


@cache
def _look_after_children() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_never_end_inherited)


def _never_end_inherited() -> None:
    """Keep a forked child from ending the sessions of its parent: it would wait for threads that it doesn't have."""
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _check_machine(error: Exception, doing: str, name: str) -> None:
    """Raise MachineError for what says of this machine, and not of the model, that it lacks something."""
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        raise MachineError(f"{LACKS_MEMORY} to {doing}: {name}") from error
    if "pthread_create" in str(error):
        raise MachineError(NO_THREADS) from error


def _is_of_onnxruntime(error: Exception) -> bool:
    """Its errors derive from Exception and nothing closer."""
    return type(error).__module__.startswith("onnxruntime")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:160]
