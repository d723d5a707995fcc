"""What `train_model` refuses before it starts, and what it says when training diverges."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from tradingbot_exp.errors import ConfigError, DivergedError, TrainingError
from tradingbot_exp.training.history import History


def check_parts(model: object, optimizer: object, criterion: object, logger: object) -> None:
    """Refuse what is none of what `train_model` takes, such as None for an optimizer.

    Raises
    ------
    TrainingError
        Names the argument, what was given, and what would be right.
    """
    for name, given, fits, right in (
        ("model", model, isinstance(model, nn.Module), "a torch.nn.Module"),
        (
            "optimizer",
            optimizer,
            isinstance(optimizer, torch.optim.Optimizer),
            "a torch.optim.Optimizer, such as torch.optim.Adam(model.parameters())",
        ),
        (
            "criterion",
            criterion,
            criterion is None or callable(criterion),
            "a loss, such as torch.nn.MSELoss(), or None for the one that `loss` names",
        ),
        (
            "logger",
            logger,
            logger is None or hasattr(logger, "log_metrics"),
            "an EnhancedMLflowLogger, or nothing",
        ),
    ):
        if not fits:
            raise TrainingError(f"train_model: {name} is of type {type(given).__name__}. Right would be {right}.")


def check_numbers(
    *, epochs: int, batch_size: int, early_stopping: int | bool | None, gradient_clip: float | bool | None
) -> None:
    """Refuse numbers that mean nothing; None and False turn the last two off.

    Raises
    ------
    ConfigError
        Names the key, what was given, and what would be right.
    """
    counts: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size}
    for name, count in counts.items():
        if isinstance(count, bool) or not hasattr(count, "__index__"):
            raise ConfigError(f"training.{name}: {count!r} given; it has to be an integer, at least 1.")
        if count < 1:
            raise ConfigError(f"training.{name}: {count} given; it has to be at least 1.")
    if early_stopping is not None and early_stopping is not False and early_stopping < 1:
        raise ConfigError(f"training.early_stopping: {early_stopping} given; it has to be at least 1, or null for off.")
    if gradient_clip is not None and gradient_clip is not False and not gradient_clip > 0:
        raise ConfigError(f"training.gradient_clip: {gradient_clip} given; it has to be above 0, or null for off.")


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer that would not train this model.

    Raises
    ------
    TrainingError
        If there is nothing to train, or the optimizer holds none of it, or wants a closure.
    """
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError("The model has no parameter that requires a gradient: there is nothing to train.")
    if not trainable & {id(p) for group in optimizer.param_groups for p in group["params"]}:
        raise TrainingError("The optimizer holds none of the model's parameters: build it from model.parameters().")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise TrainingError("LBFGS evaluates each batch many times, which this loop does not do. Use Adam.")


def diverged(history: History) -> DivergedError:
    """Build the error for a history whose last epoch has a loss that is not finite; it is attached."""
    epoch = history.epochs_run
    name = "val_loss" if math.isfinite(history["train_loss"][-1]) else "train_loss"
    return DivergedError(
        f"Training diverged: {name} is {history[name][-1]} in epoch {epoch} of {history.epochs}. Lower "
        f"training.learning_rate (it was {history['learning_rate'][-1]:g}) or set training.gradient_clip, "
        "e.g. to 1.",
        epoch,
        history,
    )
