"""Models of one shape as one: batched matrix products, and one optimizer step over all their parameters.

A small network's time goes into the calls, not into the arithmetic; here one call serves all models. Each
parameter is kept once for all models, with the model as its first axis, and all of them lie in one flat buffer,
so that an optimizer's step is half a dozen calls however many layers there are. A weight lies there with its longer
side in rows, since products whose rows are short take several times as long. What is computed for one model does
not depend on how many others there are, to the last bit as far as torch's kernels keep to that. On AVX-512 with MKL
they do for products whose matrices fill whole 16 bytes, ReLU, tanh and their like; GELU, SiLU, ELU and the sigmoid of
``bce`` compute what is left over after the last whole vector of a tensor, and so of the last model, otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tradingbot_exp.training.batches import blocks_of, split
from tradingbot_exp.training.inputs import BLOCK, Data
from tradingbot_exp.training.networks.network import Generators, Network
from tradingbot_exp.training.networks.plan import Plan
from tradingbot_exp.training.objective import Objective
from tradingbot_exp.training.rules import Flat, Rule, read_rule
from tradingbot_exp.training.state import Member

# Validation rows at a time, the same for any number of models: which are summed up together shows in the last bits.
ROWS = 512
# Values that K models of other kinds may come to at a time in a validation pass.
MOST = 16 * BLOCK


class Stack:
    """Trains K models in lockstep, epoch by epoch.

    Parameters
    ----------
    members : sequence of K Member
        Their models in training mode, all of one `Shape`; they stay as they are until `write_back`. Optimizers give
        state, learning rate and weight decay, the latter two anew each epoch; `write_back` fills their state.
    plans : sequence of K Plan
        Of their models.
    objective : Objective
        Of these K models.
    batch_size : int
    """

    def __init__(self, members: Sequence[Member], plans: Sequence[Plan], objective: Objective, batch_size: int) -> None:
        self._members, self._plans = list(members), list(plans)
        self.objective, self._batch_size = objective, batch_size
        self._norms: Tensor | None = None
        parameters = [plan.parameters for plan in plans]
        self._turned = [plans[0].kind.is_turned(p) for p in parameters[0]]
        # As they lie in the buffers.
        self._sizes = [_turn(p.detach(), turned).shape for p, turned in zip(parameters[0], self._turned, strict=True)]
        self.rule, self._steps = read_rule(members[0].optimizer, parameters[0]) or (Rule(), 0)
        theta = self._flatten(parameters)
        slots = [torch.zeros_like(theta) for _ in self.rule.slots]
        if self._steps:
            pairs = [(each.optimizer.state, own) for each, own in zip(members, parameters, strict=True)]
            slots = [self._flatten([[by[p][name] for p in own] for by, own in pairs]) for name in self.rule.slots]
        self._arrange(theta, slots)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def norms(self) -> list[float | None]:
        """Each model's norm of its last gradient, before it was clipped; None of one that is not clipped."""
        norms = [math.nan] * len(self) if self._norms is None else self._norms.tolist()
        return [norm if own.gradient_clip else None for norm, own in zip(norms, self._members, strict=True)]

    @torch.no_grad()
    def epoch(self, data: Data, orders: Tensor, generators: Generators) -> list[float]:
        """Go once over the set.

        Parameters
        ----------
        data : Data
        orders : Tensor of shape (K, n), or (K, batches)
            Each model's order of the rows; of the batches, where `data` has their `starts`.
        generators : sequence of K (torch.Generator or None)
            What dropout draws from; None is torch's own.

        Returns
        -------
        list of K float
            The mean over the samples of their batches' losses.
        """
        self._set_rates()
        blocks = blocks_of(data, orders, self._batch_size)
        losses = torch.cat([self._block(data, *block, generators) for block in blocks])
        return [float(total) / len(data.X) for total in losses.t().contiguous().sum(1)]

    def _block(self, data: Data, block: Tensor, counts: Tensor | None, generators: Generators) -> Tensor:
        """Train on some batches, see `blocks_of`; give each one's sum of losses over its samples, (batches, K)."""
        models, index = len(self), block.reshape(-1)
        size = block.shape[1] // models
        X = data.X.index_select(0, index).view(len(block), models, size, *data.X.shape[1:])
        y = data.y.index_select(0, index).view(len(block), models, size, -1)
        out = torch.empty((len(block), models, size, self._plans[0].outputs), dtype=self._flat.theta.dtype)
        steps, losses = block.view(len(block), models, size), []
        filled = [None] * len(block) if counts is None else counts
        parts = (each.unbind() for each in (X, y, out, steps))
        for x, target, own, rows, count in zip(*parts, filled, strict=True):
            self._network.forward(x, own, count, generators)
            slope, loss = self.objective.step(own, target, rows, count)
            self._network.backward(slope)
            losses.append(loss)
            if self._limits is not None:
                self._clip(self._limits)
            self._steps += 1
            self.rule.step(self._flat, self._rates, self._decays, self._steps)
        return self.objective.losses_of(out, y, losses).double() * (size if counts is None else counts)

    def _clip(self, limits: Tensor) -> None:
        """Scale each model's gradient as `torch.nn.utils.clip_grad_norm_` does; a limit of infinity changes nothing."""
        norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in self._grads], 1)
        self._norms = torch.linalg.vector_norm(norms, dim=1)
        scale = (limits / (self._norms + 1e-6)).clamp_(max=1.0)
        scale.masked_fill_(limits == math.inf, 1.0)  # a norm may be infinite, too
        for grad in self._grads:
            grad.mul_(scale.view(-1, *[1] * (grad.ndim - 1)))

    @torch.no_grad()
    def validate(self, data: Data) -> list[float]:
        """Return each model's loss over the validation set, without dropout."""
        return self.objective.validate(self._outputs(data.X_val), data.y_val.reshape(len(data.y_val), -1))

    def _outputs(self, X: Tensor) -> Iterator[Tensor]:
        """Compute the outputs without dropout, some rows at a time: (K, rows, outputs)."""
        plan = self._plans[0]
        at_once = BLOCK // max(plan.widest, X[0].numel())
        if not plan.kind.fixed_rows:
            at_once = MOST // (len(self) * max(plan.widest, X[0].numel()))
        for block in split(X, max(1, min(ROWS, at_once))):
            yield self._network.evaluate(block)

    def weights(self, position: int) -> list[Tensor]:
        """Copy the parameters of one model, in their order."""
        return [view[position].clone(memory_format=torch.contiguous_format) for view in self._upright(self._flat.theta)]

    @torch.no_grad()
    def write_back(self, position: int) -> None:
        """Put parameters, last gradients and the optimizer's state of one model into it and its optimizer."""
        parameters = self._plans[position].parameters
        buffers = [self._flat.theta, self._flat.grad, *self._flat.slots]
        columns = [self._upright(buffer) for buffer in buffers]
        state = self._members[position].optimizer.state
        for number, parameter in enumerate(parameters):
            value, grad, *slots = (column[number][position] for column in columns)
            parameter.copy_(value)
            parameter.grad = grad.clone(memory_format=torch.contiguous_format)
            for name, slot in zip(self.rule.slots, slots, strict=True):
                if state[parameter].get(name) is not None:
                    state[parameter][name].copy_(slot)
                else:
                    state[parameter][name] = slot.clone(memory_format=torch.contiguous_format)
            if self.rule.counts:
                state[parameter]["step"] = torch.tensor(float(self._steps))

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the models, in the order given."""
        old, kept = len(self), torch.tensor(positions)
        self._plans = [self._plans[position] for position in positions]
        self._members = [self._members[position] for position in positions]
        self.objective.keep(positions)
        theta, *slots = (
            torch.cat([view.index_select(0, kept).reshape(-1) for view in _views(buffer, old, self._sizes)])
            for buffer in (self._flat.theta, *self._flat.slots)
        )
        self._arrange(theta, slots)

    def _arrange(self, theta: Tensor, slots: list[Tensor]) -> None:
        """Lay views over the flat buffers, and memory for the work out."""
        self._flat = Flat(theta, torch.zeros_like(theta), slots, torch.empty_like(theta))
        thetas, self._grads = (self._upright(buffer) for buffer in self._flat[:2])
        models = [member.model for member in self._members]
        self._network: Network = self._plans[0].kind(models, thetas, self._grads)
        limits = [float(own.gradient_clip or math.inf) for own in self._members]
        self._limits = None if min(limits) == math.inf else torch.tensor(limits, dtype=self._flat.theta.dtype)
        self._rates = self._flat.theta  # set before the first step
        self._decays: Tensor | None = None
        self._set_at: list[tuple[float, float]] = []

    def _flatten(self, tensors: Sequence[Sequence[Any]]) -> Tensor:
        """Lay the models' tensors, K lists of P, into one flat buffer: all models' first tensors, then their second."""
        columns = zip(*tensors, strict=True)
        same = [
            torch.stack([_turn(own.detach(), turned) for own in column])
            for column, turned in zip(columns, self._turned, strict=True)
        ]
        return torch.cat([column.reshape(-1) for column in same])

    def _upright(self, buffer: Tensor) -> list[Tensor]:
        """Cut a flat buffer into tensors of shape (K, …), one a parameter, with its own shape."""
        views = _views(buffer, len(self), self._sizes)
        return [_turn(view, turned) for view, turned in zip(views, self._turned, strict=True)]

    def _set_rates(self) -> None:
        """Read learning rates and weight decays, as tensors of the parameters' size."""
        groups = [own.optimizer.param_groups[0] for own in self._members]
        now = [(float(group["lr"]), float(group["weight_decay"])) for group in groups]
        if now != self._set_at:
            self._set_at = now
            self._rates = self._spread([rate for rate, _ in now])
            self._decays = self._spread([decay for _, decay in now]) if any(decay for _, decay in now) else None

    def _spread(self, values: list[float]) -> Tensor:
        column = torch.tensor(values, dtype=self._flat.theta.dtype).unsqueeze(1)
        return torch.cat([column.expand(-1, size.numel()).reshape(-1) for size in self._sizes])


def _turn(tensor: Tensor, turned: bool) -> Tensor:
    return tensor.transpose(-1, -2) if turned else tensor


def _views(buffer: Tensor, models: int, sizes: Sequence[torch.Size]) -> list[Tensor]:
    """Cut a flat buffer into tensors of shape (K, …), one a parameter, as they lie there."""
    parts = buffer.split([models * size.numel() for size in sizes])  # type: ignore[no-untyped-call]
    return [part.view(models, *size) for part, size in zip(parts, sizes, strict=True)]
