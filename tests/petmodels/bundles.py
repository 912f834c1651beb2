"""Bundles made by hand: a network of one layer that tells red, green and blue images apart, and drawn images."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

LABELS = ["red", "green", "blue"]
PREPROCESS: dict[str, Any] = {
    "format": 1,
    "color": "RGB",
    "orientation": "exif",
    "resize": {"short_side": 32, "filter": "lanczos"},
    "crop": {"kind": "center", "width": 24, "height": 24},
    "divide_by": 255,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "layout": "NCHW",
    "dtype": "float32",
}


def onnx_bytes(num_labels: int = 3, sharpness: float = 2.0) -> bytes:
    """Return a network: the mean of each channel, times `sharpness`, softmax."""
    weights = np.zeros((3, num_labels), np.float32)
    weights[:3, :3] = np.eye(3, dtype=np.float32)[:, : min(3, num_labels)] * sharpness
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 24, 24])
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", num_labels])
    graph = helper.make_graph(nodes, "tiny", [image], [output], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def onnx_that_reads(path: str, num_bytes: int) -> bytes:
    """Return a network that answers with the bytes of a file, which it names as that of its weights."""
    weights = TensorProto(name="weights", data_type=TensorProto.UINT8, dims=[num_bytes])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": path, "offset": "0", "length": str(num_bytes)}.items():
        weights.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Cast", ["weights"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["image"], ["least"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["least", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "one"], ["column"]),
        helper.make_node("Add", ["column", "floats"], ["probabilities"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 24, 24])
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", num_bytes])
    small = [numpy_helper.from_array(np.float32([0]), "zero"), numpy_helper.from_array(np.int64([1]), "one")]
    graph = helper.make_graph(nodes, "reader", [image], [output], [weights, *small])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def make_bundle(folder: Path, *, tag: str = "", accuracy: float = 0.9, self_test: bool = True) -> Path:
    """Write a bundle that predict can use; `tag` makes its card differ from another's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx_bytes())
    species = {"red": "fox", "green": "frog", "blue": ""}
    write_json(folder / "labels.json", {"format": 1, "labels": LABELS, "species": species, "unsure_below": 0.6})
    write_json(folder / "preprocess.json", PREPROCESS)
    write_json(folder / "card.json", {"title": "colours", "tag": tag})
    write_json(folder / "metrics.json", {"accuracy": accuracy})
    (folder / "params.yaml").write_text("train:\n  epochs: 1\n")
    if self_test:
        add_self_test(folder)
    return folder


def add_self_test(folder: Path) -> None:
    """Add two images and what the network must answer, computed here by hand and not by the package under test."""
    (folder / "self_test").mkdir(exist_ok=True)
    images = []
    for number, label in enumerate(LABELS[:2], start=1):
        path = folder / "self_test" / f"{number:02d}.png"
        path.write_bytes(image_bytes(label, size=(40, 32), kind="PNG"))
        channels = (np.asarray(COLOURS[label]) / 255 - 0.5) / 0.25 * 2.0
        powers = np.exp(channels)
        file = path.relative_to(folder).as_posix()
        images.append({"file": file, "label": label, "probabilities": (powers / powers.sum()).tolist()})
    write_json(folder / "self_test.json", {"format": 1, "tolerance": 0.001, "images": images})


COLOURS = {"red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230), "grey": (128, 128, 128)}


def image_bytes(colour: str = "red", *, size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
    """Return a file with a plain image of a colour."""
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(file, kind)
    return file.getvalue()


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write a folder of plain files that is no model; publish takes any."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
