"""The steps of Adam, AdamW and SGD over a flat buffer that holds the parameters of one model or of many.

The formulas are those of ``torch.optim``, so the results agree to rounding; each parameter may have a learning
rate and a weight decay of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import optimizer as torch_optimizer

STACKED_OPTIMIZERS = ("Adam", "AdamW", "SGD")
# Options of torch's that change the formulas, and their values where they do not.
_PLAIN: dict[str, Any] = {
    "amsgrad": False,
    "maximize": False,
    "capturable": False,
    "differentiable": False,
    "dampening": 0,
    "nesterov": False,
}


class Flat(NamedTuple):
    """Memory that a step works on, all tensors of shape (N,).

    Attributes
    ----------
    theta : Tensor
        Parameters.
    grad : Tensor
        Their gradients; a step may add the weight decay to them.
    slots : list of Tensor
        The optimizer's state, see `Rule.slots`.
    scratch : Tensor
        Memory to work in.
    """

    theta: Tensor
    grad: Tensor
    slots: list[Tensor]
    scratch: Tensor


@dataclass(frozen=True)
class Rule:
    """Plain gradient descent: SGD.

    Attributes
    ----------
    slots : tuple of str
        Names of the optimizer's state, a tensor of each for every parameter.
    counts : bool
        Whether its state holds the number of steps, too.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[bool] = False

    def step(self, flat: Flat, rate: Tensor, decay: Tensor | None, number: int) -> None:
        """Take a step, in place.

        Parameters
        ----------
        flat : Flat
        rate : Tensor of shape (N,)
            Learning rates. One for all as a number would save little, and be rounded otherwise.
        decay : Tensor of shape (N,) or None
            Weight decays, if there are any.
        number : int
            The step's, from 1.
        """
        if decay is not None:
            flat.grad.addcmul_(flat.theta, decay)
        flat.theta.addcmul_(flat.grad, rate, value=-1.0)


@dataclass(frozen=True)
class MomentumRule(Rule):
    """SGD with momentum, as torch has it: v = momentum · v + gradient, and a step of -rate · v."""

    momentum: float
    slots: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def step(self, flat: Flat, rate: Tensor, decay: Tensor | None, number: int) -> None:
        """Take a step; see `Rule.step`."""
        (velocity,) = flat.slots
        if decay is not None:
            flat.grad.addcmul_(flat.theta, decay)
        velocity.mul_(self.momentum).add_(flat.grad)
        flat.theta.addcmul_(velocity, rate, value=-1.0)


@dataclass(frozen=True)
class AdamRule(Rule):
    """Adam (Kingma & Ba 2015, algorithm 1), or with `decoupled` AdamW (Loshchilov & Hutter 2019, algorithm 2)."""

    beta1: float
    beta2: float
    eps: float
    decoupled: bool
    slots: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    counts: ClassVar[bool] = True

    def step(self, flat: Flat, rate: Tensor, decay: Tensor | None, number: int) -> None:
        """Take a step; see `Rule.step`."""
        theta, grad, (mean, square), scratch = flat
        if decay is not None:
            if self.decoupled:
                theta.mul_(1 - rate * decay)
            else:
                grad.addcmul_(theta, decay)
        correction1 = 1 - self.beta1**number
        correction2 = math.sqrt(1 - self.beta2**number)
        mean.lerp_(grad, 1 - self.beta1)
        square.mul_(self.beta2).addcmul_(grad, grad, value=1 - self.beta2)
        # rate / c1 · m / (√v / c2 + ε), with c2 taken out of the denominator.
        root = torch.sqrt(square, out=scratch).add_(self.eps * correction2)
        theta.addcmul_(torch.div(mean, root, out=root), rate, value=-correction2 / correction1)


def read_rule(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> tuple[Rule, int] | None:
    """Find the rule behind an optimizer, and the steps that it has taken.

    Returns
    -------
    tuple of (Rule, int), or None
        None if its steps may be other than one of the rules here, for exactly these parameters, would take.
    """
    kind = type(optimizer)
    if kind not in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD) or len(optimizer.param_groups) != 1:
        return None
    group = optimizer.param_groups[0]
    if {id(p) for p in group["params"]} != {id(p) for p in parameters} or _watched(optimizer):
        return None
    if any(group.get(option, plain) != plain for option, plain in _PLAIN.items()):
        return None
    states = [optimizer.state.get(p) or {} for p in parameters]
    if kind is torch.optim.SGD:
        return _read_sgd(float(group["momentum"]), states)
    beta1, beta2 = group["betas"]
    if not all(isinstance(number, int | float) for number in (group["lr"], beta1, beta2, group["eps"])):
        return None
    decoupled = kind is torch.optim.AdamW or bool(group.get("decoupled_weight_decay"))
    rule = AdamRule(beta1, beta2, group["eps"], decoupled)
    steps = {int(state["step"]) if state else 0 for state in states}
    return (rule, steps.pop()) if len(steps) == 1 else None


def _read_sgd(momentum: float, states: Sequence[dict[str, Any]]) -> tuple[Rule, int] | None:
    """Find SGD's rule; torch does not count its steps, but keeps a velocity from the first one on."""
    if not momentum:
        return Rule(), 0
    begun = {state.get("momentum_buffer") is not None for state in states}
    return (MomentumRule(momentum), int(begun.pop())) if len(begun) == 1 else None


def _watched(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a hook or a replaced step, other than that of a learning rate schedule, could see or change a step."""
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        torch_optimizer._global_optimizer_pre_hooks,
        torch_optimizer._global_optimizer_post_hooks,
    )
    replaced = vars(optimizer).get("step")
    return any(hooks) or (replaced is not None and not hasattr(replaced, "_wrapped_by_lr_sched"))
