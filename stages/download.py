"""Bring the source and all later arrivals into one folder: known bytes, safely unpacked.

Reads params.yaml's source, arrivals.csv and corrections.csv. Leaves data/raw: `source/…`, `arrivals/<row>/…`, without
the images that were withdrawn, and both lists; and in the cache what was fetched, so that it is fetched once. Files get
the modes that new files have: DVC protects what it keeps in its own cache, and a read-only file would only be in the
way of its links and of `rm`.
"""

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from stages.addresses import Kind, file_name, kind_of, names_image, shown
from stages.archives import copy_tree, extract, is_archive
from stages.arrivals import COLUMNS, Arrival, read_arrivals
from stages.checksums import Checksum, sha256_of
from stages.corrections import COLUMNS as CORRECTED
from stages.corrections import read_corrections, withdrawn
from stages.errors import ParamsError, SourceError, UnreachableError
from stages.fetching import Fetcher
from stages.members import Limits
from stages.outputs import new_folder, write_csv
from stages.params import STRICT
from stages.threads import in_waiting_threads

_WAYS_ON = "two ways on: set download.source to an archive or folder of this machine, or run `make demo`"


@dataclass(frozen=True, kw_only=True)
class DownloadParams:
    """Where the images come from, what is known about the bytes, and how much to put up with."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    source: Annotated[
        str,
        Field(min_length=1, description="https://…, http://… or s3://bucket/key of an archive, a path, or sample:…"),
    ]
    checksum: Annotated[
        Checksum | None,
        Field(description="sha256:…, md5:… or md5-of-first-mib:…; null only for what this machine already has"),
    ]
    size_bytes: Annotated[int | None, Field(ge=1, description="length of the source's file; null: any")]
    retries: Annotated[int, Field(ge=0, le=100, description="failures in a row, without a new byte, to put up with")]
    timeout_seconds: Annotated[float, Field(gt=0, le=3600, description="how long to wait for a server's next byte")]
    max_files: Annotated[int, Field(ge=1, description="an archive with more members is refused")]
    max_bytes: Annotated[int, Field(ge=1, description="an archive that unpacks to more is refused")]
    max_ratio: Annotated[float, Field(ge=1, description="an archive that grows by more when unpacked is refused")]

    @property
    def limits(self) -> Limits:
        return Limits(max_files=self.max_files, max_bytes=self.max_bytes, max_ratio=self.max_ratio)


@dataclass(frozen=True)
class _Listed:
    path: Path
    number: int
    row: Arrival

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let what fails in the block say which row it is."""
        try:
            yield
        except SourceError as error:
            raise type(error)(f"{self.path}: row {self.number}: {error}") from error


def download(params: DownloadParams, *, arrivals: Path, corrections: Path, cache: Path, out: Path) -> None:
    """Fetch, check and unpack the source and the arrivals into `out`.

    An arrival that was withdrawn isn't fetched and needn't be there any more; what `cache` holds of it is removed.
    Raises SourceError for what can't be had or may not be used, DataError for a wrong list; `out` is then as it was,
    and what came of a file stays in `cache`.
    """
    rows, corrected = read_arrivals(arrivals), read_corrections(corrections)
    gone = {one.sha256 for one in withdrawn(corrected)}
    fetcher = Fetcher(
        cache=cache, retries=params.retries, timeout_seconds=params.timeout_seconds, max_bytes=params.max_bytes
    )
    try:
        with new_folder(out) as folder:
            num_files = _add_source(params, fetcher, folder / "source", out)
            for row in rows:
                if row.sha256 in gone:
                    fetcher.forget(row.address)
            listed = [_Listed(arrivals, number, row) for number, row in enumerate(rows, 1) if row.sha256 not in gone]
            num_files += _add_arrivals(listed, fetcher, folder / "arrivals", params.limits)
            num_files -= _take_out(folder, gone)
            write_csv(folder / "arrivals.csv", COLUMNS, map(astuple, rows))
            write_csv(folder / "corrections.csv", CORRECTED, map(astuple, corrected))
    except OSError as error:
        error.filename = error.filename or f"{cache} or {out}"  # a write to a full disk names no file
        raise
    print(f"download: {num_files} files in {out}; next: dvc repro prepare", file=sys.stderr)


