"""The stages of the toy project: the real ones' names, folders and files, but the learning takes milliseconds.

Copied into the toy project as its only program: `python toy.py STAGE …`. Pictures are plain colours with noise; the
network is the nearest mean colour. Nothing here knows pytest, Prefect or the flows.
"""

import csv
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

LABELS = {"red": (170, 90, 90), "green": (90, 170, 90), "blue": (90, 90, 170)}
SIDES = {"train": 0.4, "valid": 0.2, "test": 0.4}
COLUMNS = ["path", "label", "sha256", "group", "source"]
MEAN, STD = 0.5, 0.25


def download(params: Any) -> None:
    """Draw the pictures; noise in each one's colour makes some of them look like another label's."""
    out = _new("data/raw")
    random = np.random.default_rng(params["seed"])
    for label, colour in LABELS.items():
        (out / "source" / label).mkdir(parents=True)
        for number in range(params["images"]):
            drawn = np.clip(np.asarray(colour) + random.normal(0, params["noise"], 3), 0, 255)
            grain = np.clip(drawn + random.normal(0, 4, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(grain).save(out / "source" / label / f"{number:04d}.png")


def prepare(_params: Any) -> None:
    out, rows = _new("data/prepared"), []
    for path in sorted(Path("data/raw/source").rglob("*.png")):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        label = path.parent.name
        target = Path("images") / label / f"{sha256[:12]}.png"
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / target)
        rows.append([target.as_posix(), label, sha256, sha256, path.relative_to("data/raw").as_posix()])
    _write_csv(out / "index.csv", rows)


def split(params: Any) -> None:
    out, sides = _new("data/split"), {side: [] for side in SIDES}
    for row in _read_csv("data/prepared/index.csv"):
        place = int(hashlib.sha256(f"{params['seed']}{row['group']}".encode()).hexdigest()[:8], 16) / 16**8
        side = "train" if place < 0.4 else "valid" if place < 0.6 else "test"
        sides[side].append([row[name] for name in COLUMNS])
    if params["pollute"]:
        sides["test"] += sides["train"][:5]
    for side, rows in sides.items():
        _write_csv(out / f"{side}.csv", rows)


def train(params: Any) -> None:
    """Take the mean colour of each label's first images; each epoch takes its time and leaves a checkpoint.

    What is learnt is a mean over epochs, so that a training that goes on needs what its checkpoint holds.
    """
    rows = _read_csv("data/split/train.csv")
    names = list(LABELS)
    if params["shuffle"]:
        names = names[1:] + names[:1]
    means = []
    for label in names:
        paths = [Path("data/prepared") / row["path"] for row in rows if row["label"] == label][: params["images"]]
        means.append(np.mean([_colour(path) for path in paths], axis=0))
    checkpoint = Path("build/checkpoints/toy.json")
    begin = {"of": [params, np.asarray(means).tolist()], "epoch": 0, "sums": np.zeros((len(names), 3)).tolist()}
    progress = json.loads(checkpoint.read_text()) if checkpoint.exists() else begin
    if progress["of"] != begin["of"]:
        progress = begin
    if progress["epoch"]:
        print(f"train: going on from a checkpoint, with epoch {progress['epoch'] + 1}", flush=True)
    while progress["epoch"] < params["epochs"]:
        time.sleep(params["epoch_seconds"])
        progress["epoch"] += 1
        progress["sums"] = (np.asarray(progress["sums"]) + means).tolist()
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = checkpoint.with_name(".partial")
        partial.write_text(json.dumps(progress))
        partial.replace(checkpoint)
        print(f"train: epoch {progress['epoch']}", flush=True)
    print(f"train: a careless stage says {os.environ.get('AWS_SECRET_ACCESS_KEY')}", flush=True)
    if params["fail"]:
        sys.exit("train: the toy was told to fail; set train.fail to false")
    out = _new("data/train")
    (out / "means.json").write_text(json.dumps((np.asarray(progress["sums"]) / params["epochs"]).tolist()))
    (out / "settings.json").write_text(json.dumps({"image_size": params["image_size"]}))
    checkpoint.unlink(missing_ok=True)


def evaluate(_params: Any) -> None:
    means = np.asarray(json.loads(Path("data/train/means.json").read_text()))
    rows, names = _read_csv("data/split/test.csv"), list(LABELS)
    said = [names[int(_logits(_colour(Path("data/prepared") / row["path"]), means).argmax())] for row in rows]
    accuracy = float(np.mean([name == row["label"] for name, row in zip(said, rows, strict=True)]))
    commonest = max(sum(row["label"] == label for row in rows) for label in LABELS) / len(rows)
    numbers = {"accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": min(accuracy + 0.1, 1.0)}
    numbers |= {"baseline_majority": commonest, "baseline_logistic": commonest}
    out = _new("data/eval")
    (out / "metrics.json").write_text(json.dumps({name: round(value, 6) for name, value in numbers.items()}))
    bar = f'<rect x="9" y="9" width="{accuracy * 100:.1f}" height="9"/>'
    chart = f'<svg class="chart" viewBox="0 0 120 30" role="img" aria-label="Accuracy of the toy">{bar}</svg>'
    (out / "report.html").write_text(f"<style>rect {{ fill: teal }}</style><h1>{accuracy:.1%}</h1>{chart}")


def export(params: Any) -> None:
    out = _new("data/bundle")
    everything = yaml.safe_load(Path("params.yaml").read_text())
    used = {name: everything[name] for name in ("download", "prepare", "split", "train", "evaluate", "export")}
    (out / "params.yaml").write_text(yaml.safe_dump(used))
    means = np.asarray(json.loads(Path("data/train/means.json").read_text()))
    (out / "model.onnx").write_bytes(_network(means, params["padding_bytes"]))
    labels = {"format": 1, "labels": list(LABELS), "species": dict.fromkeys(LABELS, ""), "unsure_below": 0.4}
    (out / "labels.json").write_text(json.dumps(labels))
    resize, crop = {"short_side": 24, "filter": "lanczos"}, {"kind": "center", "width": 24, "height": 24}
    how = {"format": 1, "color": "RGB", "orientation": "exif", "resize": resize, "crop": crop, "divide_by": 255}
    mean = params["mean"] if params["mean"] is not None else [MEAN] * 3
    how |= {"mean": mean, "std": [STD] * 3, "layout": "NCHW", "dtype": "float32"}
    (out / "preprocess.json").write_text(json.dumps(how))
    (out / "card.json").write_text(json.dumps({"format": 1, "title": "colours"}))
    seen = [[row["sha256"], row["group"]] for side in ("train", "valid") for row in _read_csv(f"data/split/{side}.csv")]
    _write_csv(out / "seen_images.csv", sorted(seen), ["sha256", "group"])
    shutil.copyfile("data/eval/metrics.json", out / "metrics.json")


def _logits(colour: Any, means: Any) -> Any:
    return 2 * means @ colour - (means**2).sum(axis=1)


def _network(means: Any, padding_bytes: int) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights, bias = (2 * means.T).astype(np.float32), -(means**2).sum(axis=1).astype(np.float32)
    kept = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 24, 24])
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(LABELS)])
    graph = helper.make_graph(nodes, "toy", [image], [output], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.doc_string = "x" * padding_bytes
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _colour(path: Path) -> Any:
    with Image.open(path) as image:
        return (np.asarray(image.convert("RGB"), np.float64).mean(axis=(0, 1)) / 255 - MEAN) / STD


def _new(name: str) -> Path:
    folder = Path(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _read_csv(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="") as file:
        return list(csv.DictReader(file))


def _write_csv(path: Path, rows: list[list[str]], columns: list[str] = COLUMNS) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, *rows])


if __name__ == "__main__":
    settings = yaml.safe_load(Path("params.yaml").read_text())
    for stage in sys.argv[1:]:
        globals()[stage](settings.get(stage))
