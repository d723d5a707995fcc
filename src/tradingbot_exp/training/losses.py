"""From a loss's row in `tradingbot_exp.config.losses` to what torch computes, for one model or for K stacked ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tradingbot_exp.config.losses import LOSSES, Loss, balance
from tradingbot_exp.training.batch_losses import BATCH_LOSSES, FunctionLoss
from tradingbot_exp.training.inputs import Data, with_market
from tradingbot_exp.training.objective import MeanLoss, Objective, Single

# Torch's losses that take a number, as functions.
_FUNCTIONAL = {"BCEWithLogitsLoss": nn.functional.binary_cross_entropy_with_logits}


class RowLoss(Objective):
    """A loss that is the mean of a value for each output: a class of ``torch.nn``, or a function with its gradient."""

    def __init__(self, row: Loss, numbers: Sequence[float | None], data: Data) -> None:
        self._row, self._number = row, None
        if any(number is not None for number in numbers):
            each = [1.0 if number is None else number for number in numbers]
            self._number = data.X.new_tensor(each).view(-1, 1, 1)
        self._values: Any = row.function
        if isinstance(row.function, str) and self._number is None:
            self._values = _of_torch(row.function)(reduction="none")
        elif isinstance(row.function, str):
            function = _FUNCTIONAL[row.function]
            self._values = lambda out, y, number: function(out, y, reduction="none", **{row.number: number})

    @staticmethod
    def number_of(row: Loss, numbers: dict[str, Any], y: Any) -> float | None:
        """Return the model's number of the loss, if it has one; ``balanced`` is that of the train targets."""
        given = numbers.get(row.number)
        return balance(y) if given == "balanced" else None if given is None else float(given)

    @property
    def single(self) -> Single:
        """The same of one model."""
        if self._number is None and isinstance(self._row.function, str):
            return MeanLoss(_of_torch(self._row.function)())
        return MeanLoss(lambda out, y: self.values(out, y).mean())

    def values(self, out: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each output, (..., K, n, outputs); of one model, of any shape."""
        if self._number is None:
            return self._values(out, y)  # type: ignore[no-any-return]
        number = self._number.view(()) if len(self._number) == 1 else self._number
        return self._values(out, y, number)  # type: ignore[no-any-return]

    def step(self, out: Tensor, y: Tensor, *_: object) -> tuple[Tensor, None]:
        """Return the gradient of each model's mean: all are (K, size, outputs)."""
        size = out[0].numel()
        if self._row.gradient is not None:
            return self._row.gradient(out, y, size, self._number), None
        with torch.enable_grad():
            leaf = out.detach().requires_grad_()
            return torch.autograd.grad(self.values(leaf, y).sum() / size, leaf)[0], None

    def losses_of(self, out: Tensor, y: Tensor, _: object) -> Tensor:
        """Return the means of all batches at once: see `Objective.losses_of`."""
        return self.values(out, y).flatten(2).mean(2)

    def validate(self, blocks: Iterable[Tensor], y: Tensor) -> list[float]:
        """Return each model's mean over all validation rows."""
        totals, start = torch.zeros(1, dtype=torch.float64), 0
        for out in blocks:
            own = y[start : start + out.shape[1]]
            totals = totals + self.values(out, own.expand_as(out)).flatten(1).mean(1).double() * len(own)
            start += len(own)
        return [float(total) / len(y) for total in totals]

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the models."""
        if self._number is not None:
            self._number = self._number[list(positions)]


def kind_of(row: Loss) -> type[Objective]:
    """Return what computes a loss: the one place that tells their kinds apart."""
    if isinstance(row.function, str):
        return BATCH_LOSSES.get(row.function, RowLoss)
    return FunctionLoss if row.gradient is None else RowLoss


def make_objective(name: str, numbers: Sequence[float | None], data: Data) -> Objective:
    """Build a loss of K models; one for probabilities takes logits.

    Parameters
    ----------
    name : str
        Of `tradingbot_exp.config.losses.LOSSES`.
    numbers : sequence of K (float or None)
        From `number_of`.
    data : Data
    """
    row = LOSSES[name]
    return kind_of(row)(row, numbers, data)


def number_of(name: str, quantile: float, pos_weight: float | str | None, y: Any) -> float | None:
    """Return a model's number of its loss: quantile, weight of positives, or sd of the train targets; None without one.

    Raises
    ------
    TrainingError
        The train targets `y` are all the same, and the number is made of them.
    """
    row = LOSSES[name]
    return kind_of(row).number_of(row, {"quantile": quantile, "pos_weight": pos_weight}, y)


def validation_loss(
    name: str, number: float | None, like: Tensor, y: Any, *, returns: Any = None, dates: Any = None
) -> Callable[[Any], float]:
    """Return the loss of all validation rows at once, as a function of a model's raw outputs.

    It is computed in float64 on the CPU; a user's own function, which may make tensors itself, as training computes it.

    Parameters
    ----------
    name : str
    number : float or None
        From `number_of`.
    like : Tensor
        Of the type, and on the device, of the model's training.
    y, returns, dates : array-like of shape (n,), or None
        Targets, one-bar log returns, and dates of rows in their order.
    """
    if kind_of(LOSSES[name]).exact:
        like = torch.zeros((), dtype=torch.float64)
    target = torch.as_tensor(y, dtype=like.dtype, device=like.device).reshape(-1, 1)
    data = with_market(Data(*[target] * 4), LOSSES[name], (returns, returns), (dates, dates))
    single = make_objective(name, [number], data).single

    @torch.no_grad()
    def loss(outputs: Any) -> float:
        out = torch.as_tensor(outputs, dtype=like.dtype, device=like.device).reshape(-1, 1)
        (value,) = single.validate([out[None]], target)
        for error in filter(None, single.errors):
            raise error
        return value

    return loss


def loss_name(criterion: object) -> str | None:
    """Name a criterion that is exactly what a `RowLoss` makes of torch's, without hooks; None for any other."""
    for name, row in LOSSES.items():
        if isinstance(row.function, str) and hasattr(nn, row.function) and type(criterion) is _of_torch(row.function):
            # Every attribute that decides the result: hooks, reduction, weights, delta.
            same = repr(_settings(criterion)) == repr(_settings(_of_torch(row.function)()))
            return name if same and "forward" not in vars(criterion) else None
    return None


def _of_torch(name: str) -> type[nn.Module]:
    found: type[nn.Module] = getattr(nn, name)
    return found


def _settings(criterion: object) -> dict[str, object]:
    return {key: value for key, value in vars(criterion).items() if key != "training"}
