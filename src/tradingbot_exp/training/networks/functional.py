"""Any network that `torch.func` can run for K sets of parameters at once, with autograd's gradients."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap

from tradingbot_exp.training.networks.network import Generators, Network, draw_dropout


class Pass(NamedTuple):
    """One pass through a dropout layer: which of them, and the size and strides of what goes in."""

    layer: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


class _Dropout(nn.Module):
    """Stands in for a dropout layer: multiplies by what was drawn, or takes note of what would have to be drawn."""

    def __init__(self, layer: int, feed: list[Any]) -> None:
        super().__init__()
        self._layer, self._feed = layer, feed

    def forward(self, x: Tensor) -> Tensor:
        """Let through what was drawn, pass after pass."""
        if not self.training:
            return x
        if self._feed and isinstance(self._feed[0], Tensor):
            noise: Tensor = self._feed.pop(0)
            return x * noise
        self._feed.append(Pass(self._layer, tuple(x.shape), x.stride()))
        return x


class Template:
    """A model's forward pass as a function of parameters and buffers, whose dropout is drawn beforehand.

    Parameters
    ----------
    model : nn.Module
        It is copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self._feed: list[Any] = []
        self._module = copy.deepcopy(model)
        for layer, (name, _) in enumerate(dropouts(model)):
            parent, _, last = name.rpartition(".")
            setattr(self._module.get_submodule(parent), last, _Dropout(layer, self._feed))
        # Where each parameter, and each buffer, is looked up: a shared one in several places.
        self._places = _places(self._module, "_parameters"), _places(self._module, "_buffers")

    def __call__(
        self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the outputs of rows: in training with what dropout has drawn, in evaluation where it is None.

        Parameters and buffers are in the order in which the model names them.
        """
        for places, values in zip(self._places, (parameters, buffers), strict=True):
            for own, value in zip(places, values, strict=True):
                for found, name in own:
                    found[name] = value
        self._module.train(noise is not None)
        self._feed[:] = noise or ()
        out: Tensor = self._module(x)
        return out

    def passes(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor) -> list[Pass]:
        """Return which dropout layers a batch goes through in training, in order."""
        self(parameters, buffers, x, ())
        found = [each for each in self._feed if isinstance(each, Pass)]
        self._feed.clear()
        return found


def _places(module: nn.Module, kind: str) -> list[list[tuple[dict[str, Any], str]]]:
    """Return the dictionaries in which modules look parameters or buffers up, for each of them, in their order."""
    places: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for part in module.modules():
        own: dict[str, Any] = getattr(part, kind)
        for name, value in own.items():
            if value is not None:
                places.setdefault(id(value), []).append((own, name))
    return list(places.values())


def dropouts(model: nn.Module) -> list[tuple[str, nn.Dropout]]:
    """Return the dropout layers of a model, by name."""
    return [(name, part) for name, part in model.named_modules() if type(part) is nn.Dropout]


class Functional(Network):
    """K modules of one kind, of whose forward passes `torch.func.vmap` makes one."""

    pads = False

    def __init__(self, models: Sequence[nn.Module], thetas: list[Tensor], grads: list[Tensor]) -> None:
        first, self._grads = models[0], grads
        self._template = Template(first)
        self._leaves = [theta.detach().requires_grad_() for theta in thetas]
        for leaf, grad in zip(self._leaves, grads, strict=True):
            leaf.grad = grad  # what autograd adds to
        self._buffers = [torch.stack(own) for own in zip(*(model.buffers() for model in models), strict=True)]
        self._keeps = list(zip(*([1.0 - part.p for _, part in dropouts(model)] for model in models), strict=True))
        self._passes: dict[torch.Size, list[Pass]] = {}

    def forward(self, x: Tensor, out: Tensor, counts: Tensor | None, generators: Generators) -> None:
        """Compute the outputs of a batch; see `Network.forward`."""
        noise = self._draw(x, generators)
        with torch.enable_grad():
            self._result = vmap(self._template)(self._leaves, self._buffers, x, noise)
        out.copy_(self._result.detach().view_as(out))

    def backward(self, d: Tensor) -> None:
        """Write the gradients; see `Network.backward`."""
        torch._foreach_zero_(self._grads)
        self._result.backward(d.view_as(self._result))  # type: ignore[no-untyped-call]

    def evaluate(self, x: Tensor) -> Tensor:
        """Compute all models' outputs; see `Network.evaluate`."""
        out = vmap(self._template, in_dims=(0, 0, None))(self._leaves, self._buffers, x)
        return out.view(*out.shape[:2], -1)

    def _draw(self, x: Tensor, generators: Generators) -> list[Tensor]:
        """Draw what each pass through a dropout layer lets through, as torch would for each model alone."""
        if not self._keeps:
            return []
        if x.shape not in self._passes:
            parameters, buffers = ([values[0] for values in each] for each in (self._leaves, self._buffers))
            self._passes[x.shape] = self._template.passes(parameters, buffers, x[0])
        drawn = []
        for layer, size, strides in self._passes[x.shape]:
            # Laid out as what it goes with: that is the order in which torch draws.
            noise = [
                torch.empty_strided(size, strides, dtype=x.dtype, device=x.device).fill_(1.0) for _ in range(len(x))
            ]
            draw_dropout(noise, self._keeps[layer], generators)
            drawn.append(torch.stack(noise))
        return drawn
