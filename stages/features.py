"""Run images through a network, or through its frozen body, in batches.

Reads prepared images; leaves nothing.
"""

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.cores import num_cores
from stages.images import model_input
from stages.threads import in_threads

BATCH_SIZE = 32
# From so many images on, a CPU's answers come from onnxruntime, although its 2 s of a start pay for themselves (4 ms an
# image against eager torch's 6) only from a thousand on: its answers can be kept, and the next experiment has them.
MIN_COMPILED = 64


class Preprocessing(NamedTuple):
    """What happens to a prepared image's 0-255 pixels before a network sees them."""

    image_size: int
    mean: Sequence[float]
    std: Sequence[float]


def network_inputs(paths: Sequence[Path], preprocessing: Preprocessing) -> Tensor:
    """Return the normalised centre crops of the images: N x 3 x side x side, float32."""
    return _normalised([model_input(path, preprocessing.image_size) for path in paths], preprocessing)


def input_batches(paths: Sequence[Path], preprocessing: Preprocessing) -> Iterator[Tensor]:
    """Yield `network_inputs` of BATCH_SIZE images after the other; while one is used, threads decode the next."""
    size = preprocessing.image_size
    with in_threads(lambda path: model_input(path, size), paths, ahead=BATCH_SIZE) as pixels:
        for some in _batches(paths):
            yield _normalised(list(islice(pixels, len(some))), preprocessing)


def outputs(
    network: Callable[[Tensor], Tensor], paths: Sequence[Path], preprocessing: Preprocessing, device: torch.device
) -> NDArray[np.float32]:
    """Return what `network` gives for each image, one row an image, in the order of `paths`.

    The network must be in evaluation mode and on `device`.
    """
    return np.concatenate(list(output_batches(network, paths, preprocessing, device)))


def output_batches(
    network: Callable[[Tensor], Tensor], paths: Sequence[Path], preprocessing: Preprocessing, device: torch.device
) -> Iterator[NDArray[np.float32]]:
    """Yield `outputs` of BATCH_SIZE images after the other, as they are computed."""
    for inputs in input_batches(paths, preprocessing):
        # channels_last: convolutions on a CPU run about 1.8 times as fast in it.
        batch = inputs.to(device, memory_format=torch.channels_last)
        with torch.inference_mode(), _whole_floats():
            rows = network(batch).float().cpu().numpy()
        yield rows


class _Pooled(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, batch: Tensor) -> Tensor:
        maps: Tensor = self.body(batch)
        return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps


def pooled(body: nn.Module) -> nn.Module:
    """Return a network that gives the body's features averaged over all places: N x channels."""
    return _Pooled(body).eval()


def is_compiled_for(device: torch.device, num_images: int) -> bool:
    """Say whether so many images are worth compiling a network on this device."""
    return device.type == "cpu" and num_images >= MIN_COMPILED


def frozen(network: nn.Module, image_size: int, device: torch.device, *, num_images: int) -> Callable[[Tensor], Tensor]:
    """Return `pooled(network)` by the engine that is done first with `num_images` images: on a CPU often onnxruntime.

    It takes batches of up to BATCH_SIZE images. Compiled, the network's weights are copied: what is learned later
    doesn't show. The engines differ by about 1e-5.
    """
    if not is_compiled_for(device, num_images):
        return pooled(network)
    return _compiled(pooled(network), image_size) or pooled(network)


class Compiled:
    """A network as onnxruntime computes it; what it says of an image doesn't depend on the others in the batch.

    With a known number of images onnxruntime works the padding out once, and not for every batch (5 against 8 ms an
    image), and takes the same path for each. So the last batch is filled up.
    """

    def __init__(self, file: bytes) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        if num_cores() < (os.cpu_count() or 1):  # else it takes as many threads as the machine has cores
            options.intra_op_num_threads = num_cores()
        options.add_free_dimension_override_by_name("images", BATCH_SIZE)
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the outputs of up to BATCH_SIZE images."""
        filling = batch.new_zeros(BATCH_SIZE - len(batch), *batch.shape[1:])
        whole = torch.cat([batch, filling]) if len(filling) else batch
        return torch.from_numpy(self._session.run(None, {"image": whole.contiguous().numpy()})[0][: len(batch)])


def mirrored(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return `function` of the same batch seen in a mirror."""
    return lambda batch: function(batch.flip(3))


def _compiled(network: nn.Module, image_size: int) -> Compiled | None:
    """Return the network as onnxruntime computes it, None where the exporter can't follow it."""
    _onnxruntime()
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

    file, axes = io.BytesIO(), {"image": {0: "images"}, "features": {0: "images"}}
    draw = torch.Generator().manual_seed(0)
    example, other = (torch.randn(number, 3, image_size, image_size, generator=draw) for number in (2, 3))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # that this exporter is the old one; the new one takes ten seconds
            names = {"input_names": ["image"], "output_names": ["features"], "dynamic_axes": axes}
            torch.onnx.export(network, (example,), file, dynamo=False, **names)  # type: ignore[arg-type]
            run = Compiled(file.getvalue())
            # Where the network reckons with its batch, the trace may hold for the example's number of images alone.
            wanted, found = network(other), run(other)
    except (torch.onnx.errors.OnnxExporterError, Fail, InvalidArgument, RuntimeException):
        return None
    return run if found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-3) else None


def _onnxruntime() -> Any:
    """Return onnxruntime, which from 1.29 on reports to its maker over the network, unless told not to before."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _normalised(pixels: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing) -> Tensor:
    values = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (preprocessing.mean, preprocessing.std))
    return values.div_(255).sub_(mean).div_(std)  # in place, because each new block of memory costs as much again


def _whole_floats() -> AbstractContextManager[None]:
    """Let a GPU reckon with all digits of a float32, as the ONNX file will: TF32 has 10 bits of 23."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[start : start + BATCH_SIZE] for start in range(0, len(paths), BATCH_SIZE))
