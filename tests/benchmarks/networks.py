"""A network to measure with: drawn weights, but the layers and the work of a small image classifier at 224 pixels."""

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from petmodels.bundle import local_files
from petmodels.model import Model
from tests.petmodels.bundles import PREPROCESS, write_json

BUNDLE, PHOTOGRAPHS = "BENCH_BUNDLE", "BENCH_PHOTOGRAPHS"
_CHANNELS = ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 256, 2), (256, 256, 1), (256, 512, 2))
_NUM_LABELS = 37


def bundle_for(folder: Path) -> Path:
    """Return the bundle that BENCH_BUNDLE names, else one that is written to `folder`."""
    if named := os.environ.get(BUNDLE):
        return Path(named)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(_onnx_bytes())
    write_json(folder / "labels.json", {"format": 1, "labels": [f"breed {i}" for i in range(_NUM_LABELS)]})
    sizes = {
        "resize": {"short_side": 256, "filter": "bilinear"},
        "crop": {"kind": "center", "width": 224, "height": 224},
    }
    write_json(folder / "preprocess.json", {**PREPROCESS, **sizes})
    _add_self_test(folder)
    return folder


def photographs_for(folder: Path, count: int) -> list[Path]:
    """Return `count` JPEGs of the folder that BENCH_PHOTOGRAPHS names, else drawn ones of 500 x 375 pixels."""
    if named := os.environ.get(PHOTOGRAPHS):
        found = sorted(Path(named).rglob("*.jpg"))[:count]
        assert len(found) == count, f"{named} holds {len(found)} of {count} JPEGs"
        return found
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        coarse = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=92)
    return paths


def _onnx_bytes() -> bytes:
    draw, nodes, weights, last = np.random.default_rng(0), [], [], "image"
    for number, (inputs, outputs, stride) in enumerate(_CHANNELS):
        kernel = draw.normal(0, (2 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{number}"))
        names = [last, f"kernel{number}"]
        pads = {"kernel_shape": [3, 3], "strides": [stride, stride], "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", names, [f"conv{number}"], **pads))
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]))
        last = f"relu{number}"
    weights.append(numpy_helper.from_array(draw.normal(0, 0.1, (512, _NUM_LABELS)).astype(np.float32), "head"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", _NUM_LABELS])
    graph = helper.make_graph(nodes, "drawn", [image], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _add_self_test(folder: Path) -> None:
    image = photographs_for(folder / "self_test", 1)[0]
    model = Model(local_files(folder), "drawn")
    found = model.probabilities(model.array(image)[None])[0].tolist()
    one = {"file": image.relative_to(folder).as_posix(), "label": model.labels[0], "probabilities": found}
    write_json(folder / "self_test.json", {"format": 1, "tolerance": 0.001, "images": [one]})
