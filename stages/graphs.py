"""Replay a network's passes as CUDA graphs: a GPU is told of a whole pass at once, not of each of its 500 small steps.

Reads and leaves nothing. A resnet34 takes an H100 half the time that Python needs to tell it what to do.
"""

import gc
import sys

import torch
from fastai.callback.core import Callback


class Graphs(Callback):  # type: ignore[misc]
    """Records forward and backward pass of a training step before a fit, and lets the network go afterwards.

    A network that can't be recorded, because it looks at its numbers on the way, trains as it is.
    """

    order = 12  # after the mixed precision

    def __init__(self, side: int, precision: torch.dtype | None) -> None:
        self.side, self.precision = side, precision

    def before_fit(self) -> None:
        """Record a step on an empty batch."""
        # fastai keeps the last loss of the fit before, and with it what torch may not meet while it records.
        self.learn.loss_grad = None
        network = self.learn.model.train()
        place = next(network.parameters()).device
        batch = torch.zeros(self.learn.dls.train.bs, 3, self.side, self.side, device=place)
        kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
        stream, precision = torch.cuda.current_stream(place), self.precision
        try:
            with torch.autocast("cuda", dtype=precision, enabled=precision is not None, cache_enabled=False):
                # fastai takes a timm network without its last layers: those are still there, and get no gradient.
                torch.cuda.make_graphed_callables(
                    network, (batch.to(memory_format=torch.channels_last),), allow_unused_input=True
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _recover(stream)
            reason = str(error).partition("\n")[0]
            print(f"train: this network's steps can't be recorded, they take longer: {reason}", file=sys.stderr)
        # The recording counts as training for what batch norms keep.
        for name, buffer in network.named_buffers():
            buffer.copy_(kept[name])

    def after_fit(self) -> None:
        """Let the network be as it was."""
        self.learn.model.__dict__.pop("forward", None)
        gc.collect()  # the recording holds itself, and much memory


def _recover(stream: torch.cuda.Stream) -> None:
    """Undo what a recording that failed leaves: its own stream, and a source of random numbers that waits for its end.

    What is drawn next begins with the next seed, which every epoch sets.
    """
    torch.cuda.set_stream(stream)
    generator = torch.cuda.default_generators[stream.device.index]
    generator.graphsafe_set_state(torch.Generator(stream.device).graphsafe_get_state())
