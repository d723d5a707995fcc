"""Gradients of plain stacks of Linear layers, without autograd's bookkeeping.

That bookkeeping costs more than the arithmetic of a small network. The formulas are autograd's own, so
the results agree to rounding. Whatever is not exactly such a stack, or carries a hook, is left to autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module

from tradingbot_exp.models.linear import LinearModel
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training.optim import loss_name

_ops = torch.ops.aten

Step = Callable[[Tensor, Tensor], Tensor]
"""From a batch (X, y) to its loss; the gradients are in the parameters' ``grad`` afterwards."""


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


def lean_step(model: nn.Module, criterion: object) -> Step | None:
    """Build a function that computes a batch's loss and gradients, or None if only autograd can.

    Parameters
    ----------
    model : nn.Module
        In training mode. A stack is an `MLP`, a `LinearModel`, or an ``nn.Sequential`` of Linear layers,
        each followed by at most one known activation and then at most one Dropout.
    criterion : callable
        A stack needs one that `make_loss` could have built.

    Notes
    -----
    What a model carries may change between two calls, so build it anew for each epoch.
    """
    loss = loss_name(criterion)
    layers = read_layers(model)
    if loss is None or layers is None:
        return None
    loss_of, loss_back = LOSSES[loss]
    backwards = layers[::-1]
    linear, mm = functional.linear, torch.mm

    @torch.no_grad()
    def step(X: Tensor, y: Tensor) -> Tensor:
        h = X.flatten(1)
        saved: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
        for layer in layers:
            x = h
            z = linear(x, layer.weight, layer.bias)
            h = a = z if layer.act is None else layer.act.forward(z)
            noise = None
            if layer.keep < 1:  # as torch's dropout draws it, so that the same seed drops the same values
                noise = torch.empty_like(a).bernoulli_(layer.keep).div_(layer.keep)
                h = a * noise
            saved.append((x, z, a, noise))
        value = loss_of(h, y)
        d = loss_back(h, y, h.numel())  # dL/dh, (n, out)
        for layer in backwards:
            x, z, a, noise = saved.pop()
            if noise is not None:
                d = d * noise
            if layer.act is not None:
                d = layer.act.backward(d, z, a)
            layer.weight.grad = mm(d.t(), x)
            if layer.bias is not None:
                layer.bias.grad = d.sum(0)
            if saved:
                d = mm(d, layer.weight)
        return value

    return step


def read_layers(model: nn.Module) -> list[Layer] | None:
    """Read a stack's layers, or return None if it is not one or anything could watch its parts at work."""
    if torch.is_anomaly_enabled():
        return None
    stack: Any = model.layers if type(model) in (MLP, LinearModel) else model
    if type(stack) is not nn.Sequential:
        return None
    watched = torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]
    if watched or any(_watched(module) for module in model.modules()):
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
    parameters = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
    shared = len({id(p) for p in parameters}) < len(parameters)
    return None if not layers or shared or any(_unusual(p) for p in parameters) else layers


def _watched(module: nn.Module) -> bool:
    """Whether a hook, a replaced forward or a compiled one could see or change what the module does."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in vars(module) or module._compiled_call_impl is not None


def _unusual(parameter: nn.Parameter) -> bool:
    """Whether a parameter is frozen, hooked, or of a kind of its own."""
    hooks = parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
    return bool(hooks) or not parameter.requires_grad or type(parameter) is not nn.Parameter


def _relu(_: Any) -> Activation:
    return Activation(
        torch.relu,
        lambda d, _z, a: _ops.threshold_backward.default(d, a, 0),
        torch.relu_,
        lambda d, _z, a: _ops.threshold_backward.grad_input(d, a, 0, grad_input=d),
    )


def _tanh(_: Any) -> Activation:
    return Activation(
        torch.tanh,
        lambda d, _z, a: _ops.tanh_backward.default(d, a),
        torch.tanh_,
        lambda d, _z, a: _ops.tanh_backward.grad_input(d, a, grad_input=d),
    )


def _gelu(part: Any) -> Activation:
    kind = part.approximate
    return Activation(
        lambda z: functional.gelu(z, approximate=kind),
        lambda d, z, _a: _ops.gelu_backward.default(d, z, approximate=kind),
    )


def _silu(_: Any) -> Activation:
    return Activation(functional.silu, lambda d, z, _a: _ops.silu_backward.default(d, z))


def _leaky_relu(part: Any) -> Activation:
    slope = part.negative_slope
    return Activation(
        lambda z: functional.leaky_relu(z, slope),
        lambda d, z, _a: _ops.leaky_relu_backward.default(d, z, slope, False),
    )


def _elu(part: Any) -> Activation:
    alpha = part.alpha
    return Activation(
        lambda z: functional.elu(z, alpha),
        lambda d, z, _a: _ops.elu_backward.default(d, alpha, 1, 1, False, z),
    )


_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: _relu,
    nn.Tanh: _tanh,
    nn.GELU: _gelu,
    nn.SiLU: _silu,
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: _elu,
}

LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor, int], Tensor]]] = {
    # The loss of (output, target), and the gradient of its mean over n values to the output.
    "mse": (functional.mse_loss, lambda h, y, n: (h - y).mul_(2 / n)),
    "mae": (functional.l1_loss, lambda h, y, n: (h - y).sign_().div_(n)),
    "huber": (functional.huber_loss, lambda h, y, n: (h - y).clamp_(-1, 1).div_(n)),
    "bce": (functional.binary_cross_entropy_with_logits, lambda h, y, n: h.sigmoid().sub_(y).div_(n)),
}
