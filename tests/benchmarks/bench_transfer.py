"""Cold pulls and publishes of 100 MB against the usual tools on PATH: whole processes on one loopback S3 server, each
into an empty folder, or to a prefix that is new. Only petmodels checks hashes; nobody flushes to the disk.
"Moving" is the whole process less the same command with one byte, which is what each program takes to begin and to end.
"Moving and hashing" adds to a peer what `sha256sum` takes for the same files, so that all do the same work: a pull
compares each file with its hash, and a publish names it by that.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from petmodels.registry import Registry
from tests.benchmarks.measure import Contender, Row, in_turns, ratio_rows, run, seconds_text
from tests.petmodels.stores import BUCKET, serving

TITLE = "Pull and publish"
OURS = "petmodels"
PEERS = {
    "aws s3 cp": ["aws", "--version"],
    "s5cmd": ["s5cmd", "version"],
    "rclone": ["rclone", "--version"],
}
AT_LEAST = 0.95
SIZE_BYTES = 100_000_000
_RCLONE = ":s3,provider=Other,env_auth=true,force_path_style=true:"
_BEGIN = "1 byte"
_HASH = "sha256sum"


@dataclass
class _Case:
    """A bundle of so many files, where it is in the store, and where pulls put it."""

    folder: Path
    num_files: int
    size_bytes: int
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.bundle, self.out = self.folder / "bundle", self.folder / "out"
        self.address = f"s3://{BUCKET}/registry-{self.folder.name}"
        self.plain = f"{BUCKET}/plain-{self.folder.name}"

    def make(self) -> None:
        """Write the bundle and put it into the store, once as a version and once as it is."""
        self.bundle.mkdir(parents=True)
        for number in range(self.num_files):
            (self.bundle / f"{number:03d}.bin").write_bytes(os.urandom(self.size_bytes // self.num_files))
        registry = Registry(self.address, cache=self.folder / "cache")
        registry.publish(self.bundle, "pets")
        for path in sorted(self.bundle.iterdir()):
            key = f"{self.plain.removeprefix(BUCKET)[1:]}/{path.name}"
            registry.storage.client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())  # type: ignore[attr-defined]

    def clear(self) -> None:
        """Leave nothing of an earlier pull."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def pulls(self) -> dict[str, Callable[[], object]]:
        """Return what brings the files here, by who does it."""
        out, plain, cache = self.out, self.plain, {"PETMODELS_CACHE": str(self.out / "cache")}
        words = [sys.executable, "-m", "petmodels", "pull", "pets@1", out / "model", "--registry", self.address]
        return {
            OURS: lambda: run(words, environment=cache),
            "aws s3 cp": lambda: run(["aws", "s3", "cp", "--recursive", "--quiet", f"s3://{plain}/", out]),
            "s5cmd": lambda: run(["s5cmd", "cp", f"s3://{plain}/*", f"{out}/"]),
            "rclone": lambda: run(["rclone", "copy", f"{_RCLONE}{plain}", out]),
        }

    def publishes(self) -> dict[str, Callable[[], object]]:
        """Return what gives the files to a prefix that nobody used before, by who does it."""

        def new() -> str:
            return f"{BUCKET}/new-{self.folder.name}-{next(self.numbers)}"

        words = [sys.executable, "-m", "petmodels", "publish", self.bundle, "--model", "pets", "--registry"]
        return {
            OURS: lambda: run([*words, f"s3://{new()}"], environment={"PETMODELS_CACHE": str(self.folder / "cache")}),
            "aws s3 cp": lambda: run(["aws", "s3", "cp", "--recursive", "--quiet", self.bundle, f"s3://{new()}/"]),
            "s5cmd": lambda: run(["s5cmd", "cp", f"{self.bundle}/", f"s3://{new()}/"]),
            "rclone": lambda: run(["rclone", "copy", self.bundle, f"{_RCLONE}{new()}"]),
        }


def rows(folder: Path, repeats: int) -> list[Row]:
    """Measure pull and publish, of one file and of a hundred."""
    found = [name for name, words in PEERS.items() if shutil.which(words[0])]
    (folder / "store").mkdir()
    os.environ.pop("AWS_CA_BUNDLE", None)  # rclone refuses to begin with it
    measured: list[Row] = []
    with serving(folder / "store") as server:
        address = {"S3_ENDPOINT_URL": server.endpoint, "RCLONE_S3_ENDPOINT": server.endpoint}
        os.environ.update({**server.environment(), **address, "RCLONE_CONFIG": os.devnull})
        begin = _Case(folder / "begin", 1, 1)
        begin.make()
        for num_files, named in ((1, "one file"), (100, "100 files")):
            case = _Case(folder / f"files-{num_files}", num_files, SIZE_BYTES)
            case.make()
            measured += _compared(f"pull {named}", case, begin, [OURS, *found], repeats, pulls=True)
            measured += _compared(f"publish {named}", case, begin, [OURS, *found], repeats, pulls=False)
    return [*measured, *_versions(found)]


def _compared(what: str, case: _Case, begin: _Case, names: list[str], repeats: int, *, pulls: bool) -> list[Row]:
    contenders = {}
    for name in names:
        for one, suffix in ((case, ""), (begin, _BEGIN)):
            action = (one.pulls() if pulls else one.publishes())[name]
            contenders[f"{name}{suffix}"] = Contender(action, one.clear)
            contenders[f"{_HASH}{suffix}"] = Contender(partial(run, [_HASH, *sorted(one.bundle.iterdir())]))
    samples = in_turns(contenders, repeats)
    whole = {name: samples[name] for name in names}
    moving = {name: _difference(samples, name) for name in names}
    hashing = _difference(samples, _HASH)
    hashed = {name: seconds + (0 if name == OURS else hashing) for name, seconds in moving.items()}
    rows = [_moving_row(f"{what}, moving and hashing", hashed), _moving_row(f"{what}, moving", moving)]
    return [*rows, *ratio_rows(what, whole, OURS, AT_LEAST)]


def _difference(samples: dict[str, list[float]], name: str) -> float:
    return max(median(samples[name]) - median(samples[f"{name}{_BEGIN}"]), 1e-3)


def _moving_row(what: str, moving: dict[str, float]) -> Row:
    figure = ", ".join(f"{name} {seconds_text(seconds)}" for name, seconds in moving.items())
    peers = {name: seconds for name, seconds in moving.items() if name != OURS}
    if not peers:
        return Row(what=what, figure=figure, target="no peer was found")
    fastest = min(peers, key=lambda name: peers[name])
    ratio = peers[fastest] / moving[OURS]
    text = f"{ratio:.2f} × {fastest} ({figure})"
    return Row(what=what, figure=text, target=f"≥ {AT_LEAST} ×", held=ratio >= AT_LEAST)


def _versions(found: list[str]) -> list[Row]:
    said = {name: subprocess.run(PEERS[name], capture_output=True, text=True, check=True).stdout for name in found}
    absent = [Row(what=name, figure="not on PATH, so not measured") for name in PEERS if name not in found]
    return [*absent, *(Row(what=name, figure=text.splitlines()[0]) for name, text in said.items())]
