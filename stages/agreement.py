"""Hold the ONNX file against the network that was judged: it must say the same of every test image.

Reads the ONNX file, the prepared test images and evaluate's test_logits.npy; leaves nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.errors import DataError
from stages.onnx_file import probabilities
from stages.scores import log_probabilities

if TYPE_CHECKING:
    from stages.model import Model

# Largest difference of a probability between the ONNX file and what the learner said when it was judged.
TOLERANCE = 1e-4


def judged(path: Path, num_images: int, num_labels: int) -> NDArray[np.float32]:
    """Return what the learner said when it was judged: images x labels.

    Raises DataError where the file is torn, or of other images or labels.
    """
    try:
        said: NDArray[np.float32] = np.load(path)
    except ValueError as error:
        raise DataError(f"no array of numbers; run `dvc repro --force evaluate`: {path}") from error
    if said.shape != (num_images, num_labels):
        raise DataError(
            f"another test side was judged, {said.shape} instead of {(num_images, num_labels)} images and labels; "
            f"run `dvc repro evaluate`: {path}"
        )
    return said


def agreed(
    onnx: Path, model: "Model", images: Sequence[Path], said: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    """Return the ONNX file's probabilities of the test images, which agree with the logits that evaluate judged.

    Raises DataError where one differs by TOLERANCE or more.
    """
    found = probabilities(onnx, images, model.preprocessing)
    difference = float(np.abs(np.exp(log_probabilities(said, temperature=temperature)) - found).max())
    if not difference < TOLERANCE:  # nor is NaN
        raise DataError(
            f"the ONNX file is {TOLERANCE} or more off the learner; try another export.opset, or, if the learner is "
            f"another one than was judged, `dvc repro evaluate`: {difference:.2g}"
        )
    print(
        f"export: largest difference between ONNX and learner on {len(images)} images: {difference:.1e}",
        file=sys.stderr,
    )
    return found
