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
from tradingbot_exp.training.objective import Objective
from tradingbot_exp.training.products import Work, backward, forward
from tradingbot_exp.training.rules import Flat, Rule, read_rule
from tradingbot_exp.training.shape import Activation, parameters_of, read_layers
from tradingbot_exp.training.state import Member

# Validation rows at a time, the same for any number of models: which are summed up together shows in the last bits.
ROWS = 512
Step = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]
"""x (K, size, in), y and out (K, size, outputs), and for `Objective.step` which rows they are, and how many count."""


class Stack:
    """Trains K models in lockstep, epoch by epoch.

    Parameters
    ----------
    members : sequence of K Member
        Their models in training mode, all of one `Shape`; they stay as they are until `write_back`. Optimizers give
        state, learning rate and weight decay, the latter two anew each epoch; `write_back` fills their state.
    objective : Objective
        Of these K models.
    batch_size : int
    """

    def __init__(self, members: Sequence[Member], objective: Objective, batch_size: int) -> None:
        self._members = list(members)
        self._layers = [read_layers(member.model) or [] for member in members]
        self.objective, self._batch_size = objective, batch_size
        self._norms: Tensor | None = None
        parameters = [parameters_of(layers) for layers in self._layers]
        self._turned = [p.ndim > 1 and p.shape[0] > p.shape[1] for p in parameters[0]]
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
        return len(self._layers)

    @property
    def norms(self) -> list[float | None]:
        """Each model's norm of its last gradient, before it was clipped; None of one that is not clipped."""
        norms = [math.nan] * len(self) if self._norms is None else self._norms.tolist()
        return [norm if own.gradient_clip else None for norm, own in zip(norms, self._members, strict=True)]

    @torch.no_grad()
    def epoch(self, data: Data, orders: Tensor, generators: Sequence[torch.Generator | None]) -> list[float]:
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

    def _block(
        self, data: Data, block: Tensor, counts: Tensor | None, generators: Sequence[torch.Generator | None]
    ) -> Tensor:
        """Train on some batches, see `blocks_of`; give each one's sum of losses over its samples, (batches, K)."""
        models, index = len(self), block.reshape(-1)
        size = block.shape[1] // models
        X = data.X.index_select(0, index).view(len(block), models, size, -1)
        y = data.y.index_select(0, index).view(len(block), models, size, -1)
        out = torch.empty((len(block), models, size, self._views[-1][0].shape[1]), dtype=self._flat.theta.dtype)
        rows, work, losses = block.view(len(block), models, size), self._work(size), []
        filled = [None] * len(block) if counts is None else counts
        for step in zip(X.unbind(), y.unbind(), out.unbind(), rows.unbind(), filled, strict=True):
            losses.append(self._gradients(step, work, generators))
            if self._limits is not None:
                self._clip(self._limits)
            self._steps += 1
            self.rule.step(self._flat, self._rates, self._decays, self._steps)
        return self.objective.losses_of(out, y, losses).double() * (size if counts is None else counts)

    def _gradients(self, step: Step, work: Work, generators: Sequence[torch.Generator | None]) -> Any:
        """Compute a step's outputs and gradients, and return the losses of a loss of whole batches, shape (K,)."""
        x, y, out, rows, counts = step
        last = len(self._acts) - 1
        h, inputs, values = x, [], []
        for number, act in enumerate(self._acts):
            weight, bias, _, _ = self._views[number]
            z = out if number == last else work.z[number]
            forward(h, weight, bias, z)
            inputs.append(h)
            a = z if act is None else act.forward(z) if act.forward_ is None else act.forward_(z)
            values.append((z, a))
            noise, passed = work.noise[number], work.passed[number]
            h = (
                a
                if noise is None or passed is None
                else torch.mul(a, self._draw(number, noise, counts, generators), out=passed)
            )
        if h is not out:
            out.copy_(h)
        d, losses = self.objective.step(out, y, rows, counts)  # dL/dh, (K, size, outputs)
        for number in range(last, -1, -1):
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
        return losses

    def _draw(
        self, number: int, noise: Tensor, counts: Tensor | None, generators: Sequence[torch.Generator | None]
    ) -> Tensor:
        """Draw what a dropout layer lets through, for each model as torch would for it alone."""
        whole = [None] * len(self) if counts is None else counts.tolist()
        for own, keep, rows, generator in zip(noise.unbind(), self._keeps[number], whole, generators, strict=True):
            if keep < 1:
                (own if rows is None else own[:rows]).bernoulli_(keep, generator=generator).div_(keep)
        return noise

    def _clip(self, limits: Tensor) -> None:
        """Scale each model's gradient as `torch.nn.utils.clip_grad_norm_` does; a limit of infinity changes nothing."""
        grads = [grad for _, _, *both in self._views for grad in both if grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads], 1)
        self._norms = torch.linalg.vector_norm(norms, dim=1)
        scale = (limits / (self._norms + 1e-6)).clamp_(max=1.0)
        scale.masked_fill_(limits == math.inf, 1.0)  # a norm may be infinite, too
        for grad in grads:
            grad.mul_(scale.view(-1, *[1] * (grad.ndim - 1)))

    @torch.no_grad()
    def validate(self, data: Data) -> list[float]:
        """Return each model's loss over the validation set, without dropout."""
        return self.objective.validate(self._outputs(data.X_val), data.y_val.flatten(1))

    def _outputs(self, X: Tensor) -> Iterator[Tensor]:
        """Compute the outputs without dropout, some rows at a time: (K, rows, outputs)."""
        widest = max(*(weight.shape[1] for weight, *_ in self._views), X[0].numel())
        for block in split(X, max(1, min(ROWS, BLOCK // widest))):
            h = block.flatten(1).expand(len(self), -1, -1)
            for act, (weight, bias, _, _) in zip(self._acts, self._views, strict=True):
                h = forward(h, weight, bias)
                if act is not None:
                    h = act.forward(h) if act.forward_ is None else act.forward_(h)
            yield h

    def weights(self, position: int) -> list[Tensor]:
        """Copy the parameters of one model, in their order."""
        return [view[position].clone(memory_format=torch.contiguous_format) for view in self._upright(self._flat.theta)]

    @torch.no_grad()
    def write_back(self, position: int) -> None:
        """Put parameters, last gradients and the optimizer's state of one model into it and its optimizer."""
        parameters = parameters_of(self._layers[position])
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
        self._layers = [self._layers[position] for position in positions]
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
        thetas, grads = (iter(self._upright(buffer)) for buffer in self._flat[:2])
        first = self._layers[0]
        # A layer's weight (K, out, in), bias (K, 1, out), and their gradients (K, out, in) and (K, out).
        self._views: list[tuple[Tensor, Tensor | None, Tensor, Tensor | None]] = []
        for layer in first:
            weight, weight_grad = next(thetas), next(grads)
            bias, bias_grad = (None, None) if layer.bias is None else (next(thetas).unsqueeze(1), next(grads))
            self._views.append((weight, bias, weight_grad, bias_grad))
        self._acts: list[Activation | None] = [layer.act for layer in first]
        self._keeps = [[layers[number].keep for layers in self._layers] for number in range(len(first))]
        limits = [float(own.gradient_clip or math.inf) for own in self._members]
        self._limits = None if min(limits) == math.inf else torch.tensor(limits, dtype=self._flat.theta.dtype)
        self._rates = self._flat.theta  # set before the first step
        self._decays: Tensor | None = None
        self._set_at: list[tuple[float, float]] = []
        self._memory: dict[int, Work] = {}

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

    def _work(self, size: int) -> Work:
        """Return memory for batches of `size` rows."""
        if size not in self._memory:
            widths = [weight.shape[1] for weight, *_ in self._views]
            drops = [min(keeps) < 1 for keeps in self._keeps]
            self._memory[size] = Work.of((len(self), size), widths, drops, self._flat.theta.dtype)
        return self._memory[size]


def _turn(tensor: Tensor, turned: bool) -> Tensor:
    return tensor.transpose(-1, -2) if turned else tensor


def _views(buffer: Tensor, models: int, sizes: Sequence[torch.Size]) -> list[Tensor]:
    """Cut a flat buffer into tensors of shape (K, …), one a parameter, as they lie there."""
    parts = buffer.split([models * size.numel() for size in sizes])  # type: ignore[no-untyped-call]
    return [part.view(models, *size) for part, size in zip(parts, sizes, strict=True)]
