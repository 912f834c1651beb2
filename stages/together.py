"""Deal each training batch out to the processes that train together, and average their gradients.

Reads and leaves nothing itself. A step sees the images that it sees in one process, so `batch_size` means the same on
any number of GPUs. fastai's own distributed context needs one more package, runs on CUDA only and multiplies the batch.
"""

from functools import partial
from typing import Any

import torch
from fastai.callback.core import Callback
from torch import nn

from stages.distributed import averaged, bare, rank, size
from stages.errors import ParamsError


class Together(Callback):  # type: ignore[misc]
    """Wraps the network in torch's DistributedDataParallel, and lets the train side's loader give this process's part.

    Every process validates on the whole valid side: nothing is to be gathered, and a part of it has no macro F1.
    """

    order = 11  # where fastai has its own

    def __init__(self, side: int) -> None:
        self.side = side

    def before_fit(self) -> None:
        """Put both on. Raises ParamsError where a batch can't be dealt out."""
        device = next(self.learn.model.parameters()).device
        places = [device] if device.type == "cuda" else None
        # torch would wait for ever for the gradients of such parameters; to look for them costs each step some time.
        self.learn.model = nn.parallel.DistributedDataParallel(
            self.learn.model, device_ids=places, find_unused_parameters=_leaves_some_out(self.learn.model, self.side)
        )
        loader = self.learn.dls.train
        self.num_images, self.batch_size = loader.n, loader.bs
        own = share_of(self.batch_size, self.num_images, size())
        loader.get_idxs = partial(_part, loader, self.num_images, self.batch_size)
        loader.n, loader.bs = self.num_images // self.batch_size * own, own

    def after_fit(self) -> None:
        """Take both off again."""
        self.learn.model = bare(self.learn.model)
        loader = self.learn.dls.train
        loader.n, loader.bs = self.num_images, self.batch_size
        del loader.get_idxs


class SameLoss(Callback):  # type: ignore[misc]
    """Lets each process see the mean of all their losses, so that the learning-rate finder stops in all at one step."""

    order = 12  # before the recorder

    def after_batch(self) -> None:
        """Put the mean in the place of this process's own loss."""
        self.learn.loss = torch.tensor(averaged(float(self.loss)))


def share_of(batch_size: int, num_images: int, num_processes: int) -> int:
    """Return how many images of a batch each process gets; at least two, because batch norm needs a spread.

    Raises ParamsError where they are fewer, or some would be left over; only of a train side that is a single batch the
    remainder is left out.
    """
    own = batch_size // num_processes
    if own < 2:
        raise ParamsError(
            f"params.yaml: train: batch_size, or the train side, is less than two images for each of {num_processes} "
            f"GPUs: {batch_size}"
        )
    if batch_size % num_processes and batch_size != num_images:
        whole = own * num_processes
        raise ParamsError(
            f"params.yaml: train: batch_size: no multiple of the {num_processes} GPUs, try {whole}: {batch_size}"
        )
    return own


def _leaves_some_out(network: nn.Module, side: int) -> bool:
    """Say whether something that learns has no part in the answer: fastai takes a timm network without its last layers.

    Those are still there, such as the norm in a ConvNeXt's head.
    """
    learning = [one for one in network.parameters() if one.requires_grad]
    was_training, device = network.training, learning[0].device
    answer = network.eval()(torch.zeros(2, 3, side, side, device=device))
    network.train(was_training)
    return any(one is None for one in torch.autograd.grad(answer.sum(), learning, allow_unused=True))


def _part(loader: Any, num_images: int, batch_size: int) -> list[int]:
    """Return this process's images, batch after batch; the seed makes the order the same on all of them."""
    order = loader.shuffle_fn(list(range(num_images)))
    own = batch_size // size()
    starts = range(0, num_images - batch_size + 1, batch_size)
    return [image for start in starts for image in order[start : start + batch_size][rank() :: size()][:own]]
