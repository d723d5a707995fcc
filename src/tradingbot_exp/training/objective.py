"""What a model, or each of K stacked ones, is trained by: what a training asks of a loss, whatever its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from tradingbot_exp.config.losses import Loss
from tradingbot_exp.training.inputs import Data

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From (output, target), of one shape, to a tensor of shape ()."""


class Single(Protocol):
    """What one model is trained by through autograd."""

    @property
    def errors(self) -> Sequence[Exception | None]:
        """What ends its training; empty, or None, for nothing."""

    def backward(self, out: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """Send a batch's gradient back from the output, and return its loss, shape (); `rows` are its rows."""

    def validate(self, blocks: Iterable[Tensor], y: Tensor) -> list[float]:
        """Return the loss of all validation rows, a list of one: see `Objective.validate`."""


class MeanLoss:
    """A criterion, the mean over rows, of one model."""

    errors: Sequence[Exception | None] = ()

    def __init__(self, criterion: Criterion) -> None:
        self._criterion = criterion

    def backward(self, out: Tensor, y: Tensor, _: Tensor) -> Tensor:
        """Differentiate by autograd; see `Single.backward`."""
        loss = self._criterion(out, y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def validate(self, blocks: Iterable[Tensor], y: Tensor) -> list[float]:
        """Return the mean over all validation rows, block by block."""
        total, start = 0.0, 0
        for (out,) in blocks:
            total += float(self._criterion(out, y[start : start + len(out)])) * len(out)
            start += len(out)
        return [total / len(y)]


class Objective(ABC):
    """A loss of K models; where nothing else is said, one of whole batches.

    Parameters
    ----------
    row : Loss
    numbers : sequence of K (float or None)
        Each model's own: see `number_of`.
    data : Data

    Attributes
    ----------
    errors : sequence of K (Exception or None)
        What ends the training of each; empty for none.
    exact : bool
        Whether it is computed in whatever type its data have.
    """

    errors: Sequence[Exception | None] = ()
    exact = True

    @abstractmethod
    def __init__(self, row: Loss, numbers: Sequence[float | None], data: Data) -> None: ...

    @staticmethod
    def number_of(row: Loss, numbers: dict[str, Any], y: Any) -> float | None:
        """Return what a loss takes of a model's `numbers`, by their key, and of its train targets; None for nothing."""
        return None

    @property
    def single(self) -> Single:
        """The same of one model."""
        return self

    @abstractmethod
    def step(self, out: Tensor, y: Tensor, rows: Any, counts: Tensor | None) -> tuple[Tensor, Any]:
        """Compute each model's gradient and its loss.

        Parameters
        ----------
        out, y : Tensor of shape (K, size, outputs)
        rows : Tensor of int, shape (K, size)
            Which of the train rows they are.
        counts : Tensor of int, shape (K,), or None
            Rows of each model's batch, by which the others are padded; None if all are.

        Returns
        -------
        tuple of Tensor, of shape (K, size, outputs), and (K,)
            The gradient of what is padded is 0. In place of losses None, if `losses_of` computes them.
        """

    def losses_of(self, out: Tensor, y: Tensor, losses: Sequence[Any]) -> Tensor:
        """Return the loss of each of several batches, (batches, K): out and y are (batches, K, size, outputs).

        `losses` are those that `step` gave for them.
        """
        return torch.stack(list(losses))

    @abstractmethod
    def validate(self, blocks: Iterable[Tensor], y: Tensor) -> list[float]:
        """Return each model's loss over all n validation rows.

        Parameters
        ----------
        blocks : iterable of Tensor, shape (K, rows, outputs)
            The outputs, some rows at a time, in their order.
        y : Tensor of shape (n, outputs)
        """

    @abstractmethod
    def keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the models."""

    def backward(self, out: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """Send the gradient of a batch of the only model back from its output: see `Single.backward`."""
        gradient, losses = self.step(out.detach()[None], y[None], rows[None], None)
        out.backward(gradient[0])  # type: ignore[no-untyped-call]
        return self.losses_of(out.detach()[None, None], y[None, None], [losses])[0, 0]
