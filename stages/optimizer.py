"""fastai's Adam with decoupled weight decay, in one call of torch's fused kernel a group of parameters.

fastai takes nine small steps a parameter, which on a GPU lasts longer than the network's own pass. State and
hyperparameters have fastai's names, so that schedules, freezing and checkpoints know no difference.
"""

from collections.abc import Sequence
from typing import Any

import torch
from fastai.optimizer import Optimizer
from torch import Tensor
from torch.optim.adamw import adamw


class FusedAdam(Optimizer):  # type: ignore[misc]
    """An `opt_func` for a Learner; the defaults are fastai's."""

    def __init__(
        self, params: Any, lr: float, mom: float = 0.9, sqr_mom: float = 0.99, eps: float = 1e-5, wd: float = 0.01
    ) -> None:
        super().__init__(params, [], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    def zero_grad(self) -> None:
        """Let all gradients go."""
        for parameters in self.param_lists:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        """Move every parameter that has a gradient."""
        for parameters, hyper in zip(self.param_lists, self.hypers, strict=True):
            learning = [one for one in parameters if one.grad is not None]
            for decays in (True, False):
                some = [one for one in learning if self.state[one].get("do_wd", True) == decays]
                if some:
                    self._move(some, hyper, hyper["wd"] if decays else 0.0)

    def _move(self, parameters: Sequence[Tensor], hyper: dict[str, float], decay: float) -> None:
        states = [self.state[one] for one in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if "step" not in state:
                state["grad_avg"], state["sqr_avg"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["step"] = torch.zeros((), device=parameter.device)
        names = ("grad_avg", "sqr_avg", "step")
        averages, squares, steps = ([state[name] for state in states] for name in names)
        adamw(
            list(parameters),
            [one.grad for one in parameters if one.grad is not None],
            averages,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=float(hyper["mom"]),
            beta2=float(hyper["sqr_mom"]),
            lr=float(hyper["lr"]),
            eps=float(hyper["eps"]),
            weight_decay=float(decay),
        )
