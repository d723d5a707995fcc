"""From a loss's row in `tradingbot_exp.config.losses` to what torch computes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tradingbot_exp.config.choices import check_name
from tradingbot_exp.config.losses import LOSSES, Loss
from tradingbot_exp.errors import TrainingError

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From (output, target), of one shape, to a tensor of shape ()."""


def make_loss(name: str) -> Criterion:
    """Build a loss, averaged over the samples; one for probabilities takes logits. ConfigError for an unknown name."""
    check_name("training.loss", name, LOSSES)
    row = LOSSES[name]
    return _checked(row, row.function) if callable(row.function) else _of_torch(row.function)()


def elementwise(name: str) -> Criterion:
    """Build a loss of torch's with a value for each output."""
    return _of_torch(str(LOSSES[name].function))(reduction="none")


def loss_name(criterion: object) -> str | None:
    """Name a criterion that is exactly what `make_loss` builds of torch's, without hooks; None for any other."""
    for name, row in LOSSES.items():
        if isinstance(row.function, str) and type(criterion) is _of_torch(row.function):
            # Every attribute that decides the result: hooks, reduction, weights, delta.
            same = repr(_settings(criterion)) == repr(_settings(_of_torch(row.function)()))
            return name if same and "forward" not in vars(criterion) else None
    return None


def _of_torch(name: str) -> type[nn.Module]:
    found: type[nn.Module] = getattr(nn, name)
    return found


def _settings(criterion: object) -> dict[str, object]:
    return {key: value for key, value in vars(criterion).items() if key != "training"}


def _checked(row: Loss, function: Criterion) -> Criterion:
    """Let a loss of the user's own be named by its errors."""
    place = f"The loss {row.name} ({function.__module__}.{function.__qualname__})"

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        try:
            value: object = function(out, y)
        except Exception as error:
            raise TrainingError(f"{place} raised {type(error).__name__}: {error}") from error
        if not isinstance(value, Tensor) or value.ndim or (torch.is_grad_enabled() and not value.requires_grad):
            given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise TrainingError(
                f"{place} gave {given}; expected is a tensor of shape () that follows from the forecast."
            )
        return value

    return criterion
