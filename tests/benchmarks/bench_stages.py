"""The stages as processes: how long each needs to say --help and to import what it works with, and what it imports
that it doesn't use; `dvc repro` with nothing changed beside `dvc status`; prepare beside a bare loop of Pillow in a
thread for each core; growth of prepare and split over 1, 4 and 16 times as much; DVC over 20,000 small files, which
BENCH_SCALE = 5 makes 100,000. A slope is that of time over size on logarithmic axes between the last two sizes.
"""

import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.measure import MIB, Contender, Finished, Row, in_turns, limit_row, ratio_rows, run, samples_text
from tests.benchmarks.pets import ROOT, prepared_pool

TITLE = "Stages"
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
# What a stage's process loads before it reads its first image, and what it must not have loaded by then.
WORK = {
    "download": ("stages.download", "stages.fetching"),
    "prepare": ("stages.prepare", "stages.images"),
    "split": ("stages.split",),
    "train": ("stages.train", "stages.training"),
    "evaluate": ("stages.evaluate", "stages.report", "stages.model", "stages.baselines"),
    "export": ("stages.export", "stages.model"),
}
UNUSED = {
    "download": ("torch", "fastai", "pandas", "sklearn"),
    "prepare": ("torch", "fastai", "pandas", "sklearn"),
    "split": ("torch", "fastai", "pandas", "sklearn", "PIL", "boto3"),
    "train": ("boto3",),
    "evaluate": ("boto3",),
    "export": ("boto3",),
}


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure all of it."""
    return [
        *_starts(repeats),
        *_nothing_to_do(folder / "project", repeats),
        *_prepare(folder / "pool", repeats),
        *_growth(folder / "growth"),
        *_split(folder / "split"),
        *_many_files(folder / "files"),
    ]


def _starts(repeats: int) -> list[Row]:
    contenders = {}
    for stage, modules in WORK.items():
        contenders[stage] = Contender(partial(run, [sys.executable, "-c", f"import {', '.join(modules)}"], cwd=ROOT))
    samples = in_turns(contenders, repeats)
    found = []
    for stage, seconds in samples.items():
        code = (
            f"import sys, {', '.join(WORK[stage])}\nprint(*[name for name in {UNUSED[stage]} if name in sys.modules])"
        )
        unused = run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT).output.decode().strip()
        what = f"start of {stage}, without {', '.join(UNUSED[stage])}"
        found.append(Row(what=what, figure=f"{samples_text(seconds)} {unused}".strip(), held=not unused))
    total = sum(statistics.median(seconds) for seconds in samples.values())
    return [*found, limit_row("start of all six", [total], 12)]


def _nothing_to_do(folder: Path, repeats: int) -> list[Row]:
    """A pipeline of six stages of DVC's, each with the project's dependencies, that do nothing but copy."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    text = (folder / "dvc.yaml").read_text(encoding="utf-8").split("\nmetrics:")[0]
    lines = [f"    cmd: {_stand_in(line)}" if "cmd: python" in line else line for line in text.splitlines()]
    (folder / "dvc.yaml").write_text("\n".join(lines), encoding="utf-8")
    dvc = [sys.executable, "-m", "dvc"]
    for command in (["git", "init", "-q"], [*dvc, "repro", "-q"]):
        run(command, cwd=folder)
    contenders = {
        "`dvc repro`": Contender(lambda: run([*dvc, "repro"], cwd=folder)),
        "`dvc status`": Contender(lambda: run([*dvc, "status"], cwd=folder)),
    }
    return ratio_rows("nothing changed", in_turns(contenders, repeats), "`dvc repro`", 1 / 1.15)


def _stand_in(line: str) -> str:
    out = line.split("--out ")[1].strip()
    return f"mkdir -p {out} && echo 1 > {out}/index.csv"


def _prepare(folder: Path, repeats: int) -> list[Row]:
    prepared_pool(folder, short_side=256)
    raw, cores = folder / "raw", len(os.sched_getaffinity(0))
    images = sorted(path for path in raw.rglob("*.jpg"))

    def bare() -> None:
        target = folder / "bare"
        target.mkdir(exist_ok=True)
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda path: _bare(path, target), images))

    def ours() -> None:
        shutil.rmtree(folder / "prepared256")
        prepared_pool(folder, short_side=256)

    samples = in_turns({"prepare": Contender(ours), "bare Pillow": Contender(bare)}, repeats)
    return ratio_rows(f"{len(images)} images", samples, "prepare", 0.9)


