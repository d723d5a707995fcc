"""What `train_model` and `train_stack` refuse before they start."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tradingbot_exp.errors import ConfigError, TrainingError
from tradingbot_exp.training.state import Member


def check_parts(model: object, optimizer: object, criterion: object, logger: object) -> None:
    """Refuse what is none of what `train_model` takes, such as None for an optimizer.

    Raises
    ------
    TrainingError
        Names the argument, what was given, and what would be right.
    """
    an_optimizer = "a torch.optim.Optimizer, such as torch.optim.Adam(model.parameters())"
    a_loss = "a loss, such as torch.nn.MSELoss(), or None for the one that `loss` names"
    logs = logger is None or hasattr(logger, "log_metrics")
    for name, given, fits, right in (
        ("model", model, isinstance(model, nn.Module), "a torch.nn.Module"),
        ("optimizer", optimizer, isinstance(optimizer, torch.optim.Optimizer), an_optimizer),
        ("criterion", criterion, criterion is None or callable(criterion), a_loss),
        ("logger", logger, logs, "an EnhancedMLflowLogger, or nothing"),
    ):
        if not fits:
            raise TrainingError(f"train_model: {name} is of type {type(given).__name__}; expected {right}.")


def check_member(member: Member, batch_size: int) -> None:
    """Refuse numbers that mean nothing, and an optimizer that would not train the model.

    Raises
    ------
    ConfigError
        Names the key, what was given, and what would be right; None and False turn the latter two off.
    TrainingError
        There is nothing to train, or the optimizer holds none of it, or wants a closure.
    """
    model, optimizer = member.model, member.optimizer
    patience: Any = member.early_stopping
    clip: Any = member.gradient_clip
    counts: dict[str, Any] = {"epochs": member.epochs, "batch_size": batch_size}
    for name, count in counts.items():
        if isinstance(count, bool) or not hasattr(count, "__index__"):
            raise ConfigError(f"training.{name}: {count!r} given; it has to be an integer, at least 1.")
        if count < 1:
            raise ConfigError(f"training.{name}: {count} given; it has to be at least 1.")
    if patience is not None and patience is not False and patience < 1:
        raise ConfigError(f"training.early_stopping: {patience} given; it has to be at least 1, or null for off.")
    if clip is not None and clip is not False and not clip > 0:
        raise ConfigError(f"training.gradient_clip: {clip} given; it has to be above 0, or null for off.")
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError("The model has no parameter that requires a gradient: there is nothing to train.")
    if not trainable & {id(p) for group in optimizer.param_groups for p in group["params"]}:
        raise TrainingError("The optimizer holds none of the model's parameters: build it from model.parameters().")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise TrainingError("LBFGS evaluates each batch many times, which this loop does not do. Use Adam.")
