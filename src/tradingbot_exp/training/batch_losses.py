"""Losses that are no mean over rows, for one model or for K stacked ones: functions of users, and ``sharpe``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tradingbot_exp.config.losses import Loss
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.runtime.text import qualified_name
from tradingbot_exp.training.inputs import Data
from tradingbot_exp.training.objective import Objective

# Returns of dates spread less than this, in rounding errors of the largest of them, where they are all the same.
_ROUNDING = 8
_EXPECTED = "expected is a tensor of shape () that follows from the forecast."


class FunctionLoss(Objective):
    """A function of the user's own, differentiated by autograd for each model by itself.

    What it raises for a model is kept in `errors`: from then on that model's losses are NaN, and its gradients 0.

    Parameters
    ----------
    row, numbers, data
        See `Objective`; there are no numbers.
    """

    exact = False

    def __init__(self, row: Loss, numbers: Sequence[float | None], data: Data) -> None:
        self._row, self._data = row, data
        self._named = f"The loss {row.name} ({qualified_name(row.function)})"
        self.errors: list[Exception | None] = [None] * len(numbers)

    def step(self, out: Tensor, y: Tensor, rows: Any, counts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute each model's gradient and its loss; see `Objective.step`."""
        given = None if self._data.returns is None else self._data.returns[rows]
        gradient, losses = torch.zeros_like(out), out.new_full((len(out),), torch.nan)
        sizes = [out.shape[1]] * len(out) if counts is None else counts.tolist()
        with torch.enable_grad():
            for place, size in enumerate(sizes):
                leaf = out[place, :size].detach().requires_grad_()
                value = self._value(place, leaf, y[place, :size], None if given is None else given[place, :size])
                slope = None if value is None else self._slope(place, value, leaf)
                if value is not None and slope is not None:
                    losses[place], gradient[place, :size] = value.detach(), slope
        return gradient, losses

    @torch.no_grad()
    def validate(self, blocks: Iterable[Tensor], y: Tensor) -> list[float]:
        """Return each model's loss over all validation rows."""
        out, returns = torch.cat(tuple(blocks), 1), self._data.returns_val
        # Of copies, as what one model's call changes would be there for the next one's.
        found = [
            self._value(place, own, y.clone(), None if returns is None else returns.clone())
            for place, own in enumerate(out)
        ]
        return [torch.nan if value is None else float(value) for value in found]

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the models."""
        self.errors = [self.errors[position] for position in positions]

    def _value(self, place: int, out: Tensor, y: Tensor, returns: Tensor | None) -> Tensor | None:
        """Return what the function gives; None, and keep why, if it raises or gives something else."""
        function: Any = self._row.function
        if self.errors[place] is not None:
            return None
        try:
            value: object = function(out, y, returns) if self._row.takes_returns else function(out, y)
        except Exception as error:
            self._fail(place, f"raised {type(error).__name__}: {error}", error)
            return None
        if isinstance(value, Tensor) and not value.ndim and (value.requires_grad or not torch.is_grad_enabled()):
            return value
        given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        self._fail(place, f"gave {given}; {_EXPECTED}")
        return None

    def _slope(self, place: int, value: Tensor, out: Tensor) -> Tensor | None:
        """Return the gradient of a loss by the forecasts; None, and keep why, if there is none."""
        try:
            found: Tensor | None = torch.autograd.grad(value, out, allow_unused=True)[0]
        except Exception as error:
            why = f"cannot be differentiated, as by changes in place: {type(error).__name__}: {error}"
            self._fail(place, why, error)
            return None
        if found is None:
            self._fail(place, f"gave a tensor that the forecast does not change; {_EXPECTED}")
        return found

    def _fail(self, place: int, why: str, cause: Exception | None = None) -> None:
        """Keep why a model's training ends."""
        failure = TrainingError(f"{self._named} {why}")
        failure.__cause__, self.errors[place] = cause, failure


