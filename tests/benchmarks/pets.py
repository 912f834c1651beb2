"""Pools of pets for the benchmarks: the photographs that BENCH_PETS names, or drawn ones, prepared and split."""

import os
from pathlib import Path
from typing import Any

import yaml

from stages.download import DownloadParams, download
from stages.prepare import PrepareParams, prepare
from stages.split import SplitParams, split
from stages.train import TrainParams

ROOT = Path(__file__).parents[2]
OFFLINE = {
    "method": "probe",
    "architecture": "tf_efficientnet_lite0",
    "frozen_epochs": 0,
    "epochs": 0,
    "learning_rate": 0.001,
    "augmentation": "flip",
    "metrics": ["accuracy"],
}


def section(name: str, **changes: Any) -> dict[str, Any]:
    """Return a section of the checkout's params.yaml with some values changed."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = sections[name] | changes
    return found


def train_params(**changes: Any) -> TrainParams:
    """Return the params of the demo's training but for `changes`."""
    return TrainParams(**section("train", **(OFFLINE | changes)))


def prepared_pool(folder: Path, *, short_side: int) -> Path:
    """Leave the pool's images, prepared, below `folder`; return where."""
    raw, out = folder / "raw", folder / f"prepared{short_side}"
    if not raw.exists():
        source = os.environ.get("BENCH_PETS", "sample:")
        params = DownloadParams(**section("download", source=source, checksum=None, size_bytes=None))
        lists = {name: ROOT / f"data/{name}.csv" for name in ("arrivals", "corrections")}
        download(params, **lists, cache=folder / "downloads", out=raw)
    files = "**/*.jpg"
    prepare(PrepareParams(**section("prepare", short_side=short_side, files=files)), raw=raw, out=out)
    return out


def sides(prepared: Path, seed: int) -> Path:
    """Leave the pool's split of a seed beside it; return where."""
    out = prepared.with_name(f"{prepared.name}-split{seed}")
    split(SplitParams(**section("split", seed=seed)), prepared=prepared, out=out)
    return out
