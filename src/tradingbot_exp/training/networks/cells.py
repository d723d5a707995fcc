"""The cells of LSTM and GRU for K models at once, with gradients written by hand.

Values lie as (time, K, units, batch), so that what one gate of a step has lies together, and a step is one batched
product of all its weights, biases included, with what is before and what is below. The formulas are those of
`torch.nn.LSTM` and `torch.nn.GRU`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tradingbot_exp.training.networks.steps import Memory, Sizes

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Cell(ABC):
    """A recurrent layer of K models.

    Parameters
    ----------
    thetas, grads : sequence of Tensor
        ``weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh`` as torch has them, the model as their first axis; and
        where their gradients go.

    Attributes
    ----------
    units : int
    """

    blocks: ClassVar[tuple[tuple[int, bool, bool], ...]]
    """What each block of `units` rows of a step's product is of: torch's gate, and whether it takes what is below, and
    what is before."""
    sigmoids: ClassVar[int]
    """How many of them, the first ones, go through a sigmoid."""
    stored: ClassVar[int]
    """Blocks of `units` rows that a step keeps beside its product."""

    @classmethod
    def most_work(cls, device: torch.device, dtype: torch.dtype) -> int:
        """Return up to how many products of a batch's forward pass this is quicker than torch's own layer.

        Measured with 24 models at once on one core, with rows of 20 bars.
        """
        return 40_000_000

    def __init__(self, thetas: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        self._thetas, self._grads = thetas, grads
        self.units, self._below = thetas[1].shape[2], thetas[0].shape[2]
        self._sizes = Sizes(self.units, len(self.blocks), self.sigmoids, self.stored)
        rows, columns = len(self.blocks) * self.units, self.units + self._below + 1
        self._weight = thetas[0].new_zeros(len(thetas[0]), rows, columns)
        self._slope = torch.zeros_like(self._weight)
        self._memory: dict[torch.Size, Memory] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Go through L steps: (K, batch, L, below) to (K, batch, L, units), which the next `forward` writes over."""
        self._fill()
        if x.shape not in self._memory:
            self._memory[x.shape] = Memory(self._sizes, x)
        memory = self._held = self._memory[x.shape]
        memory.below.copy_(x.permute(2, 0, 3, 1))
        for t in range(x.shape[2]):
            torch.bmm(self._weight, memory.inputs[t], out=memory.product[t])
            self._step(memory, t)
        return memory.outputs.permute(1, 3, 0, 2)

    def backward(self, d: Sequence[Tensor | None], needs_below: bool) -> list[Tensor | None]:
        """Write the gradients of weights and biases.

        Parameters
        ----------
        d : sequence of L (Tensor of shape (K, units, batch), or None)
            The gradient of each step's outputs; None is 0.
        needs_below : bool

        Returns
        -------
        list of L (Tensor of shape (K, below, batch), or None)
            The gradient of what is below each step; None if it is 0, or not needed.
        """
        memory, units = self._held, self.units
        weight = self._unscaled()[:, :, : None if needs_below else units].transpose(1, 2)
        self._slope.zero_()
        before: Tensor | None = None  # the gradient of the outputs by way of the next step
        found: list[Tensor | None] = [None] * len(d)
        for t in range(len(d) - 1, -1, -1):
            own = d[t]
            dh = before if own is None else own if before is None else before.add_(own)
            if dh is None:
                continue
            direct = self._step_back(memory, t, dh)
            self._slope.baddbmm_(memory.d, memory.turned[t])
            if t or needs_below:
                whole = torch.bmm(weight, memory.d)
                before = whole[:, :units]
                if direct is not None:
                    before.add_(direct)
                if needs_below:
                    found[t] = whole[:, units:-1]
        self._spread()
        return found

    def evaluate(self, x: Tensor) -> Tensor:
        """Go through L steps and keep nothing: (K, batch, L, below) to (K, batch, L, units)."""
        self._fill()
        steps, memory = x.permute(2, 0, 3, 1), Memory(self._sizes, x[:, :, :1])
        outputs = x.new_empty(len(steps), *memory.outputs.shape[1:])
        for below, after in zip(steps, outputs, strict=True):
            memory.below[0] = below
            torch.bmm(self._weight, memory.inputs[0], out=memory.product[0])
            self._step(memory, 0)
            after.copy_(memory.outputs[0])
            memory.carry()
        return outputs.permute(1, 3, 0, 2)

    @abstractmethod
    def _step(self, memory: Memory, t: int) -> None:
        """Go on from a step's product to its output."""

    @abstractmethod
    def _step_back(self, memory: Memory, t: int, dh: Tensor) -> Tensor | None:
        """Write a step's `d`, given the gradient of its output; return that of the output before it.

        Without what goes through the product; None for nothing else.
        """

    def _unscaled(self) -> Tensor:
        """Return the weights of a step as gradients go back through them."""
        return self._weight

    def _fill(self) -> None:
        """Bring the parameters to where a step has them."""
        w_ih, w_hh, b_ih, b_hh = self._thetas
        units = self.units
        for place, (gate, below, before) in enumerate(self.blocks):
            own = self._weight[:, place * units : (place + 1) * units]
            rows = slice(gate * units, (gate + 1) * units)
            if before:
                own[:, :, :units] = w_hh[:, rows]
            if below:
                own[:, :, units:-1] = w_ih[:, rows]
            if before and below:
                torch.add(b_ih[:, rows], b_hh[:, rows], out=own[:, :, -1])
            else:
                own[:, :, -1] = b_ih[:, rows] if below else b_hh[:, rows]

    def _spread(self) -> None:
        """Bring the gradients to where the parameters have them."""
        units = self.units
        for place, (gate, below, before) in enumerate(self.blocks):
            own = self._slope[:, place * units : (place + 1) * units]
            rows = slice(gate * units, (gate + 1) * units)
            for there, weight, bias, columns in (
                (below, 0, 2, slice(units, -1)),
                (before, 1, 3, slice(0, units)),
            ):
                if there:
                    self._grads[weight][:, rows] = own[:, :, columns]
                    self._grads[bias][:, rows] = own[:, :, -1]