def _bare(path: Path, target: Path) -> None:
    with Image.open(path) as image:
        image.draft("RGB", (512, 512))
        pixels = image.convert("RGB")
    scale = 256 / min(pixels.size)
    width, height = (round(side * scale) for side in pixels.size)
    pixels.resize((width, height), Image.Resampling.LANCZOS).save(target / path.name, quality=95, subsampling=0)


def _growth(folder: Path) -> list[Row]:
    """Time and memory of prepare over 370 pictures, 4 and 16 times as many, in processes of their own."""
    found = {}
    for times in (1, 4, 16):
        number = max(3, round(10 * times * SCALE))
        source = folder / str(times)
        _write_noise(source / "raw/source/images", number)
        params = source / "params.yaml"
        text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("short_side: 256", "short_side: 64")
        params.write_text(text.replace("max_rejected_share: 0.02", "max_rejected_share: 0"), encoding="utf-8")
        stage = [sys.executable, "-m", "stages.prepare", "--params", params]
        command = [*stage, "--raw", source / "raw", "--out", source / "prepared"]
        found[37 * number] = run(command, cwd=ROOT, with_peak=True)
    return _growth_rows("prepare, images of 80 px", found)


def _growth_rows(what: str, found: Mapping[int, Finished]) -> list[Row]:
    rows = [
        Row(what=f"{what}: {number:,}", figure=f"{done.seconds:.2f} s, {done.peak_bytes / MIB:.0f} MiB")
        for number, done in found.items()
    ]
    (fewer, before), (more, after) = list(found.items())[-2:]
    slope = math.log(after.seconds / before.seconds) / math.log(more / fewer)
    return [*rows, Row(what=f"{what}: slope", figure=f"{slope:.2f}", target="≤ 1.05", held=slope <= 1.05)]


def _write_noise(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for breed in range(37):
        for place in range(number):
            pixels = random.integers(0, 256, (5, 5, 3)).astype(np.uint8)
            image = Image.fromarray(pixels).resize((80, 80), Image.Resampling.BICUBIC)
            image.save(folder / f"breed{breed}_{place}.jpg")


def _split(folder: Path) -> list[Row]:
    numbers = [round(1_000_000 * min(SCALE, 1) / times) for times in (16, 4, 1)]
    found = {number: _split_of(folder / str(number), number) for number in numbers}
    largest = found[numbers[-1]]
    held = largest.seconds < 60 and largest.peak_bytes < 2e9
    figure = f"{largest.seconds:.1f} s, {largest.peak_bytes / MIB:.0f} MiB"
    limit = Row(what=f"split, {numbers[-1]:,} rows", figure=figure, target="< 60 s, < 2 GB", held=held)
    return [*_growth_rows("split, rows", found), limit]


def _split_of(folder: Path, number: int) -> Finished:
    (folder / "prepared").mkdir(parents=True)
    head = "path,label,species,width,height,sha256,phash,group,official,arrival,arrived,source\n"
    with (folder / "prepared/index.csv").open("w", encoding="utf-8") as file:
        file.write(head)
        for place in range(number):
            sha = f"{place:064x}"
            file.write(f"images/{place}.jpg,breed{place % 37},,500,400,{sha},{sha[:16]},{sha},,0,,{place}.jpg\n")
    stage = [sys.executable, "-m", "stages.split", "--prepared", folder / "prepared", "--out", folder / "split"]
    return run(stage, cwd=ROOT, with_peak=True)


def _many_files(folder: Path) -> list[Row]:
    """What DVC itself takes for a folder of small files, and for the same bytes in shards of 1,000."""
    number = round(20_000 * SCALE)
    dvc = [sys.executable, "-m", "dvc"]
    found = []
    layouts: dict[str, Callable[[Path], None]] = {"files": partial(_files, number), "shards": partial(_shards, number)}
    for name, write in layouts.items():
        place = folder / name
        (place / "data").mkdir(parents=True)
        write(place / "data")
        run([*dvc, "init", "-q", "--no-scm"], cwd=place)
        for command in (["add", "-q", "data"], ["status", "-q"], ["status", "-q"]):
            done = run([*dvc, *command], cwd=place, with_peak=True)
            figure = f"{done.seconds:.1f} s, {done.peak_bytes / MIB:.0f} MiB"
            found.append(Row(what=f"`dvc {command[0]}`, {number:,} images of 2 kB as {name}", figure=figure))
    return found


def _files(number: int, folder: Path) -> None:
    for place in range(number):
        (folder / f"{place}.jpg").write_bytes(place.to_bytes(4, "big") * 500)


def _shards(number: int, folder: Path) -> None:
    for start in range(0, number, 1000):
        pieces = (place.to_bytes(4, "big") * 500 for place in range(start, min(start + 1000, number)))
        (folder / f"{start}.shard").write_bytes(b"".join(pieces))
