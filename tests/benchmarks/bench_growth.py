"""Growth: each stage by dvc.yaml's own line over 185 drawn pets of 64 px, ten and a hundred times as many; split over
up to a million rows; DVC over 20,000 small files. BENCH_SCALE multiplies the pets and those files; 5 makes 100,000 of
them. A slope is that of time over size on logarithmic axes between the last two sizes. Split's rows are medians, all
else is measured once.
"""

import math
import os
import sys
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import yaml

from stages.drawing import draw_sample
from tests.benchmarks.measure import MIB, Finished, Row, run
from tests.benchmarks.pets import OFFLINE, ROOT, section

TITLE = "Growth"
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
_SIDE = 64
_FEWEST = 5


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure all of it; only split's many rows `repeats` times."""
    return [*_stages(folder / "stages"), *_split(folder / "split", repeats), *_many_files(folder / "files")]


def _stages(folder: Path) -> list[Row]:
    numbers = [max(_FEWEST, round(_FEWEST * times * SCALE)) for times in (1, 10, 100)]
    found = {37 * number: _line(folder / str(number), number) for number in numbers}
    return [
        row
        for stage in found[37 * numbers[0]]
        for row in _growth_rows(f"{stage}, images", {number: stages[stage] for number, stages in found.items()})
    ]


def _line(folder: Path, number: int) -> dict[str, Finished]:
    """Run the six stages one after the other on so many pictures a breed; return how each of them ended."""
    draw_sample(folder / "drawn", images_per_breed=number, seed=1, image_side=_SIDE)
    with tarfile.open(folder / "pets.tar", "w") as archive:
        archive.add(folder / "drawn/images", "images")
    settings = {name: section(name) for name in ("split", "evaluate", "export")}
    settings["download"] = section("download", source="pets.tar", checksum=None, size_bytes=None)
    settings["prepare"] = section("prepare", short_side=_SIDE, files="**/images/*")
    settings["train"] = section("train", **OFFLINE | {"image_size": _SIDE})
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "data").mkdir()
    for name in ("arrivals.csv", "corrections.csv"):
        (folder / "data" / name).write_bytes((ROOT / "data" / name).read_bytes())
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    environment = {"PYTHONPATH": str(ROOT)}
    return {
        name: run([sys.executable, *stage["cmd"].split()[1:]], cwd=folder, environment=environment, with_peak=True)
        for name, stage in stages.items()
    }


def _growth_rows(what: str, found: Mapping[int, Finished]) -> list[Row]:
    rows = [
        Row(what=f"{what}: {number:,}", figure=f"{done.seconds:.2f} s, {done.peak_bytes / MIB:.0f} MiB")
        for number, done in found.items()
    ]
    (fewer, before), (more, after) = list(found.items())[-2:]
    slope = math.log(after.seconds / before.seconds) / math.log(more / fewer)
    return [*rows, Row(what=f"{what}: slope", figure=f"{slope:.2f}", target="≤ 1.05", held=slope <= 1.05)]


def _split(folder: Path, repeats: int) -> list[Row]:
    numbers = [round(1_000_000 * min(SCALE, 1) / times) for times in (16, 4, 1)]
    found = {number: _split_of(folder / str(number), number, repeats) for number in numbers}
    largest = found[numbers[-1]]
    held = largest.seconds < 60 and largest.peak_bytes < 2e9
    figure = f"{largest.seconds:.1f} s, {largest.peak_bytes / MIB:.0f} MiB"
    limit = Row(what=f"split, {numbers[-1]:,} rows", figure=figure, target="< 60 s, < 2 GB", held=held)
    return [*_growth_rows("split, rows", found), limit]


def _split_of(folder: Path, number: int, repeats: int) -> Finished:
    (folder / "prepared").mkdir(parents=True)
    head = "path,label,species,width,height,sha256,phash,group,official,arrival,arrived,source\n"
    with (folder / "prepared/index.csv").open("w", encoding="utf-8") as file:
        file.write(head)
        for place in range(number):
            sha = f"{place:064x}"
            file.write(f"images/{place}.jpg,breed{place % 37},,500,400,{sha},{sha[:16]},{sha},,0,,{place}.jpg\n")
    stage = [sys.executable, "-m", "stages.split", "--prepared", folder / "prepared", "--out", folder / "split"]
    done = sorted((run(stage, cwd=ROOT, with_peak=True) for _ in range(repeats)), key=lambda one: one.seconds)
    return done[len(done) // 2]


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
