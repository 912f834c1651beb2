"""Keep what a network says of prepared images, so that this machine computes it once: for all experiments on the head.

Reads and leaves `<folder>/<fingerprint>.sqlite`, outside DVC's outputs, with a row an image: the SHA-256 of its bytes,
the network's outputs, and their CRC-32. What is kept is what would be computed, to the bit, so that it costs or saves
time and changes nothing; it may be deleted at any time.
"""

import hashlib
import os
import platform
import sqlite3
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.checkpoints import fingerprint
from stages.features import BATCH_SIZE, Compiled, Preprocessing, frozen, is_compiled_for, mirrored, outputs

# Each architecture, image size or fine-tuned network has a file of its own; this many of them stay.
MOST_FILES = 8
_CODE = ("features", "images")

Rows = NDArray[np.float32]
Value = TypeVar("Value")


class KnownOutputs:
    """The outputs of one network, looked up where this machine has computed them before.

    `network` is in evaluation mode and on `device`; maps are averaged over all places. `num_images`, how many will be
    asked for altogether, decides the engine. Nothing is kept on a GPU, for few images, or of a network that the
    exporter can't follow: there, an image's last digits may depend on its neighbours in the batch.
    """

    def __init__(
        self, network: nn.Module, how: Preprocessing, device: torch.device, *, num_images: int, folder: Path
    ) -> None:
        self._network, self._how, self._device = network, how, device
        self._num_images, self._folder = num_images, folder

    def of(self, paths: Sequence[Path], *, in_mirror: bool = False) -> Rows:
        """Return one row of outputs a prepared image, in the order of `paths`, or of what a mirror shows of it."""
        if not is_compiled_for(self._device, self._num_images):
            return self._computed(paths, in_mirror)
        names = [_name(path, in_mirror) for path in paths]
        known = self._kept(names)
        missing = {name: path for name, path in zip(names, paths, strict=True) if name not in known}
        if missing and not isinstance(self._engine, Compiled):
            return self._computed(paths, in_mirror)
        for some in _batches(list(missing)):
            found = dict(zip(some, self._computed([missing[name] for name in some], in_mirror), strict=True))
            self._keep(found)
            known |= found
        return np.stack([known[name] for name in names])

    @cached_property
    def _engine(self) -> Callable[[Tensor], Tensor]:
        return frozen(self._network, self._how.image_size, self._device, num_images=self._num_images)

    @cached_property
    def _file(self) -> Path:
        weights = hashlib.sha256()
        for name, tensor in self._network.state_dict().items():
            weights.update(name.encode())
            weights.update(tensor.contiguous().numpy().tobytes())
        parts = {
            "network": repr(self._network),
            "weights": weights.hexdigest(),
            "preprocessing": self._how,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
        code = [Path(__file__).with_name(f"{module}.py") for module in _CODE]
        return self._folder / f"{fingerprint(parts, code)}.sqlite"

    def _computed(self, paths: Sequence[Path], in_mirror: bool) -> Rows:
        function = mirrored(self._engine) if in_mirror else self._engine
        return outputs(function, paths, self._how, self._device)

    def _kept(self, names: Sequence[str]) -> dict[str, Rows]:
        def read(file: sqlite3.Connection) -> dict[str, Rows]:
            query = "SELECT crc, row FROM outputs WHERE name = ?"
            found = ((name, file.execute(query, (name,)).fetchone()) for name in names)
            return {name: np.frombuffer(row[1], np.float32) for name, row in found if row and _is_whole(*row)}

        return self._with_file(read) or {}

    def _keep(self, rows: Mapping[str, Rows]) -> None:
        def write(file: sqlite3.Connection) -> None:
            pairs = ((name, row.tobytes()) for name, row in rows.items())
            values = [(name, zlib.crc32(data), data) for name, data in pairs]
            with file:
                file.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", values)

        self._with_file(write)

    def _with_file(self, action: Callable[[sqlite3.Connection], Value]) -> Value | None:
        """Do something with the file, made where there is none; what goes wrong is told, and costs time only."""
        try:
            if not self._file.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                _forget_old(self._folder)
            with closing(sqlite3.connect(self._file, timeout=60)) as connection:
                connection.execute("PRAGMA synchronous = OFF")  # what a power cut breaks is computed anew
                connection.execute("CREATE TABLE IF NOT EXISTS outputs (name TEXT PRIMARY KEY, crc INTEGER, row BLOB)")
                return action(connection)
        except sqlite3.OperationalError as error:
            _tell(f"can't be kept, {error}: {self._file}")
        except sqlite3.DatabaseError as error:
            _tell(f"can't be read, {error}; computed anew: {self._file}")
            self._file.unlink(missing_ok=True)
        except OSError as error:
            _tell(f"can't be kept, {error.strerror}: {self._file}")
        return None


def _tell(what: str) -> None:
    print(f"known outputs {what}", file=sys.stderr)


def _name(path: Path, in_mirror: bool) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() + (" in a mirror" if in_mirror else "")


def _is_whole(crc: object, row: object) -> bool:
    return isinstance(row, bytes) and len(row) % 4 == 0 and zlib.crc32(row) == crc


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + BATCH_SIZE] for start in range(0, len(names), BATCH_SIZE))


def _forget_old(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.sqlite"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[MOST_FILES - 1 :]:
        path.unlink(missing_ok=True)
