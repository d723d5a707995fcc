"""Plain stacks of Linear layers, by batched matrix products and gradients written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tradingbot_exp.training.networks.layers import Activation, Layer, read_layers
from tradingbot_exp.training.networks.network import Generators, Network, draw_dropout, real_rows
from tradingbot_exp.training.networks.products import Work, backward, forward


class Dense(Network):
    """K plain stacks of Linear layers: see `tradingbot_exp.training.networks.layers.read_layers`."""

    fixed_rows = True

    def __init__(self, models: Sequence[nn.Module], thetas: list[Tensor], grads: list[Tensor]) -> None:
        layers: list[list[Layer]] = [read_layers(model) or [] for model in models]
        values, slopes = iter(thetas), iter(grads)
        # A layer's weight (K, out, in), bias (K, 1, out), and their gradients (K, out, in) and (K, out).
        self._views: list[tuple[Tensor, Tensor | None, Tensor, Tensor | None]] = []
        for layer in layers[0]:
            weight, weight_grad = next(values), next(slopes)
            bias, bias_grad = (None, None) if layer.bias is None else (next(values).unsqueeze(1), next(slopes))
            self._views.append((weight, bias, weight_grad, bias_grad))
        self._acts: list[Activation | None] = [layer.act for layer in layers[0]]
        self._keeps = [[own[number].keep for own in layers] for number in range(len(layers[0]))]
        self._memory: dict[int, Work] = {}

    @staticmethod
    def is_turned(parameter: Tensor) -> bool:
        """Turn what has short rows: products with them take several times as long."""
        return parameter.ndim > 1 and parameter.shape[0] > parameter.shape[1]

    def forward(self, x: Tensor, out: Tensor, counts: Tensor | None, generators: Generators) -> None:
        """Compute the outputs of a batch; see `Network.forward`."""
        work, last = self._work(x), len(self._acts) - 1
        h, inputs, values = x.flatten(2), [], []
        for number, act in enumerate(self._acts):
            weight, bias, _, _ = self._views[number]
            z = out if number == last else work.z[number]
            forward(h, weight, bias, z)
            inputs.append(h)
            a = z if act is None else act.forward(z) if act.forward_ is None else act.forward_(z)
            values.append((z, a))
            noise, passed, h = work.noise[number], work.passed[number], a
            if noise is not None and passed is not None:
                draw_dropout(real_rows(noise.unbind(), counts), self._keeps[number], generators)
                h = torch.mul(a, noise, out=passed)
        if h is not out:
            out.copy_(h)
        self._held = work, inputs, values

    def backward(self, d: Tensor) -> None:
        """Write the gradients; see `Network.backward`."""
        work, inputs, values = self._held
        for number in range(len(self._acts) - 1, -1, -1):
            act, noise, (z, a) = self._acts[number], work.noise[number], values[number]
            weight, _, weight_grad, bias_grad = self._views[number]
            if noise is not None:
                d = d.mul_(noise)
            if act is not None:
                d = act.backward(d, z, a) if act.backward_ is None else act.backward_(d, z, a)
            if weight_grad.is_contiguous():
                torch.bmm(d.transpose(1, 2), inputs[number], out=weight_grad)
            else:
                torch.bmm(inputs[number].transpose(1, 2), d, out=weight_grad.transpose(1, 2))
            if bias_grad is not None:
                torch.sum(d, 1, out=bias_grad)
            if number:
                d = backward(d, weight, work.d[number - 1])

    def evaluate(self, x: Tensor) -> Tensor:
        """Compute all models' outputs; see `Network.evaluate`."""
        h = x.flatten(1).expand(len(self._views[0][0]), -1, -1)
        for act, (weight, bias, _, _) in zip(self._acts, self._views, strict=True):
            h = forward(h, weight, bias)
            if act is not None:
                h = act.forward(h) if act.forward_ is None else act.forward_(h)
        return h

    def _work(self, x: Tensor) -> Work:
        """Return memory for batches of the size of this one."""
        models, size = x.shape[:2]
        if size not in self._memory:
            widths = [weight.shape[1] for weight, *_ in self._views]
            drops = [min(keeps) < 1 for keeps in self._keeps]
            self._memory[size] = Work.of((models, size), widths, drops, x.dtype)
        return self._memory[size]
