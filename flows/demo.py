"""Run the whole pipeline once, without internet or GPU, in a folder of its own.

Reads the checkout and a source of images. Leaves build/demo: a copy of the project with its own git and DVC
repository, params.yaml set to what works offline, the data and the report. The checkout's params and data stay as they
are; a second run finds what the first has computed. Then loop.py shows how a model gets into production.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from flows.arrivals import PATH as ARRIVALS
from flows.demo_folder import FIRST_COMMIT, claim
from flows.environment import inherited
from flows.errors import FlowError
from flows.handover import environment_with_the_wheel
from flows.loop import MODEL, git, run_loop
from flows.object_store import weed
from flows.photographs import BROKEN, is_photograph, names_tell
from flows.project_copy import bring_up_to_date
from flows.remote import telling
from flows.shares import share

# The one architecture whose ImageNet weights come with a package, and a head that is fitted in seconds.
OFFLINE_TRAINING: dict[str, Any] = {
    "method": "probe",
    "architecture": "tf_efficientnet_lite0",
    "image_size": 256,
    "frozen_epochs": 0,
    "epochs": 0,
    "learning_rate": 0.001,
    "augmentation": "none",
    "metrics": ["accuracy", "top_5_accuracy"],
}
# What params.yaml's card says of the pets, and nobody has said of somebody else's images.
UNKNOWN_TEXTS = ("data_license", "intended_use", "limits")
UNNAMED_SOURCE = {"data_url": None, "data_citation": None}
SAMPLE_TEXTS = {
    "data_name": "drawn pets",
    "data_license": "Apache-2.0, with the program that draws them",
    **UNNAMED_SOURCE,
    "intended_use": "Trying the pipeline out: it tells the breeds of drawn pets apart.",
    "limits": "It has seen drawings alone, no photograph. Not for any real animal.",
}


def main() -> None:
    """Run `python -m flows.demo`; exits with DVC's status."""
    arguments = _parser().parse_args()
    project, folder, arrivals = Path.cwd(), arguments.folder, arguments.arrivals
    _make_project(project, folder, arguments.source, arrivals)
    print(f"demo: dvc repro in {folder}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=_environment(), check=False)
    if done.returncode:
        sys.exit(1)
    _commit(folder, "The demo's first run")  # what experiments, `dvc metrics diff` and `dvc plots diff` compare with
    _tell(folder)
    if arguments.without_loop:
        return
    if weed() is None:
        sys.exit("demo: no S3 server for this platform, so the loop is left out; next: petmodels publish data/bundle")
    try:
        consumer = environment_with_the_wheel(project, folder.parent / "consumer")
        commands = [["list", MODEL], ["predict", str(_test_image(folder)), "--model", f"{MODEL}@production"]]
        run_loop(folder, folder.parent / "loop", commands, consumer, arrivals=arrivals)
    except subprocess.CalledProcessError as error:
        said = telling(error.stderr or "")
        sys.exit(f"demo: failed: {' '.join(map(str, error.cmd))}{said and ': '}{said}")
    except FlowError as error:
        sys.exit(f"demo: {error}")
    activate = Path(sys.prefix) / "bin/activate"  # `dvc` starts the stages with the `python` of the path
    print(f"next      source {quote(str(activate))} && cd {quote(str(folder))} && dvc exp run -S split.seed=7")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.demo", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--source", default="sample:", help="an archive or folder of images, or sample: to draw some")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="where the copy goes")
    parser.add_argument("--arrivals", type=Path, help="an archive or folder of photographs that come later")
    parser.add_argument("--without-loop", action="store_true", help="leave out what follows the pipeline")
    return parser


def _make_project(project: Path, folder: Path, source: str, arrivals: Path | None) -> None:
    """Make the folder the demo's copy of the project, with its settings; exits with a line where it can't be."""
    try:
        if arrivals and not arrivals.exists():
            raise FileNotFoundError(f"no such archive or folder: {arrivals}")
        claim(folder)
        settings = _sample_settings(source) if source.startswith("sample:") else own_settings(source)
        if kept := bring_up_to_date(folder, project):
            way = f"to begin without them, delete {folder}"
            print(f"demo: rows of {ARRIVALS} that only {folder} has are kept, {way}: {kept}", file=sys.stderr)
        _override(folder / "params.yaml", settings)
        _commit(folder, FIRST_COMMIT)
    except OSError as error:
        sys.exit(f"demo: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"demo: git: {telling(error.stderr) or error}")


def own_settings(source: str) -> dict[str, dict[str, Any]]:
    """Return what params.yaml must say of somebody's own archive or folder; raises FileNotFoundError without it."""
    path = Path(source).expanduser().resolve()
    name = PurePosixPath(urlsplit(source).path).name  # without a query, which may hold a signature
    if "://" not in source:
        if not path.exists():
            raise FileNotFoundError(f"no such archive or folder: {source}")
        source, name = str(path), path.name
    texts = {"data_name": name or "own images"} | dict.fromkeys(UNKNOWN_TEXTS, "not stated") | UNNAMED_SOURCE
    return _settings(source, prepare=_labelling(path) | {"species": {}}, export=texts)


def _sample_settings(source: str) -> dict[str, dict[str, Any]]:
    return _settings(source, export=SAMPLE_TEXTS)


def _settings(source: str, **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    download: dict[str, Any] = {"source": source, "checksum": None, "size_bytes": None}
    return {"download": download, "train": OFFLINE_TRAINING} | sections


def _labelling(path: Path) -> dict[str, Any]:
    try:
        names = [PurePosixPath(name) for name in _names(path)]
    except BROKEN:
        return {}  # download says what is wrong with it
    images = [name for name in names if is_photograph(name)]
    if names_tell(images):
        return {"files": "**/images/*" if any("images" in name.parts[:-1] for name in images) else "**/*.*"}
    return {"files": "**/*.*", "labels_from": "folder"}


def _names(path: Path) -> Iterable[str]:
    if path.is_dir():
        return [found.relative_to(path).as_posix() for found in path.rglob("*")]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return [name.replace("\\", "/") for name in archive.namelist()]
    if path.is_file() and tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            return archive.getnames()
    return []


def _override(path: Path, settings: dict[str, dict[str, Any]]) -> None:
    yaml = YAML()
    params = yaml.load(path)
    for section, values in settings.items():
        params[section].update(values)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def _commit(folder: Path, message: str) -> None:
    try:
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    except subprocess.CalledProcessError as error:
        sys.exit(f"demo: git: {telling(error.stderr) or error}")


def _environment() -> dict[str, str]:
    """Put this interpreter first on the path: dvc.yaml says `python`."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return inherited() | {"PATH": os.pathsep.join(folders)}


def _test_image(folder: Path) -> Path:
    with (folder / "data/split/test.csv").open(encoding="utf-8", newline="") as file:
        return folder / "data/prepared" / next(csv.DictReader(file))["path"]


def _tell(folder: Path) -> None:
    metrics = json.loads((folder / "data/eval/metrics.json").read_text(encoding="utf-8"))
    low, high = metrics["accuracy_low"], metrics["accuracy_high"]
    print(
        f"accuracy  {share(metrics['accuracy'])} on {metrics['num_test']} test images "
        f"(95 % interval {share(low)} to {share(high)})\n"
        f"against   {share(metrics['baseline_logistic'])} by logistic regression on frozen features, "
        f"{share(metrics['baseline_majority'])} by always naming the commonest label\n"
        f"report    {folder / 'data/eval/report.html'}\n"
        f"model     {folder / 'data/bundle'}",
        flush=True,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("demo: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
