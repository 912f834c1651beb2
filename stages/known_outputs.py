"""Keep what a network says of prepared images, so that this machine computes it once: for all experiments on the head.

Reads and leaves `<folder>/<fingerprint>.sqlite`, outside DVC's outputs: a row an image, by the SHA-256 of its bytes.
What is kept is what would be computed, to the bit, so that it costs or saves time and changes nothing.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.cores import num_cores
from stages.features import BATCH_SIZE, Compiled, Preprocessing, frozen, is_compiled_for, mirrored, output_batches
from stages.fingerprints import fingerprint
from stages.kept_rows import KeptRows

# What decides the rows besides network, preprocessing, packages and machine.
_CODE = ("features", "images", "kept_rows", "known_outputs")

Rows = NDArray[np.float32]


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
            return np.concatenate(list(self._computed(paths, in_mirror)))
        names = [_name(path, in_mirror) for path in paths]
        known = self._kept.get(names)
        missing = {name: path for name, path in zip(names, paths, strict=True) if name not in known}
        if missing and not isinstance(self._engine, Compiled):
            return np.concatenate(list(self._computed(paths, in_mirror)))
        computed = self._computed(list(missing.values()), in_mirror)
        for some, rows in zip(_batches(list(missing)), computed, strict=True):
            found = dict(zip(some, rows, strict=True))
            self._kept.put(found)
            known |= found
        return np.stack([known[name] for name in names])

    @cached_property
    def _engine(self) -> Callable[[Tensor], Tensor]:
        return frozen(self._network, self._how.image_size, self._device, num_images=self._num_images)

    @cached_property
    def _kept(self) -> KeptRows:
        """Return the file of this network's rows: each architecture, image size or fine-tuned network has its own."""
        weights = hashlib.sha256()
        for name, tensor in self._network.state_dict().items():
            weights.update(name.encode())
            weights.update(tensor.contiguous().numpy().tobytes())
        parts = {
            "network": repr(self._network),
            "weights": weights.hexdigest(),
            "preprocessing": self._how,
            "machine": _machine(),
        }
        code = [Path(__file__).with_name(f"{module}.py") for module in _CODE]
        return KeptRows(self._folder / f"{fingerprint(parts, code)}.sqlite", "known outputs")

    def _computed(self, paths: Sequence[Path], in_mirror: bool) -> Iterator[Rows]:
        function = mirrored(self._engine) if in_mirror else self._engine
        return output_batches(function, paths, self._how, self._device)


def _machine() -> str:
    """Return what an image's last digits may depend on: the processor and how many of its cores are ours."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = [platform.processor()]
    named = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), f"{num_cores()} cores", *sorted(named or lines)])


def _name(path: Path, in_mirror: bool) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() + (" in a mirror" if in_mirror else "")


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + BATCH_SIZE] for start in range(0, len(names), BATCH_SIZE))
