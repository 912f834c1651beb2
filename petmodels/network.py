"""The network of a model: its ONNX file opened in onnxruntime, and checked to be what a model needs.

Reads a verified file; leaves nothing. A network takes `image`, N x 3 x height x width, and gives `probabilities`,
N x labels.
"""

from pathlib import Path
from typing import Any

from petmodels.bundle import MODEL
from petmodels.errors import FormatError, MachineError
from petmodels.parallel import num_cores


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
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise FormatError(f"onnxruntime can't load {MODEL} of {name}: {str(error).splitlines()[0][:160]}") from error
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):  # its errors derive from Exception and nothing closer
            text = (str(error).splitlines() or [""])[0][:160]
            raise FormatError(f"onnxruntime can't load {MODEL} of {name}: {text}") from error
        raise
