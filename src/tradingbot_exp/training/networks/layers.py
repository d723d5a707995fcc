"""Reading the layers of a plain stack: Linear, activation, dropout.

Gradients of such a stack are computed by hand, since autograd's bookkeeping costs more than the arithmetic of small
networks. The formulas are autograd's own, so the results agree to rounding. Whatever is not exactly such a network, or
carries a hook, is left to others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tradingbot_exp.models.linear import LinearModel
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training.networks.network import why_watched

_ops = torch.ops.aten

_Forward = Callable[[Tensor], Tensor]  # z -> a
_Backward = Callable[[Tensor, Tensor, Tensor], Tensor]  # (dL/da, z, a) -> dL/dz


class Activation(NamedTuple):
    """An activation and its gradient, elementwise and so for tensors of any shape.

    Attributes
    ----------
    forward, backward : callable
        z -> a, and (dL/da, z, a) -> dL/dz, both into new tensors.
    forward_, backward_ : callable or None
        The same in place of z and of dL/da, where the gradient can do without z.
    """

    forward: _Forward
    backward: _Backward
    forward_: _Forward | None = None
    backward_: _Backward | None = None


class Layer(NamedTuple):
    """Linear, then perhaps an activation, then perhaps dropout.

    Attributes
    ----------
    weight, bias : nn.Parameter
        Of shape (out, in) and (out,).
    act : Activation or None
    keep : float
        1 - dropout, or 1 in evaluation mode.
    kind : str
        The activation in words, the same for two that do the same.
    drops : bool
        Whether there is a dropout layer, whatever it drops.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    act: Activation | None = None
    keep: float = 1.0
    kind: str = ""
    drops: bool = False


def sizes_of(layers: Sequence[Layer]) -> tuple[tuple[Any, ...], ...]:
    """Return (out, in, has bias, activation, has dropout) of each layer."""
    return tuple((*layer.weight.shape, layer.bias is not None, layer.kind, layer.drops) for layer in layers)


def parameters_of(layers: Sequence[Layer]) -> list[nn.Parameter]:
    """Return the parameters of a network's layers, in their order."""
    return [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]


def read_layers(model: nn.Module) -> list[Layer] | None:
    """Read the layers of a plain stack; None if it is not one, or anything could watch its parts at work.

    A plain stack is an `MLP`, a `LinearModel`, or an ``nn.Sequential`` of Linear layers, each followed by at most one
    known activation and then at most one Dropout.
    """
    stack: Any = model.layers if type(model) in (MLP, LinearModel) else model
    if type(stack) is not nn.Sequential or why_watched(model):
        return None
    layers: list[Layer] = []
    after = "start"  # what came last
    part: Any
    for part in stack:
        kind = type(part)
        if kind is nn.Linear:
            layers.append(Layer(part.weight, part.bias))
            after = "linear"
        elif kind in _ACTIVATIONS and after == "linear":
            words = f"{kind.__name__}({part.extra_repr().replace('inplace=True', '').rstrip(', ')})"
            layers[-1] = layers[-1]._replace(act=_ACTIVATIONS[kind](part), kind=words)
            after = "activation"
        elif kind is nn.Dropout and after in ("linear", "activation") and part.p < 1:
            layers[-1] = layers[-1]._replace(keep=1.0 - part.p if part.training else 1.0, drops=True)
            after = "dropout"
        elif not (kind is nn.Flatten and after == "start" and (part.start_dim, part.end_dim) == (1, -1)):
            return None
    parameters = parameters_of(layers)
    return None if len({id(p) for p in parameters}) < len(parameters) else layers  # some are shared


# From a layer, as it may have settings of its own, to what it computes.
_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda part: Activation(
        torch.relu,
        lambda d, z, a: _ops.threshold_backward.default(d, a, 0),
        torch.relu_,
        lambda d, z, a: _ops.threshold_backward.grad_input(d, a, 0, grad_input=d),
    ),
    nn.Tanh: lambda part: Activation(
        torch.tanh,
        lambda d, z, a: _ops.tanh_backward.default(d, a),
        torch.tanh_,
        lambda d, z, a: _ops.tanh_backward.grad_input(d, a, grad_input=d),
    ),
    nn.GELU: lambda part: Activation(
        part.forward, lambda d, z, a: _ops.gelu_backward.default(d, z, approximate=part.approximate)
    ),
    nn.SiLU: lambda part: Activation(functional.silu, lambda d, z, a: _ops.silu_backward.default(d, z)),
    nn.LeakyReLU: lambda part: Activation(
        lambda z: functional.leaky_relu(z, part.negative_slope),
        lambda d, z, a: _ops.leaky_relu_backward.default(d, z, part.negative_slope, False),
    ),
    nn.ELU: lambda part: Activation(
        lambda z: functional.elu(z, part.alpha),
        lambda d, z, a: _ops.elu_backward.default(d, part.alpha, 1, 1, False, z),
    ),
}
