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
_Pair = tuple[_Forward, _Backward]


class _Layer(NamedTuple):
    """Linear, then perhaps an activation, then perhaps dropout."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    act: _Forward | None
    act_back: _Backward | None
    keep: float  # 1 - dropout


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
    layers = _layers(model)
    if loss is None or layers is None or torch.is_anomaly_enabled():
        return None
    loss_of, loss_back = _LOSSES[loss]
    backwards = layers[::-1]
    linear, mm = functional.linear, torch.mm

    @torch.no_grad()
    def step(X: Tensor, y: Tensor) -> Tensor:
        h = X.flatten(1)
        saved: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
        for weight, bias, act, _, keep in layers:
            x = h
            z = linear(x, weight, bias)
            h = a = z if act is None else act(z)
            noise = None
            if keep < 1:  # as torch's dropout draws it, so that the same seed drops the same values
                noise = torch.empty_like(a).bernoulli_(keep).div_(keep)
                h = a * noise
            saved.append((x, z, a, noise))
        value = loss_of(h, y)
        d = loss_back(h, y)  # dL/dh, (n, out)
        for weight, bias, _, act_back, _ in backwards:
            x, z, a, noise = saved.pop()
            if noise is not None:
                d = d * noise
            if act_back is not None:
                d = act_back(d, z, a)
            weight.grad = mm(d.t(), x)
            if bias is not None:
                bias.grad = d.sum(0)
            if saved:
                d = mm(d, weight)
        return value

    return step


def _layers(model: nn.Module) -> list[_Layer] | None:
    """Read a stack's layers, or return None if it is not one or anything could watch its parts at work."""
    stack: Any = model.layers if type(model) in (MLP, LinearModel) else model
    if type(stack) is not nn.Sequential:
        return None
    watched = torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]
    if watched or any(_watched(module) for module in model.modules()):
        return None
    layers: list[_Layer] = []
    after = "start"  # what came last
    part: Any
    for part in stack:
        kind = type(part)
        if kind is nn.Linear:
            layers.append(_Layer(part.weight, part.bias, None, None, 1.0))
            after = "linear"
        elif kind in _ACTIVATIONS and after == "linear":
            act, act_back = _ACTIVATIONS[kind](part)
            layers[-1] = layers[-1]._replace(act=act, act_back=act_back)
            after = "activation"
        elif kind is nn.Dropout and after in ("linear", "activation") and part.p < 1:
            layers[-1] = layers[-1]._replace(keep=1.0 - part.p if part.training else 1.0)
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


def _relu(_: Any) -> _Pair:
    return torch.relu, lambda d, _z, a: _ops.threshold_backward.default(d, a, 0)


def _tanh(_: Any) -> _Pair:
    return torch.tanh, lambda d, _z, a: _ops.tanh_backward.default(d, a)


def _gelu(part: Any) -> _Pair:
    kind = part.approximate
    return (
        lambda z: functional.gelu(z, approximate=kind),
        lambda d, z, _a: _ops.gelu_backward.default(d, z, approximate=kind),
    )


def _silu(_: Any) -> _Pair:
    return functional.silu, lambda d, z, _a: _ops.silu_backward.default(d, z)


def _leaky_relu(part: Any) -> _Pair:
    slope = part.negative_slope
    return (
        lambda z: functional.leaky_relu(z, slope),
        lambda d, z, _a: _ops.leaky_relu_backward.default(d, z, slope, False),
    )


def _elu(part: Any) -> _Pair:
    alpha = part.alpha
    return (
        lambda z: functional.elu(z, alpha),
        lambda d, z, _a: _ops.elu_backward.default(d, alpha, 1, 1, False, z),
    )


_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], _Pair]] = {
    nn.ReLU: _relu,
    nn.Tanh: _tanh,
    nn.GELU: _gelu,
    nn.SiLU: _silu,
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: _elu,
}

_LOSSES: dict[str, tuple[Step, Step]] = {  # the loss of (output, target), and its gradient to the output
    "mse": (functional.mse_loss, lambda h, y: (h - y).mul_(2 / h.numel())),
    "mae": (functional.l1_loss, lambda h, y: (h - y).sign_().div_(h.numel())),
    "huber": (functional.huber_loss, lambda h, y: (h - y).clamp_(-1, 1).div_(h.numel())),
    "bce": (
        functional.binary_cross_entropy_with_logits,
        lambda h, y: h.sigmoid().sub_(y).div_(h.numel()),
    ),
}
