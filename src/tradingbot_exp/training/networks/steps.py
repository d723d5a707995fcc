"""The memory that the steps of a recurrent cell work in."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Sizes(NamedTuple):
    """Of a cell: units, the blocks of so many rows that a step's product has, and how many of them are of a kind.

    `sigmoids`, the first ones, go through a sigmoid; a step keeps `stored` more.
    """

    units: int
    blocks: int
    sigmoids: int
    stored: int


class Memory:
    """What L steps of a cell work in, cut into steps and gates once.

    Attributes
    ----------
    below : Tensor, shape (L, K, below, batch)
    outputs : Tensor, shape (L, K, units, batch)
    inputs, turned : list of L Tensor
        What is before a step, what is below it and 1, shape (K, units + below + 1, batch); and with its axes changed.
    product : list of L Tensor, shape (K, blocks · units, batch)
    gates : list of L lists of Tensor
        The blocks of the product.
    joined : list of L Tensor
        Those that go through a sigmoid, as one.
    before, after : list of L Tensor, shape (K, units, batch)
        The outputs before each step, and its own.
    stored : list of L + 1 lists of Tensor, shape (K, units, batch)
        What the cell keeps of each step; the first are 0.
    d, slopes, joined_slope : Tensor, list of Tensor, Tensor
        The gradient of one product, its blocks, and those of `joined`.
    spare : list of Tensor, shape (K, units, batch)
        To work in.
    """

    def __init__(self, sizes: Sizes, x: Tensor) -> None:
        models, batch, steps, below = x.shape
        units, blocks = sizes.units, sizes.blocks
        whole = x.new_ones(steps + 1, models, units + below + 1, batch)
        whole[0, :, :units] = 0.0
        self.below, self.outputs = whole[:-1, :, units:-1], whole[1:, :, :units]
        self.inputs = list(whole.unbind())
        self.turned = [each.transpose(1, 2) for each in self.inputs]
        self.before = [each[:, :units] for each in self.inputs]
        self.after = self.before[1:]
        product = x.new_empty(steps, models, blocks * units, batch)
        self.product = list(product.unbind())
        self.gates = [_cut(each, units) for each in self.product]
        self.joined = [each[:, : sizes.sigmoids * units] for each in self.product]
        kept = x.new_zeros(steps + 1, sizes.stored, models, units, batch)
        self.stored = [list(each.unbind()) for each in kept.unbind()]
        self.d = x.new_empty(models, blocks * units, batch)
        self.slopes, self.joined_slope = _cut(self.d, units), self.d[:, : sizes.sigmoids * units]
        self.spare = list(x.new_empty(2, models, units, batch).unbind())

    def carry(self) -> None:
        """Let the first step go on from where it has come to."""
        self.before[0].copy_(self.after[0])
        for before, after in zip(*self.stored[:2], strict=True):
            before.copy_(after)


def _cut(tensor: Tensor, units: int) -> list[Tensor]:
    """Cut rows, shape (K, blocks · units, batch), into blocks."""
    return list(tensor.split(units, 1))  # type: ignore[no-untyped-call]
