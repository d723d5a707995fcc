"""Matrix products of one layer of K stacked networks, forwards and backwards, and the memory that they work in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Work(NamedTuple):
    """Memory for a batch, a tensor a layer: z, what is dropped, what is passed on, and dL/dz of all but the last."""

    z: list[Tensor]
    noise: list[Tensor | None]
    passed: list[Tensor | None]
    d: list[Tensor]

    @classmethod
    def of(cls, batch: tuple[int, int], widths: Sequence[int], drops: Sequence[bool], dtype: torch.dtype) -> Work:
        """Lay memory out for batches of shape (K, size), by each layer's outputs and whether it drops some."""

        def empty(width: int) -> Tensor:
            return torch.empty((*batch, width), dtype=dtype)

        return cls(
            [empty(width) for width in widths[:-1]],
            [torch.ones_like(empty(width)) if drop else None for width, drop in zip(widths, drops, strict=True)],
            [empty(width) if drop else None for width, drop in zip(widths, drops, strict=True)],
            [empty(width) for width in widths[:-1]],
        )


def forward(h: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    """Apply a layer: h is (K, n, in), weight (K, out, in), bias (K, 1, out), the result (K, n, out).

    Of a matrix and a vector torch takes other products for one model than for several, so that is summed here.
    """
    if weight.shape[1] == 1:
        z = torch.sum(h * weight, 2, keepdim=True, out=out)
        return z if bias is None else z.add_(bias)
    if bias is None:
        return torch.bmm(h, weight.transpose(1, 2), out=out)
    return torch.baddbmm(bias, h, weight.transpose(1, 2), out=out)


def backward(d: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """Return dL/dh, (K, n, in), of dL/dz, (K, n, out); see `forward`."""
    if weight.shape[1] == 1:
        return torch.mul(d, weight, out=out)
    if weight.shape[2] == 1:
        return torch.sum(d * weight.transpose(1, 2), 2, keepdim=True, out=out)
    return torch.bmm(d, weight, out=out)
