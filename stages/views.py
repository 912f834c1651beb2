"""Hold a training's images decoded where its network runs, and cut the views of each epoch out of them there.

Reads prepared images, each of them once; leaves nothing. Up to MOST_BYTES of pixels are held, by each process that
trains, and twice until they are on a GPU; more of them are read by fastai's own loader, in every epoch again.
"""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fastai.data.load import DataLoader
from fastai.torch_core import TensorCategory, TensorImage
from PIL import Image
from torch import Tensor

from stages import distributed
from stages.cores import num_cores
from stages.learner import short_side

if TYPE_CHECKING:
    from stages.training import Training

# At a short side of 256, the train and valid sides of the full Oxford-IIIT Pets are 1.6 GB.
MOST_BYTES = 2 * 10**9
# fastai transforms so much in one go, one batch or several: its hundreds of small steps take as long for few images.
_BLOCK_BYTES = 2**28
# From so many images on, processes that decode them are worth their start.
_MANY = 1000

Batch = tuple[Tensor, Tensor]


def hold_images(training: "Training") -> None:
    """Let the training's learner read its images from memory, if so many as they are may be held."""
    loaders, images, side = training.learn.dls, training.images, training.params.image_size
    # By squares first: to look at millions of files takes long.
    if isinstance(loaders.train, Views) or len(images) * short_side(images[0]) ** 2 * 3 > MOST_BYTES:
        return
    sizes = [_size(path) for path in images]
    if sum(width * height * 3 for width, height in sizes) > MOST_BYTES:
        return
    pixels, first = Pixels(images, sizes, training.device), 0
    for number, name in enumerate(("train", "valid")):
        targets = [training.labels.index(row["label"]) for row in training.rows[name]]
        loaders.loaders[number] = Views(loaders.loaders[number], pixels, targets, first=first, side=side)
        first += len(targets)


class Pixels:
    """The pixels of all images, one after the other: `values` is pixels x RGB, uint8; the rest, a number an image."""

    def __init__(self, images: Sequence[Path], sizes: Sequence[tuple[int, int]], device: torch.device) -> None:
        """Decode the images, of these widths and heights, and move them to `device`."""
        self.widths, self.heights = torch.tensor(sizes).unbind(1)
        ends = (self.widths * self.heights).cumsum(0)
        self.starts = ends - self.widths * self.heights
        values, end = torch.empty((int(ends[-1]), 3), dtype=torch.uint8), 0
        workers = min(16, num_cores() // distributed.size()) if len(images) >= _MANY else 0
        # Few at once: they pass through shared memory, of which a container may have 64 MB. Of a thousand images that
        # may be held, one has 2 MB at most.
        for some in torch.utils.data.DataLoader(
            _Decoded(images),  # type: ignore[arg-type]
            batch_size=max(1, 2**20 * len(images) // (3 * len(values))),
            num_workers=workers,
            prefetch_factor=1 if workers else None,
            collate_fn=_joined,
            worker_init_fn=_keep_all,
        ):
            values[end : end + len(some)] = some
            end += len(some)
        self.values = values.to(device)

    def windows(self, which: Tensor, side: int, *, at_random: bool) -> Tensor:
        """Return a square of each image, in the middle or anywhere: N x 3 x side x side, uint8, in channels_last."""
        rooms = torch.stack([self.heights[which], self.widths[which]]) - side
        tops, lefts = (torch.rand(rooms.shape) * (rooms + 1)).long() if at_random else rooms // 2
        widths = self.widths[which]
        firsts = self.starts[which] + tops * widths + lefts
        lines = (firsts[:, None] + torch.arange(side) * widths[:, None]).flatten()
        # A line of a square is `side` pixels in a row: of all such rows, which overlap, these are taken.
        rows = self.values.as_strided((len(self.values) - side + 1, 3 * side), (3, 1))
        found = rows.index_select(0, lines.to(rows.device, non_blocking=True))
        return found.view(len(which), side, side, 3).permute(0, 3, 1, 2)


class Views(DataLoader):  # type: ignore[misc]
    """Deals out batches as fastai's loader `like` does, in its order and with its transforms, from held pixels.

    The train side's squares are drawn evenly from all that an image has.

    `first` is the place of the loader's first image among the pixels; `targets`, a label's number for each of its own.
    """

    def __init__(self, like: Any, pixels: Pixels, targets: Sequence[int], *, first: int, side: int) -> None:
        super().__init__(
            range(len(targets)), bs=like.bs, shuffle=like.shuffle, drop_last=like.drop_last, device=like.device
        )
        self.pixels, self.first, self.side = pixels, first, side
        self.targets, self.transforms = torch.tensor(targets), like.after_batch
        # Beside the network, because some transforms wait until a GPU has done all that it was told.
        self.stream = torch.cuda.Stream() if pixels.values.is_cuda else None  # type: ignore[no-untyped-call]

    def __iter__(self) -> Iterator[Batch]:
        self.randomize()
        order = torch.tensor(self.get_idxs())[: len(self) * self.bs]
        self.transforms.split_idx = 0 if self.shuffle else 1
        num_batches = max(1, _BLOCK_BYTES // (self.bs * self.side**2 * 3 * 4))
        before: Batch | None = None
        for some in torch.split(order, num_batches * self.bs):
            block = self._block(some)
            if before is not None:
                yield from self._batches(before)
            before = block
        if before is not None:
            yield from self._batches(before)

    def _block(self, which: Tensor) -> Batch:
        with torch.cuda.stream(self.stream):
            windows = self.pixels.windows(self.first + which, self.side, at_random=self.shuffle)
            targets = self.targets[which].to(windows.device, non_blocking=True)
            images, labels = self.transforms((TensorImage(windows), TensorCategory(targets)))
        return images, labels

    def _batches(self, block: Batch) -> Iterator[Batch]:
        if self.stream is not None:
            here = torch.cuda.current_stream()
            here.wait_stream(self.stream)
            for tensor in block:
                tensor.record_stream(here)
        yield from zip(*(torch.split(tensor, self.bs) for tensor in block), strict=True)


class _Decoded:
    """The pixels of each image, pixels x RGB."""

    def __init__(self, images: Sequence[Path]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: int) -> Tensor:
        with Image.open(self._images[place]) as image:
            return torch.from_numpy(np.array(image.convert("RGB")).reshape(-1, 3))


def _joined(images: Sequence[Tensor]) -> Tensor:
    """Return the images' pixels as one tensor; a process that decodes puts it where the training sees it.

    Left to the queue between the two, a lack of shared memory would be told there and nowhere else, and the training
    would wait for ever.
    """
    pixels = torch.cat(list(images))
    if torch.utils.data.get_worker_info():
        pixels.share_memory_()  # type: ignore[no-untyped-call]
    return pixels


def _keep_all(_number: int) -> None:
    """Let a process that decodes never free what it has of its parent: a tensor on a GPU isn't its own."""
    gc.disable()


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
