"""The network of a model: its ONNX file opened in onnxruntime, and checked to be what a model needs.

Reads a verified file; leaves nothing. A network takes `image`, N x 3 x height x width, and gives `probabilities`,
N x labels.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from petmodels.bundle import MODEL
from petmodels.errors import FormatError, MachineError
from petmodels.parallel import num_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def session_of(path: Path, name: str, *, num_labels: int) -> Any:
    """Return the onnxruntime session of the network at `path`; `name` is what errors call the model.

    Raises MachineError when onnxruntime is not installed, FormatError when it can't load the network, or when that
    has other inputs and outputs than the above or not an output for each label.
    """
    session = _opened(path, name)
    inputs = {one.name: one.shape for one in session.get_inputs()}
    outputs = {one.name: one.shape for one in session.get_outputs()}
    if set(inputs) != {"image"} or "probabilities" not in outputs:
        raise FormatError(f"{MODEL} of {name} has no input image or no output probabilities")
    count = outputs["probabilities"][-1]
    if isinstance(count, int) and count != num_labels:
        raise FormatError(f"{MODEL} of {name} answers {count} numbers for {num_labels} labels")
    return session


def answers(session: Any, batch: "NDArray[np.float32]", name: str, *, num_labels: int) -> "NDArray[np.float32]":
    """Return the network's N x labels probabilities for N x 3 x height x width preprocessed images.

    Raises FormatError when the network takes no images of that size, or answers other than with a number for each
    label: a bundle whose preprocess.json and network disagree is found here when it has no self-test.
    """
    import numpy as np

    try:
        found: NDArray[np.float32] = session.run(["probabilities"], {"image": batch})[0]
    except Exception as error:
        if not _is_of_onnxruntime(error):
            raise
        size = " x ".join(str(side) for side in batch.shape[2:])
        raise FormatError(f"{MODEL} of {name} can't answer images of {size} pixels: {_reason(error)}") from error
    if found.shape != (len(batch), num_labels):
        shape = " x ".join(str(side) for side in found.shape)
        raise FormatError(f"{MODEL} of {name} answers {shape} numbers for {len(batch)} images and {num_labels} labels")
    if not np.isfinite(found).all():
        raise FormatError(f"{MODEL} of {name} answers with no numbers (nan or inf)")
    return found


def _opened(path: Path, name: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        text = "predicting needs onnxruntime, pulling does not; run: pip install 'petmodels[onnx]'"
        raise MachineError(text) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = num_cores()
    try:
        # From bytes, not from a path: a model can then refer to no other file on this machine.
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if isinstance(error, (RuntimeError, ValueError, NotImplementedError)) or _is_of_onnxruntime(error):
            raise FormatError(f"onnxruntime can't load {MODEL} of {name}: {_reason(error)}") from error
        raise


def _is_of_onnxruntime(error: Exception) -> bool:
    """Its errors derive from Exception and nothing closer."""
    return type(error).__module__.startswith("onnxruntime")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:160]
