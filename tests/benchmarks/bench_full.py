"""The demo's pipeline at the size of the full Oxford-IIIT Pets: 7,400 drawn images, or BENCH_PER_BREED times 37. `dvc
repro` with nothing changed beside `dvc status`; evaluate, with nothing kept of the networks' outputs, beside a process
that only computes these; export beside a process that only calls torch.onnx for the same network.
"""

import os
import shutil
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from tests.benchmarks.measure import Contender, Row, in_turns, ratio_rows, run, samples_text
from tests.benchmarks.pets import ROOT

TITLE = "At full size"
_PER_BREED = int(os.environ.get("BENCH_PER_BREED", "200"))
_PREDICTION = """
from pathlib import Path
from stages.model import load
from stages.predictions import frozen_features, known_logits
from stages.outputs import read_csv as rows
model, train, features = load(Path("data/train")), Path("data/train"), Path("build/features")
images = {}
for side in ("train", "valid", "test"):
    images[side] = [Path("data/prepared", row["path"]) for row in rows(Path(f"data/split/{side}.csv"))]
known_logits(model, images["valid"], features)
model.logits(images["test"])
frozen_features(train, model, images, features)
"""
_ONNX = """
from pathlib import Path
import torch
from stages.model import load
model = load(Path("data/train"))
side = model.preprocessing.image_size
shapes = ({0: torch.export.Dim("images", min=1)},)
network = model.network.cpu().eval()
names = {"input_names": ["image"], "output_names": ["probabilities"], "opset_version": 18}
images = torch.zeros(2, 3, side, side)
program = torch.onnx.export(network, (images,), **names, dynamic_shapes=shapes, dynamo=True, verbose=False)
program.save("build/model.onnx", external_data=False)
"""


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure all of it, in a project that is made once."""
    project = folder / "project"
    source = f"sample:images_per_breed={_PER_BREED}"
    demo = [sys.executable, "-m", "flows.demo", "--source", source, "--folder", project, "--without-loop"]
    made = Row(
        what=f"the demo's six stages on {37 * _PER_BREED:,} images", figure=f"{run(demo, cwd=ROOT).seconds:.0f} s"
    )
    return [made, *_nothing_to_do(project, repeats), *_evaluate(project, repeats), *_export(project, repeats)]


def _nothing_to_do(project: Path, repeats: int) -> list[Row]:
    dvc = [sys.executable, "-m", "dvc"]
    contenders = {f"`dvc {word}`": Contender(partial(run, [*dvc, word], cwd=project)) for word in ("repro", "status")}
    return ratio_rows("nothing changed", in_turns(contenders, repeats), "`dvc repro`", 1 / 1.15)


def _evaluate(project: Path, repeats: int) -> list[Row]:
    nothing_kept = partial(shutil.rmtree, project / "build/features", ignore_errors=True)
    ours, only = "evaluate", "only the networks' outputs"
    contenders = {
        ours: Contender(_stage(project, "evaluate"), prepare=nothing_kept),
        only: Contender(partial(run, [sys.executable, "-c", _PREDICTION], cwd=project), prepare=nothing_kept),
    }
    return _times_rows(in_turns(contenders, repeats), ours, only, 1.2)


def _export(project: Path, repeats: int) -> list[Row]:
    contenders = {
        "export": Contender(_stage(project, "export")),
        "torch.onnx alone": Contender(partial(run, [sys.executable, "-W", "ignore", "-c", _ONNX], cwd=project)),
    }
    return _times_rows(in_turns(contenders, repeats), "export", "torch.onnx alone", 2)


def _stage(project: Path, name: str) -> Callable[[], object]:
    """Return what runs a stage by dvc.yaml's own line, but leaves its outputs in build/."""
    text = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]["cmd"]
    command, _ = text.split(" --out ")
    return partial(run, [sys.executable, *command.split()[1:], "--out", f"build/{name}"], cwd=project)


def _times_rows(samples: dict[str, list[float]], ours: str, peer: str, at_most: float) -> list[Row]:
    times = statistics.median(samples[ours]) / statistics.median(samples[peer])
    figure = f"{samples_text(samples[ours])}, {times:.2f} × {peer}"
    return [
        Row(what=ours, figure=figure, target=f"≤ {at_most:.3g} ×", held=times <= at_most),
        Row(what=peer, figure=samples_text(samples[peer])),
    ]
