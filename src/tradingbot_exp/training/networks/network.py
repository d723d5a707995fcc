"""What a stack asks of the models that it trains, whatever they are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

Generators = Sequence[torch.Generator | None]
"""What each of K models draws from; None is torch's own."""


class Network(ABC):
    """K models of one shape, over parameters that lie in a stack's memory, the model as their first axis.

    Parameters
    ----------
    models : sequence of K nn.Module
        In training mode; their own parameters are not read.
    thetas, grads : list of Tensor, shape (K, ...)
        Each parameter of all models, in the order of `Plan.parameters`, and where its gradient goes.

    """

    pads: ClassVar[bool] = True
    """Whether the batches of one step may differ in size, those of some models being padded."""
    fixed_rows: ClassVar[bool] = False
    """Whether as many rows are evaluated at a time for any number of models, which shows in the last bits."""

    @abstractmethod
    def __init__(self, models: Sequence[nn.Module], thetas: list[Tensor], grads: list[Tensor]) -> None: ...

    @staticmethod
    def is_turned(parameter: Tensor) -> bool:
        """Tell whether a parameter had better lie in memory with its two axes changed."""
        return False

    @abstractmethod
    def forward(self, x: Tensor, out: Tensor, counts: Tensor | None, generators: Generators) -> None:
        """Compute the outputs of a batch, with dropout, and keep what `backward` needs.

        Parameters
        ----------
        x : Tensor of shape (K, size, ...)
        out : Tensor of shape (K, size, outputs)
            Where they go.
        counts : Tensor of int, shape (K,), or None
            Rows of each model's batch, by which the others are padded; None if all are.
        generators : sequence of K (torch.Generator or None)
        """

    @abstractmethod
    def backward(self, d: Tensor) -> None:
        """Write the gradients of all parameters, given that of the outputs of the last `forward`, of their shape.

        `d` may be written over.
        """

    @abstractmethod
    def evaluate(self, x: Tensor) -> Tensor:
        """Compute all models' outputs of the same rows without dropout: (rows, ...) to (K, rows, outputs)."""


def why_watched(model: nn.Module) -> str:
    """Say what could see or change a model's parts at work, or its parameters; empty for nothing."""
    if torch.is_anomaly_enabled():
        return "torch.autograd.set_detect_anomaly is on"
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return "there is a hook for all modules"
    parameters = list(model.parameters())
    if any(_watched(module) for module in model.modules()) or any(map(_hooked, parameters)):
        return "a part of it has a hook, or is compiled"
    if not all(p.requires_grad for p in parameters):
        return "some of its parameters are frozen"
    if any(type(p) is not nn.Parameter for p in parameters):
        return "some of its parameters are of a kind of their own"
    return "" if parameters else "it has no parameters"


def _watched(module: nn.Module) -> bool:
    """Whether a hook, a replaced forward or a compiled one could see or change what the module does."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in vars(module) or module._compiled_call_impl is not None


def _hooked(parameter: nn.Parameter) -> bool:
    return bool(parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None))


def draw_dropout(noise: Sequence[Tensor], keeps: Sequence[float], generators: Generators) -> None:
    """Draw what a dropout layer lets through, for each of K models as torch would for it alone.

    Parameters
    ----------
    noise : sequence of K Tensor
        Laid out as what torch would drop some of; written over, but for those of models that drop nothing.
    keeps : sequence of K float
        1 - dropout.
    generators : sequence of K (torch.Generator or None)
    """
    for own, keep, generator in zip(noise, keeps, generators, strict=True):
        if keep < 1:
            own.bernoulli_(keep, generator=generator).div_(keep)


def real_rows(tensors: Sequence[Tensor], counts: Tensor | None) -> list[Tensor]:
    """Leave the rows out that pad a model's batch: of K tensors of shape (size, ...), those that count."""
    if counts is None:
        return list(tensors)
    return [own[:rows] for own, rows in zip(tensors, counts.tolist(), strict=True)]
