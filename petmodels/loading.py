"""`petmodels.load`: from a name or a folder to a model that is ready to predict."""

import os
from pathlib import Path

import petmodels
from petmodels.hashing import Progress, no_progress
from petmodels.registry import Registry, tell_the_log
from petmodels.resolve import Notice


def load(
    spec: str | Path,
    *,
    registry: str | Path | None = None,
    cache: Path | str | None = None,
    notice: Notice = tell_the_log,
    progress: Progress = no_progress,
) -> "petmodels.Model":
    """Return a model: `pets@7`, `pets@production`, `pets` (the newest), or a folder (`./model`), pulled or one's own.

    Comes from the registry, by default PETMODELS_REGISTRY, through the cache: asks nothing of the store for a version
    that was loaded before, one request for an alias. Offline, a version or alias that this machine has is served, an
    alias with a line to `notice` (see Registry); `pets` is not: the newest version isn't guessed. Every byte of theirs,
    and of a folder that a pull has made, is verified; a folder of one's own is taken as it is. The first self-test
    image is answered. Raises BundleError for a folder that is none, NotFoundError, UnreachableError, AccessError,
    TrustError's kinds, and MachineError when onnxruntime is not installed or this machine's files can't be read.
    """
    if isinstance(spec, Path) or (isinstance(spec, str) and is_folder(spec)):
        return _from_folder(Path(spec))
    return Registry(registry, cache=cache, notice=notice).load(spec, progress=progress)


def is_folder(spec: str) -> bool:
    """Say whether a text means a folder on this machine and not a model in a registry: it has a slash or begins so."""
    return spec.startswith(".") or "/" in spec or os.sep in spec


def _from_folder(folder: Path) -> "petmodels.Model":
    from petmodels.bundle import local_files
    from petmodels.model import Model
    from petmodels.pulled import checked_files
    from petmodels.selftest import self_test

    checked = checked_files(folder)
    model = Model(local_files(folder) if checked is None else checked, str(folder))
    self_test(model, most_images=1)
    return model
