"""LSTM and GRU: layers of one cell each, and a Linear layer on the last step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from tradingbot_exp.models._recurrent import RecurrentModel
from tradingbot_exp.models.gru import GRU
from tradingbot_exp.models.lstm import LSTM
from tradingbot_exp.training.networks.cells import Cell, GRUCell, LSTMCell
from tradingbot_exp.training.networks.network import Generators, Network, draw_dropout, real_rows
from tradingbot_exp.training.networks.products import forward

CELLS: dict[type[nn.Module], type[Cell]] = {LSTM: LSTMCell, GRU: GRUCell}
_PER_LAYER = 4  # parameters of a cell


class Recurrent(Network):
    """K models of `CELLS`."""

    def __init__(self, models: Sequence[nn.Module], thetas: list[Tensor], grads: list[Tensor]) -> None:
        kind, ends = CELLS[type(models[0])], range(0, len(thetas) - 1, _PER_LAYER)
        self._cells = [kind(thetas[start:end], grads[start:end]) for start, end in pairwise(ends)]
        (self._weight, bias), (self._weight_grad, self._bias_grad) = thetas[-2:], grads[-2:]
        self._bias = bias.unsqueeze(1)
        self._keeps = [1.0 - float(model.dropout.p) for model in models if isinstance(model, RecurrentModel)]

    def forward(self, x: Tensor, out: Tensor, counts: Tensor | None, generators: Generators) -> None:
        """Compute the outputs of a batch; see `Network.forward`."""
        h, self._noise = _with_steps(x), list[Tensor | None]()
        for cell in self._cells:
            h, noise = cell.forward(h), None
            if min(self._keeps) < 1:
                noise = torch.ones(h.shape, dtype=h.dtype, device=h.device)
                self._draw(noise, counts, generators)
                h = h * noise
            self._noise.append(noise)
        self._steps, self._last = h.shape[2], h[:, :, -1]
        forward(self._last, self._weight, self._bias, out)

    def _draw(self, noise: Tensor, counts: Tensor | None, generators: Generators) -> None:
        """Draw what is let through of a layer's outputs, laid out step by step, as those of torch's layers are."""
        real = real_rows(noise.unbind(), counts)
        laid = [torch.ones_like(own.transpose(0, 1), memory_format=torch.contiguous_format) for own in real]
        draw_dropout([own.transpose(0, 1) for own in laid], self._keeps, generators)
        for own, drawn in zip(real, laid, strict=True):
            own.copy_(drawn.transpose(0, 1))

    def backward(self, d: Tensor) -> None:
        """Write the gradients; see `Network.backward`."""
        torch.bmm(d.transpose(1, 2), self._last, out=self._weight_grad)
        torch.sum(d, 1, out=self._bias_grad)
        last = torch.bmm(self._weight.transpose(1, 2), d.transpose(1, 2))
        slopes: list[Tensor | None] = [*[None] * (self._steps - 1), last]
        for number in range(len(self._cells) - 1, -1, -1):
            noise = self._noise[number]
            if noise is not None:
                turned = noise.permute(2, 0, 3, 1)
                slopes = [None if own is None else own * each for own, each in zip(slopes, turned, strict=True)]
            slopes = self._cells[number].backward(slopes, needs_below=number > 0)

    def evaluate(self, x: Tensor) -> Tensor:
        """Compute all models' outputs; see `Network.evaluate`."""
        h = _with_steps(x.expand(len(self._weight), *x.shape))
        for cell in self._cells:
            h = cell.evaluate(h)
        return forward(h[:, :, -1], self._weight, self._bias)


def _with_steps(x: Tensor) -> Tensor:
    """Return rows of shape (K, size, L, F), also of those that are a single bar, (K, size, F)."""
    return x if x.ndim == 4 else x.unsqueeze(2)