def _add_source(params: DownloadParams, fetcher: Fetcher, folder: Path, out: Path) -> int:
    kind = kind_of(params.source)
    local = Path(os.path.expanduser(params.source))  # noqa: PTH111 - pathlib's raises where nobody has that name
    is_folder = kind == "path" and local.is_dir()
    _check_promises(params, kind, is_folder=is_folder)
    if kind == "path":
        _check_place(local.resolve(), out)
    folder.mkdir()
    if kind == "sample":
        return _draw(params.source, folder)
    if is_folder:
        return copy_tree(local, folder, params.limits)
    try:
        archive = fetcher.file(params.source, checksum=params.checksum, size_bytes=params.size_bytes)
    except UnreachableError as error:
        raise UnreachableError(f"{error}; {_WAYS_ON}") from error
    return extract(archive, folder, params.limits, name=shown(params.source))


def _check_promises(params: DownloadParams, kind: Kind, *, is_folder: bool) -> None:
    """Refuse settings that can't take effect, and a file from elsewhere of which nothing is known."""
    if kind == "sample" or is_folder:
        if params.checksum or params.size_bytes:
            raise ParamsError(
                f"set download.checksum and download.size_bytes to null, they are for a file: {params.source}"
            )
    elif kind != "path" and not params.checksum:
        raise ParamsError(f"set download.checksum, what is fetched is checked before it is opened: {params.source}")
    elif (params.checksum or "").startswith("md5-of-first-mib:") and not params.size_bytes:
        raise ParamsError(f"set download.size_bytes, a checksum of the first MiB says too little: {params.source}")


def _check_place(local: Path, out: Path) -> None:
    if local.is_relative_to(out.resolve()) or out.resolve().is_relative_to(local):
        raise ParamsError(f"download.source must be neither in nor around {out}, which is replaced: {local}")


def _draw(address: str, folder: Path) -> int:
    from stages.drawing import draw_sample, parse_sample

    draw_sample(folder, **vars(parse_sample(address)))
    return sum(path.is_file() for path in folder.rglob("*"))


def _add_arrivals(arrivals: Sequence[_Listed], fetcher: Fetcher, folder: Path, limits: Limits) -> int:
    """Add the arrivals in their order, while those after them are fetched; return the number of files."""

    def fetched(arrival: _Listed) -> Path:
        with arrival.named():
            return fetcher.file(arrival.row.address, checksum=f"sha256:{arrival.row.sha256}")

    # Of two rows with one address the second may be for other bytes, which would replace the first's in the cache.
    first = {arrival.row.address: arrival for arrival in reversed(arrivals)}
    num_files = 0
    with in_waiting_threads(fetched, [one for one in arrivals if one is first[one.row.address]]) as files:
        for arrival in arrivals:
            file = next(files) if arrival is first[arrival.row.address] else fetched(arrival)
            with arrival.named():
                num_files += _add_arrival(arrival.row.address, file, folder / f"{arrival.number:05d}", limits)
    return num_files


def _add_arrival(address: str, file: Path, folder: Path, limits: Limits) -> int:
    folder.mkdir(parents=True)
    # A photograph can be an archive too; what was judged as an image stays one.
    if not names_image(address) and is_archive(file):
        return extract(file, folder, limits, name=shown(address))
    shutil.copyfile(file, folder / file_name(address))
    return 1


def _take_out(folder: Path, gone: Collection[str]) -> int:
    """Remove the files that were withdrawn from what was unpacked or copied; return how many."""
    if not gone:
        return 0
    files = [path for path in folder.rglob("*") if path.is_file() and sha256_of(path) in gone]
    for path in files:
        path.unlink()
    return len(files)


if __name__ == "__main__":
    from stages.download import download as stage
    from stages.entry import run

    run(stage)
