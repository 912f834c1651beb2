"""Bring a version's files to this machine: into the cache, each verified by its hash.

Reads the registry, but for what the cache has; leaves files in the cache, under their hashes.
"""

import shutil
from collections.abc import Collection
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event

from petmodels.cache import Cache
from petmodels.disk import from_the_root
from petmodels.errors import ChecksumError, MachineError
from petmodels.hashing import Progress, no_progress
from petmodels.manifest import File
from petmodels.names import blob_key
from petmodels.parallel import at_once
from petmodels.storage import NotStoredError, Storage


def fetch(
    storage: Storage, cache: Cache, model: str, files: Collection[File], progress: Progress = no_progress
) -> dict[str, Path]:
    """Return where in the cache each file lies, by its path in the bundle; what is missing is downloaded and verified.

    Raises ChecksumError for bytes that are not the published ones, MachineError for a full disk. When a signal ends
    this thread, a store that is silent is not waited for; downloads that go on end with their next piece.
    """
    wanted = {file.sha256: file for file in files}
    _check_space(cache, sum(cache.num_missing_bytes(file.sha256, file.size_bytes) for file in wanted.values()))
    ended = Event()

    def told(num_bytes: int) -> None:
        if ended.is_set():
            raise CancelledError
        progress(num_bytes)

    def bring(file: File) -> tuple[str, Path]:
        name = f"{file.path} of {model}"
        try:
            key = blob_key(model, file.blob)
            path = cache.fetch(
                file.sha256, file.size_bytes, name, lambda start, size: storage.download(key, start, size), told
            )
        except NotStoredError as error:
            raise ChecksumError(f"the registry has lost this file's bytes; run petmodels verify: {name}") from error
        return file.sha256, path

    try:
        paths = dict(at_once(bring, wanted.values(), is_left_when_ended=True))
    finally:
        ended.set()
    return {file.path: paths[file.sha256] for file in files}


def _check_space(cache: Cache, missing_bytes: int) -> None:
    place = next(path for path in (cache.folder, *from_the_root(cache.folder).parents) if path.exists())
    free = shutil.disk_usage(place).free
    if missing_bytes > free:
        raise MachineError(f"{missing_bytes} bytes are to be downloaded and {free} are free on this disk: {place}")
