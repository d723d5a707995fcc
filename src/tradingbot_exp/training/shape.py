"""What networks have in common that can be trained as one stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tradingbot_exp.training.lean import Layer, read_layers
from tradingbot_exp.training.rules import Rule, read_rule


class Shape(NamedTuple):
    """What models in one stack have in common.

    Attributes
    ----------
    layers : tuple of (out, in, has bias, activation, has dropout)
    rule : Rule
        The optimizer's, without learning rate and weight decay.
    steps : int
        Steps that the optimizer has taken; of one that does not count them, 1 if it has taken any.
    dtype : torch.dtype
    """

    layers: tuple[tuple[int, int, bool, str, bool], ...]
    rule: Rule
    steps: int
    dtype: torch.dtype


def shape_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Shape | None:
    """Give a model's shape, or None if it cannot be stacked.

    Stacked are plain stacks of Linear layers (see `tradingbot_exp.training.lean`) on the CPU, with an optimizer
    that `tradingbot_exp.training.rules` knows over exactly their parameters.
    """
    layers = read_layers(model)
    if layers is None:
        return None
    parameters = parameters_of(layers)
    if {(p.device.type, p.dtype) for p in parameters} != {("cpu", parameters[0].dtype)}:
        return None
    found = read_rule(optimizer, parameters)
    if found is None:
        return None
    sizes = tuple((*_size(layer.weight), layer.bias is not None, layer.kind, layer.drops) for layer in layers)
    return Shape(sizes, *found, parameters[0].dtype)


def _size(weight: Tensor) -> tuple[int, int]:
    return weight.shape[0], weight.shape[1]


def parameters_of(layers: Sequence[Layer]) -> list[nn.Parameter]:
    """Return the parameters of a network's layers, in their order."""
    return [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
