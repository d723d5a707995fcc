"""The Transformer: an encoder over the last L bars (Vaswani et al. 2017, normalised first), read at the last one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tradingbot_exp.config.choices import HEADS
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.models.registry import activation_class, register

_INNER = 4
"""The hidden layer of a feed-forward part, in widths."""


class _Layer(nn.Module):
    """Self-attention and a feed-forward part, each on what is normalised first, and added to what comes in."""

    def __init__(self, width: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.memory, self.mixed = (nn.Linear(width, times * width) for times in (1, 2, 1))
        self.inner = nn.Sequential(
            nn.Linear(width, _INNER * width), activation_class(activation)(), nn.Linear(_INNER * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, asking: int) -> Tensor:
        """Map (n, L, width) to the last `asking` bars of it: what others come to is not asked."""
        normed = self.attention_norm(x)
        query, (key, value) = _by_head(self.query(normed[:, -asking:]), 1)[0], _by_head(self.memory(normed), 2)
        scores = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), -1)
        x = x[:, -asking:] + self.dropout(self.mixed((scores @ value).transpose(1, 2).flatten(2)))
        out: Tensor = x + self.dropout(self.inner(self.inner_norm(x)))
        return out


@register("transformer")
class Transformer(nn.Module):
    """Encoder layers of one width, with the positions of the bars added as sines and cosines.

    Parameters
    ----------
    input_dim : int
        F, the features of one bar.
    output_dim : int
        The values of one output.
    hidden_layers : sequence of int
        The width of each layer: one or more, all the same, a multiple of 4 (the heads).
    activation : str
        Of the feed-forward parts: a name of `tradingbot_exp.models.ACTIVATIONS`.
    dropout : float
        The chance that a value which a part adds is zeroed in training.

    Raises
    ------
    ConfigError
        If `hidden_layers` is something else.
    """

    sequential = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 1,
        hidden_layers: Sequence[int] = (32, 32),
        activation: str = "gelu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = hidden_layers[0] if len(hidden_layers) else 0
        if not width or width % HEADS or set(hidden_layers) != {width}:
            raise ConfigError(
                f"model.hidden_layers must be one width for each layer of a transformer, all the same and a multiple "
                f"of {HEADS}, e.g. [32, 32]; got {list(hidden_layers)}."
            )
        self.inputs = nn.Linear(input_dim, width)
        self.layers = nn.ModuleList(_Layer(width, activation, dropout) for _ in hidden_layers)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, L, F), or (n, F) for L = 1, to (n, output_dim)."""
        if x.ndim == 2:
            x = x.unsqueeze(1)
        h = self.inputs(x)
        h = h + _positions(*h.shape[1:]).to(h)
        for layer in self.layers:
            h = layer(h, 1 if layer is self.layers[-1] else h.shape[1])
        out: Tensor = self.head(self.norm(h[:, -1]))
        return out


def _by_head(x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """Cut (n, L, parts · width) into parts of shape (n, heads, L, width / heads)."""
    apart = x.view(*x.shape[:2], parts, HEADS, -1)
    return apart.permute(2, 0, 3, 1, 4).unbind()


def _positions(length: int, width: int) -> Tensor:
    """Return sines and cosines of the place of each bar, the last one's 0, shape (length, width)."""
    place = torch.arange(length - 1, -1, -1, dtype=torch.float64)
    rates = 10_000 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = place[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
