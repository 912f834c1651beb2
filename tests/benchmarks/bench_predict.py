"""256 photographs through `Model.predict`, against a bare loop that decodes in the same way, in a thread for each core,
and gives onnxruntime batches of the same size; the memory of 10,000 images; a stream's first answer; one image in a
process of its own. The network and the photographs are drawn, or those that BENCH_BUNDLE and BENCH_PHOTOGRAPHS name.
"""

import json
import os
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from petmodels.bundle import local_files
from petmodels.model import BATCH, Model
from petmodels.registry import Registry
from tests.benchmarks.measure import MIB, Contender, Row, in_turns, limit_row, ratio_rows, run
from tests.benchmarks.networks import bundle_for, photographs_for
from tests.petmodels.bundles import make_bundle
from tests.petmodels.stores import BUCKET, serving

TITLE = "Predict"
_NUM_PHOTOGRAPHS = 256
_NUM_STREAMED = 10_000
_GROWTH_BYTES = 20 * MIB
_MEMORY = """import json, sys, psutil
from itertools import cycle, islice
from pathlib import Path
from petmodels.bundle import local_files
from petmodels.model import Model
folder, photographs, count = Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.jpg")), int(sys.argv[3])
answers = Model(local_files(folder), "tiny").predict(islice(cycle(photographs), count))
process, held = psutil.Process(), {}
for number, _ in enumerate(answers, start=1):
    if number in {count // 10, count}:
        held[number] = process.memory_info().rss
print(json.dumps(list(held.values())))
"""


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure throughput, memory, the stream, and whole processes."""
    bundle = bundle_for(folder / "bundle")
    photographs = photographs_for(folder / "photographs", _NUM_PHOTOGRAPHS)
    model = Model(local_files(bundle), "bundle")
    bare = _Bare(model)
    loops = {
        "petmodels": Contender(lambda: model.predict(list(photographs))),
        "bare onnxruntime": Contender(lambda: bare.predict(photographs)),
    }
    samples = in_turns(loops, repeats)
    ours = [answer.label for answer in model.predict(list(photographs))]
    assert ours == [model.labels[number] for number in bare.predict(photographs)]
    speed = f"{_NUM_PHOTOGRAPHS / statistics.median(samples['petmodels']):.0f} images a second"
    return [
        *ratio_rows(f"{_NUM_PHOTOGRAPHS} photographs", samples, "petmodels", 0.95),
        Row(what="that is", figure=speed),
        _stream_row(model, photographs),
        _memory_row(folder, photographs[0].parent),
        *_process_rows(folder, bundle, photographs[0], repeats),
    ]


class _Bare:
    """What one would write without this package: the same pixels, the same batches, no checks and no names."""

    def __init__(self, model: Model) -> None:
        self.steps = model.preprocess
        self.cores = len(os.sched_getaffinity(0))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.cores
        self.session = onnxruntime.InferenceSession(
            model.files["model.onnx"], options, providers=["CPUExecutionProvider"]
        )
        self.mean, self.std = np.float32(self.steps.mean), np.float32(self.steps.std)

    def decoded(self, path: Path) -> np.ndarray:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        image = image.resize(self.steps.resized_size(*image.size), getattr(Image.Resampling, self.steps.filter.upper()))
        left, top = (image.width - self.steps.width) // 2, (image.height - self.steps.height) // 2
        image = image.crop((left, top, left + self.steps.width, top + self.steps.height))
        return ((np.float32(image) / np.float32(self.steps.divide_by) - self.mean) / self.std).transpose(2, 0, 1)

    def predict(self, photographs: list[Path]) -> list[int]:
        found: list[int] = []
        with ThreadPoolExecutor(self.cores) as pool:
            arrays = pool.map(self.decoded, photographs)
            while batch := list(islice(arrays, BATCH)):
                answer = self.session.run(["probabilities"], {"image": np.stack(batch)})[0]
                found += answer.argmax(axis=1).tolist()
        return found


def _stream_row(model: Model, photographs: list[Path]) -> Row:
    num_read = 0

    def read() -> Iterator[Path]:
        nonlocal num_read
        for path in photographs:
            num_read += 1
            yield path

    next(model.predict(read()))
    figure = f"after {num_read} of {len(photographs)} images were read"
    return Row(
        what="first answer of a stream", figure=figure, target="before the last", held=num_read < len(photographs)
    )


def _memory_row(folder: Path, photographs: Path) -> Row:
    tiny = make_bundle(folder / "tiny")
    command = [sys.executable, "-c", _MEMORY, tiny, photographs, _NUM_STREAMED]
    early, late = json.loads(run(command).output)
    figure = f"{early / MIB:.0f} MiB after {_NUM_STREAMED // 10:,}, {late / MIB:.0f} MiB after {_NUM_STREAMED:,}"
    target = f"≤ {_GROWTH_BYTES // MIB} MiB more"
    return Row(what="memory of a stream of images", figure=figure, target=target, held=late - early <= _GROWTH_BYTES)


def _process_rows(folder: Path, bundle: Path, photograph: Path, repeats: int) -> list[Row]:
    (folder / "store").mkdir()
    with serving(folder / "store") as server:
        os.environ.update({**server.environment(), "PETMODELS_CACHE": str(folder / "cache")})
        registry = Registry(f"s3://{BUCKET}/predict")
        registry.publish(bundle, "pets")
        registry.promote("pets@1", "production")
        words = [
            sys.executable,
            "-m",
            "petmodels",
            "predict",
            photograph,
            "--registry",
            f"s3://{BUCKET}/predict",
            "--model",
        ]
        specs = ("pets@production", "pets@1")
        samples = in_turns({spec: Contender(lambda spec=spec: run([*words, spec])) for spec in specs}, repeats)
        peak = run([*words, "pets@1"], with_peak=True).peak_bytes
    found = [limit_row(f"`petmodels predict one.jpg --model {spec}`", samples[spec], 1.2) for spec in specs]
    return [*found, Row(what="most memory of that process", figure=f"{peak / MIB:.0f} MiB")]
