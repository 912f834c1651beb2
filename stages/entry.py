"""Turn a stage function into the program `python -m stages.<name>`.

A stage is a function `stage(params, *, some_path: Path, …)`: its first argument is its section of params.yaml, every
other one a path that dvc.yaml hands over as `--some-path`. Reads params.yaml; leaves what the stage leaves.
"""

import argparse
import errno
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, get_type_hints

from stages.cores import settle_threads
from stages.errors import (
    NO_THREADS,
    DataError,
    ParamsError,
    ResourceError,
    StageError,
    is_lack_of_memory,
    is_lack_of_threads,
)
from stages.interrupts import end_on_signals
from stages.params import sections
from stages.progress import heard_or_not

_UNUSABLE = {errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ENXIO, errno.ENODEV, errno.EMFILE, errno.ENFILE}
NAMES = ("download", "prepare", "split", "train", "evaluate", "export")
# What others put into any folder.
_PUT_ANYWHERE = {".DS_Store", ".gitignore", ".gitkeep"}


class Output(NamedTuple):
    """What a stage leaves right in its folder: always, and only with some settings, sources or releases."""

    always: frozenset[str]
    sometimes: frozenset[str] = frozenset()


# By this an older output is known, which the new one may replace. train replaces nothing, it writes into its folder.
OUTPUTS = {
    "download": Output(frozenset({"arrivals.csv", "source"}), frozenset({"arrivals", "corrections.csv"})),
    "prepare": Output(
        frozenset({"balance.csv", "conflicts.csv", "images", "index.csv", "prepare.json", "rejects.csv"}),
        frozenset({"corrected.csv"}),
    ),
    "split": Output(frozenset({"split.json", "test.csv", "train.csv", "valid.csv"})),
    "evaluate": Output(
        frozenset({"breeds.csv", "calibration.json", "confused_pairs.csv", "confusion.csv", "metrics.json",
                   "params.json", "predictions.csv", "reliability.csv", "report.html", "test_logits.npy"}),
        frozenset({"doubtful.csv", "heatmaps", "published_report.html", "shown_images.csv"}),
    ),
    "export": Output(
        frozenset({"card.json", "card.md", "labels.json", "learner.pkl", "metrics.json", "model.onnx", "params.yaml",
                   "preprocess.json", "report.html", "seen_images.csv", "weights.safetensors"}),
        frozenset({"self_test", "self_test.json", "shown_images.csv"}),
    ),
}  # fmt: skip


def run(stage: Callable[..., None], arguments: list[str] | None = None, *, reads: str = "") -> None:
    """Run `stage` with its params, or those of the stage that it `reads`, and the paths given on the command line.

    All sections of params.yaml are checked before any work, so that a typo in `train` is not found after the download;
    so is that nothing but an older output is where the new one goes.
    Exits with 1 and one line on stderr for a StageError, a full disk, no memory or threads left or a lack of rights,
    with 130 for Ctrl-C and 143 when terminated; anything else is a bug and shows its traceback.
    """
    hints = {name: hint for name, hint in get_type_hints(stage).items() if name != "return"}
    name = stage.__name__
    parser = _parser(stage, [argument for argument, hint in hints.items() if hint is Path])
    paths = vars(parser.parse_args(arguments))
    params_path = paths.pop("params")
    with failing_in_one_line(name):
        if not reads:
            _check_known(name)
            _check_out(name, paths | {"params": params_path})
        stage(_checked_params(params_path, reads or name), **paths)


@contextmanager
def failing_in_one_line(name: str) -> Iterator[None]:
    """End this process with one line on stderr, as `run` says, where the block fails by what a user can mend."""
    end_on_signals(name)
    # The libraries talk to each other about deprecations; nobody who runs a stage can act on them.
    warnings.filterwarnings("ignore", category=FutureWarning)
    with heard_or_not():
        try:
            settle_threads()
            yield
        except StageError as error:
            # fastai puts lines of its own before the message of an error that passes through it.
            _leave(name, str(error).splitlines()[-1].strip(), 1)
        except KeyboardInterrupt:
            _leave(name, "interrupted; nothing half-written; go on with: dvc repro", 130)
        except OSError as error:
            _leave(name, str(_resource_error(error)), 1)
        except Exception as error:
            if is_lack_of_threads(error):
                _leave(name, NO_THREADS, 1)
            if not is_lack_of_memory(error):
                raise
            _leave(name, "out of memory; end what else runs here, or lower train.image_size or prepare.short_side", 1)


def _parser(stage: Callable[..., None], paths: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage.__name__}", description=inspect.getdoc(stage))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    for path in paths:
        parser.add_argument(f"--{path.replace('_', '-')}", type=Path, required=True, metavar="PATH")
    return parser


def _check_known(name: str) -> None:
    """Raise ParamsError for a new stage of which nobody has said what it leaves: its `out` is replaced whole."""
    if name not in NAMES:
        raise ParamsError(f"a stage that stages/entry.py doesn't know; write it into NAMES there: {name}")
    if name not in {*OUTPUTS, "train"}:
        raise ParamsError(f"write into OUTPUTS in stages/entry.py what the stage leaves; its --out is replaced: {name}")


def _check_out(name: str, paths: dict[str, Path]) -> None:
    """Raise DataError where a stage's writing to `out` would lose anything but its own last output."""
    places = {f"--{option}": Path(os.path.realpath(path)) for option, path in paths.items()}
    given, out = paths["out"], places.pop("--out")
    lost = [f"{option} ({place})" for option, place in places.items() if place.is_relative_to(out)]
    if Path.cwd().is_relative_to(out):
        lost.append("the folder that you are in")
    if lost:
        raise DataError(f"--out holds {lost[0]}; name a folder of its own: {given}")
    if out.exists() and not out.is_dir():
        raise DataError(f"--out is a folder's place, and something else is there; name another one: {given}")
    if name in OUTPUTS and out.is_dir() and (told := _not_left_by(name, out)):
        raise DataError(
            f"--out is replaced whole, and what is there is no output of {name} ({told}); "
            f"move it away or name another place: {given}"
        )


def _not_left_by(name: str, out: Path) -> str:
    """Return what shows that the stage hasn't left the folder, "" where it may have, or where the folder is empty."""
    output, there = OUTPUTS[name], {path.name for path in out.iterdir()} - _PUT_ANYWHERE
    if others := sorted(there - output.always - output.sometimes):
        return f"it holds {others[0]}"
    lacking = sorted(output.always - there) if there else []
    return f"it lacks {lacking[0]}" if lacking else ""


def _checked_params(path: Path, name: str) -> Any:
    return sections(path, {other: _params_type(other) for other in NAMES})[name]


def _params_type(name: str) -> type:
    found = getattr(importlib.import_module(f"stages.{name}"), f"{name.capitalize()}Params")
    assert isinstance(found, type)
    return found


def _resource_error(error: OSError) -> StageError:
    place = error.filename or "the disk"
    if error.errno == errno.EAGAIN:  # of a fork
        return ResourceError(NO_THREADS)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ResourceError(f"no space left; free some and run again: {place}")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ResourceError(f"not allowed to read or write; check its rights: {place}")
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}:
        return ParamsError(f"{os.strerror(error.errno or 0)}; run `dvc repro`, which makes what a stage reads: {place}")
    if error.errno in _UNUSABLE:
        return ResourceError(f"can't be read or written ({os.strerror(error.errno or 0)}): {str(place)[:200]}")
    raise error


def _leave(name: str, message: str, status: int) -> NoReturn:
    print(f"{name}: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
