"""The stages as processes: how long each needs to say --help and to import what it works with, and what it imports
that it doesn't use; `dvc repro` with nothing changed beside `dvc status`; prepare beside a bare loop of Pillow in a
thread for each core.
"""

import os
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from tests.benchmarks.measure import Contender, Row, in_turns, limit_row, ratio_rows, run, samples_text
from tests.benchmarks.pets import ROOT, prepared_pool

TITLE = "Stages"
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
    return f"mkdir -p {out} && echo 1 | tee {out}/index.csv > {out}/corrected.csv"  # of prepare's, split asks for these


def _prepare(folder: Path, repeats: int) -> list[Row]:
    """Both write new files: where they lie, making one takes about as long as encoding its image."""
    done, target, cores = prepared_pool(folder, short_side=256), folder / "bare", len(os.sched_getaffinity(0))
    images = [path for path in sorted((folder / "raw").rglob("*.jpg")) if _is_plain(path)]

    def bare() -> None:
        target.mkdir()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda path: _bare(path, target), images))

    contenders = {
        "prepare": Contender(partial(prepared_pool, folder, short_side=256), prepare=partial(shutil.rmtree, done)),
        "bare Pillow": Contender(bare, prepare=partial(shutil.rmtree, target, ignore_errors=True)),
    }
    return ratio_rows(f"{len(images)} images", in_turns(contenders, repeats), "prepare", 0.9)


def _is_plain(path: Path) -> bool:
    """Say whether the bare loop can do with an image as it is; of the photographs, a GIF and a PNG aren't so."""
    try:
        with Image.open(path) as image:
            return image.mode == "RGB"
    except OSError:
        return False


def _bare(path: Path, target: Path) -> None:
    with Image.open(path) as image:
        image.draft("RGB", (512, 512))
        pixels = image.convert("RGB")
    scale = 256 / min(pixels.size)
    width, height = (round(side * scale) for side in pixels.size)
    pixels.resize((width, height), Image.Resampling.LANCZOS).save(target / path.name, quality=95, subsampling=0)
