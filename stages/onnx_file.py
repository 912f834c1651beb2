"""Write a network as an ONNX file that gives calibrated probabilities, and run such a file.

Reads prepared images; leaves one file. Input `image`: N x 3 x height x width, float32, normalised. Output
`probabilities`: N x labels, float32; the temperature and the softmax are inside.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from onnx.helper import find_min_ir_version_for, make_opsetid
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from stages.errors import DataError
from stages.features import Compiled, Preprocessing, outputs

if TYPE_CHECKING:
    from stages.model import Model


_DESCRIPTION = (
    "An image classifier. image: N x 3 x height x width, float32, made of a photograph as the metadata says "
    "(preprocess); probabilities: N x labels, calibrated, in the order of its labels."
)


class _Calibrated(nn.Module):
    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return torch.softmax(logits / self.temperature, dim=1)


def write_onnx(path: Path, model: "Model", *, temperature: float, opset: int, preprocess: str) -> None:
    """Write the model to `path`, whole in one file, for batches of any size.

    Its metadata are the labels, the side of its images, and `preprocess`, a JSON text: the file is of use alone.
    Raises DataError for a network that can't be said in ONNX.
    """
    side = model.preprocessing.image_size
    network = _Calibrated(model.network, temperature).cpu().to(memory_format=torch.contiguous_format).eval()
    program = _converted(network, torch.zeros(2, 3, side, side), opset)
    # The exporter notes in every node which file and line it came from, paths of this machine among them.
    for node in program.model.graph:
        node.metadata_props.clear()
    for function in program.model.functions.values():
        function.metadata_props.clear()
    program.model.doc_string = _DESCRIPTION
    labels = json.dumps(model.labels)
    notes = {"labels": labels, "image_size": str(side), "preprocess": preprocess}
    program.model.metadata_props.update({name: _unmentioned(text) for name, text in notes.items()})
    # The exporter marks a file as a newer one than its operators need, and older readers then refuse it.
    program.model.ir_version = find_min_ir_version_for([make_opsetid("", opset)])
    program.save(path, external_data=False)
    model.network.to(model.device)


def _converted(network: nn.Module, images: Tensor, opset: int) -> torch.onnx.ONNXProgram:
    # Attention is taken apart as plain products: what is quick on a CPU lays its results out in another order, and the
    # exporter loses them where it has a bias (of timm's BEiT and MaxViT).
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")  # deprecations inside the exporter, which nobody here can act on
        try:
            program = torch.onnx.export(
                network,
                (images,),
                input_names=["image"],
                output_names=["probabilities"],
                dynamic_shapes={"image": {0: torch.export.Dim("images", min=1)}},
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise _unsaid(next(iter(str(error.__cause__ or error).splitlines()), "")) from error
    assert program is not None
    # Where the exporter can't follow a network, it may write down what it did with these images.
    shape = program.model.graph.inputs[0].shape
    if shape is not None and isinstance(shape[0], int):
        raise _unsaid(f"for batches of {shape[0]} alone")
    return program


def _unsaid(why: str) -> DataError:
    return DataError(f"torch can't say this network in ONNX ({why}); choose another train.architecture")


def _unmentioned(text: str) -> str:
    """Return a JSON text that means the same without the word by which readers know a file that names other files."""
    return text.replace("location", "\\u006cocation")


def probabilities(path: Path, images: Sequence[Path], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return what the ONNX file says about prepared images, in their order."""
    return outputs(Compiled(path.read_bytes()), images, preprocessing, torch.device("cpu"))