class LSTMCell(Cell):
    """c = f · c₋₁ + i · g and h = o · tanh c, of gates i, f, o = σ(…) and g = tanh(…)."""

    blocks = ((0, True, True), (1, True, True), (3, True, True), (2, True, True))
    sigmoids = 3
    stored = 2  # c and tanh c

    @classmethod
    def most_work(cls, device: torch.device, dtype: torch.dtype) -> int:
        """Less where torch's own layer is oneDNN's, whose products take half the time; see `Cell.most_work`."""
        able: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        fused = able and bool(torch.backends.mkldnn.enabled) and device.type == "cpu" and dtype == torch.float32
        return 6_000_000 if fused else super().most_work(device, dtype)

    def _fill(self) -> None:
        super()._fill()
        self._weight[:, 3 * self.units :] *= 2.0  # for tanh by the sigmoid of the double

    def _unscaled(self) -> Tensor:
        plain = self._weight.clone()
        plain[:, 3 * self.units :] *= 0.5
        return plain

    def _step(self, memory: Memory, t: int) -> None:
        i, f, o, g = memory.gates[t]
        (before, _), (c, tanh_c) = memory.stored[t : t + 2]
        memory.product[t].sigmoid_()
        _doubled(g)
        torch.mul(i, g, out=c)
        c.addcmul_(f, before)
        torch.mul(c, 2.0, out=tanh_c)
        _doubled(tanh_c.sigmoid_())
        torch.mul(tanh_c, o, out=memory.after[t])

    def _step_back(self, memory: Memory, t: int, dh: Tensor) -> Tensor | None:
        i, f, o, g = memory.gates[t]
        (before, _), (_, tanh_c) = memory.stored[t : t + 2]
        d_i, d_f, d_o, d_g = memory.slopes
        dc, work = memory.spare
        torch.mul(dh, tanh_c, out=d_o)
        torch.mul(dh, o, out=work)
        _tanh_backward(work, tanh_c, grad_input=work)
        last = t + 2 == len(memory.stored)
        dc = dc.copy_(work) if last else dc.add_(work)
        torch.mul(dc, g, out=d_i)
        torch.mul(dc, before, out=d_f)
        torch.mul(dc, i, out=d_g)
        _sigmoid_backward(memory.joined_slope, memory.joined[t], grad_input=memory.joined_slope)
        _tanh_backward(d_g, g, grad_input=d_g)
        dc.mul_(f)
        return None


def _doubled(sigmoid: Tensor) -> None:
    """Turn σ(2x) into tanh x = 2 σ(2x) − 1, in place: torch's tanh takes ten times as long as its sigmoid."""
    sigmoid.mul_(2.0).sub_(1.0)


class GRUCell(Cell):
    """h = n + z · (h₋₁ − n), of r, z = σ(…) and n = tanh(x part + r · h part)."""

    blocks = ((0, True, True), (1, True, True), (2, False, True), (2, True, False))
    sigmoids = 2
    stored = 1  # n

    def _step(self, memory: Memory, t: int) -> None:
        r, z, h_part, x_part = memory.gates[t]
        (n,) = memory.stored[t + 1]
        memory.joined[t].sigmoid_()
        _doubled(torch.addcmul(x_part, r, h_part, out=n).mul_(2.0).sigmoid_())
        after = torch.sub(memory.before[t], n, out=memory.after[t])
        after.mul_(z).add_(n)

    def _step_back(self, memory: Memory, t: int, dh: Tensor) -> Tensor | None:
        r, z, h_part, _ = memory.gates[t]
        (n,) = memory.stored[t + 1]
        d_r, d_z, d_h, d_x = memory.slopes
        direct, work = memory.spare
        torch.mul(dh, z, out=direct)
        torch.sub(memory.before[t], n, out=d_z).mul_(dh)
        torch.sub(dh, direct, out=work)
        _tanh_backward(work, n, grad_input=d_x)
        torch.mul(d_x, h_part, out=d_r)
        torch.mul(d_x, r, out=d_h)
        _sigmoid_backward(memory.joined_slope, memory.joined[t], grad_input=memory.joined_slope)
        return direct