class SharpeLoss(Objective):
    """Minus the Sharpe ratio of a batch: mean / sd (ddof 1) of its dates' returns, not annualised, before costs.

    A date's return is the mean over its rows of tanh(output / scale) · (exp(r) − 1), r the one-bar log return. It is 0,
    with a gradient of 0, for a batch that has fewer than two dates, or the same return on each.

    Parameters
    ----------
    row, numbers, data
        See `Objective`; the numbers are standard deviations of train targets.

    References
    ----------
    Moody & Saffell (2001), "Learning to trade via direct reinforcement", IEEE Transactions on Neural Networks 12(4).
    """

    def __init__(self, row: Loss, numbers: Sequence[float | None], data: Data) -> None:
        if data.y.numel() != len(data.y):
            outputs = data.y.shape[1]
            raise TrainingError(f"training.loss={row.name} takes one forecast a row; the model gives {outputs}.")
        self._scales = data.X.new_tensor(numbers).unsqueeze(1)
        self._days, self._days_val = data.days, data.days_val
        self._gains = _gains(data.returns, data.days)
        self._gains_val = _gains(data.returns_val, data.days_val)

    @staticmethod
    def number_of(row: Loss, numbers: dict[str, Any], y: Any) -> float:
        """Return the standard deviation (ddof 1) of the train targets."""
        targets = torch.as_tensor(y, dtype=torch.float64)
        scale = float(targets.std()) if len(targets) > 1 else 0.0
        if not scale:
            raise TrainingError(
                f"training.loss={row.name} divides forecasts by the spread of the train targets, and all "
                f"{len(targets)} are {float(targets.flatten()[0]):g}."
            )
        return scale

    def step(self, out: Tensor, _: Tensor, rows: Any, counts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute each model's gradient and its loss; see `Objective.step`."""
        gains, days = self._gains[rows], None if self._days is None else self._days[rows]
        gradient, losses = _ratio(out.flatten(1), self._scales, gains, days, counts)
        return gradient.view_as(out), losses

    def validate(self, blocks: Iterable[Tensor], _: Tensor) -> list[float]:
        """Return each model's loss over all validation dates, to the bits that it has alone."""
        out = torch.cat(tuple(blocks), 1)
        gains, days = self._gains_val[None], None if self._days_val is None else self._days_val[None]
        each = zip(out.flatten(1).unsqueeze(1), self._scales.unsqueeze(1), strict=True)
        return [float(_ratio(own, scale, gains, days, None)[1]) for own, scale in each]

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with some of the models."""
        self._scales = self._scales[list(positions)]


BATCH_LOSSES: dict[str, type[Objective]] = {SharpeLoss.__name__: SharpeLoss}
"""Those of this package, as `Loss.function` names them."""


def _gains(returns: Tensor | None, days: Tensor | None) -> Tensor:
    """Return what each row's position of 1 adds to its date's return, shape (n,)."""
    if returns is None:
        raise TrainingError("training.loss=sharpe needs one-bar returns: give returns_train and returns_val.")
    gains = returns.flatten().expm1()
    return gains if days is None else gains / torch.bincount(days)[days]


def _ratio(
    out: Tensor, scales: Tensor, gains: Tensor, days: Tensor | None, counts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute gradients (K, n) and losses (K,): out and gains are (K, n), scales (K, 1), days ascending, padding last.

    With R the D returns, m their mean and s their sd, d(m / s)/dR = 1 / (D s) − m (R − m) / ((D − 1) s³).
    """
    position = torch.tanh(out / scales)
    if counts is not None:
        gains = gains * (torch.arange(gains.shape[1], device=gains.device) < counts.unsqueeze(1))
    returns = position * gains
    if days is not None:
        days = days - days[:, :1]
        counts = days[:, -1] + 1
        # As wide as the rows, whatever dates other models have: a sum's last bit depends on how many zeros it adds.
        returns = torch.zeros_like(returns).scatter_add_(1, days, returns)
    if counts is None:
        counts = torch.full_like(returns[:, 0], returns.shape[1])
    counts = counts.to(returns.dtype).unsqueeze(1)
    mean = returns.sum(1, keepdim=True) / counts
    real = torch.arange(returns.shape[1], device=returns.device) < counts
    away, others = (returns - mean) * real, (counts - 1).clamp(min=1)
    spread = (away.square().sum(1, keepdim=True) / others).sqrt()
    flat = spread <= _ROUNDING * torch.finfo(returns.dtype).eps * returns.abs().amax(1, keepdim=True)
    spread = spread.masked_fill(flat, 1)
    by_return = ((mean / spread * (away / spread) / others - 1 / counts) / spread).masked_fill_(flat, 0)
    by_row = by_return if days is None else by_return.gather(1, days)
    gradient = by_row * gains * (1 - position.square()) / scales
    return gradient, -(mean / spread).masked_fill(flat, 0).squeeze(1)
