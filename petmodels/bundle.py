"""The bundle: a plain folder with a model in it. What publish reads of it, and what its files are called.

Publish takes any files. Of these it reads card.json, metrics.json and params.yaml into the manifest when they are
there; predict needs model.onnx, labels.json and preprocess.json. Everything else is carried as it is, pickles too,
which nothing here ever opens.
"""

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from petmodels.disk import all_below, is_folder
from petmodels.documents import load_object
from petmodels.errors import BundleError, FormatError
from petmodels.hashing import Digest, digests_of
from petmodels.names import is_litter
from petmodels.paths import PULLED, check_paths

MODEL, LABELS, PREPROCESS, SELF_TEST = "model.onnx", "labels.json", "preprocess.json", "self_test.json"
CARD, METRICS, PARAMS = "card.json", "metrics.json", "params.yaml"
SEEN, SHOWN = "seen_images.csv", "shown_images.csv"
_MEDIA_TYPES = {
    ".onnx": "application/onnx",
    ".safetensors": "application/vnd.safetensors",
    ".pkl": "application/x-python-pickle",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".json": "application/json",
}
_IMAGES = "self_test"
_LONGEST_TEXT_BYTES = 2**20


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle on disk: its path inside the bundle, and where it is, how large, and its hashes."""

    path: str
    source: Path
    size_bytes: int
    digest: Digest
    media_type: str

    @property
    def sha256(self) -> str:
        """The hash of the whole file."""
        return self.digest.sha256


@dataclass(frozen=True)
class Bundle:
    """A folder that was read for publishing: every file hashed, and what the manifest repeats of them."""

    folder: Path
    files: tuple[BundleFile, ...]
    card: dict[str, Any]
    metrics: dict[str, Any]
    params: str


def read_bundle(folder: Path) -> Bundle:
    """Read and hash a bundle; raise BundleError, naming the file, for what can't be published."""
    if not is_folder(folder):
        raise BundleError(f"{_absent(folder)}; a bundle is a folder with a model in it: {folder}")
    with _reading():
        found = {path.relative_to(folder).as_posix(): path for path in _paths(folder)}
    if not found:
        raise BundleError(f"the folder is empty, there is nothing to publish: {folder}")
    try:
        check_paths(found, str(folder))
    except FormatError as error:
        raise BundleError(str(error)) from error
    with _reading():
        files = _hashed(found)
    return Bundle(folder, files, _json(folder / CARD), _json(folder / METRICS), text_of(folder / PARAMS))


def is_needed(path: str) -> bool:
    """Say whether predicting needs the file of a bundle: the model, what it means, what it is tested by."""
    return path in {MODEL, LABELS, PREPROCESS, SELF_TEST, CARD, METRICS} or path.startswith(f"{_IMAGES}/")


def local_files(folder: Path) -> dict[str, Path]:
    """Return the files of a bundle folder that predicting needs, by their path in it.

    What else is beside them, such as a volume's closed `lost+found`, isn't looked at. Raises BundleError for no folder,
    and for what is needed and can't be read.
    """
    if not is_folder(folder):
        raise BundleError(f"{_absent(folder)}; a model is NAME@VERSION, NAME@ALIAS or a bundle's folder: {folder}")
    with _reading():
        images = all_below(folder / _IMAGES) if is_folder(folder / _IMAGES) else ()
        found = {path.relative_to(folder).as_posix(): path for path in sorted([*folder.iterdir(), *images])}
        return {path: place for path, place in found.items() if is_needed(path) and _is_file(place)}


def bytes_of(path: Path) -> bytes:
    """Return what a file of a bundle holds; raise BundleError, which names it, when it can't be read."""
    with _reading():
        return path.read_bytes()


def text_of(path: Path) -> str:
    """Return a small text file's content, "" when it is absent; raise BundleError when it is no text, or too long."""
    try:
        with _reading(), suppress(FileNotFoundError):
            if path.stat().st_size > _LONGEST_TEXT_BYTES:
                raise BundleError(f"larger than {_LONGEST_TEXT_BYTES} bytes, too much for a manifest: {path}")
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"not a UTF-8 text: {path}") from error
    return ""


def _absent(folder: Path) -> str:
    try:
        folder.stat()
    except PermissionError as error:
        return f"it can't be read ({error.strerror})"
    except (OSError, ValueError):  # a name that the system refuses is no folder's
        return "no such folder"
    return "not a folder"


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what the disk refuses in the block into BundleError."""
    try:
        yield
    except OSError as error:
        raise BundleError(f"a file or folder can't be read ({error.strerror}): {error.filename}") from error


def _paths(folder: Path) -> list[Path]:
    found = list(all_below(folder))
    for path in found:
        if not S_ISREG(path.lstat().st_mode):
            raise BundleError(f"a bundle holds plain files only, no links, pipes or devices: {path}")
    return [path for path in found if path.name != PULLED and not is_litter(path.name)]


def _is_file(path: Path) -> bool:
    """Say whether a plain file is there, itself or by a link; raise OSError where that can't be known."""
    try:
        return S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _hashed(found: dict[str, Path]) -> tuple[BundleFile, ...]:
    digests = digests_of(found.values())
    return tuple(
        BundleFile(path, source, source.stat().st_size, digest, _media_type(source))
        for (path, source), digest in zip(found.items(), digests, strict=True)
    )


def _media_type(path: Path) -> str:
    known = _MEDIA_TYPES.get(path.suffix.lower())
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _json(path: Path) -> dict[str, Any]:
    text = text_of(path)
    if not text:
        return {}
    try:
        return load_object(text, str(path))
    except FormatError as error:
        raise BundleError(str(error)) from error
