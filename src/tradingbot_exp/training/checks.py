"""What `train_model` and `train_stack` refuse before they start."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import nn

from tradingbot_exp.config.choices import check_name
from tradingbot_exp.config.facts import wrong
from tradingbot_exp.config.losses import LOSSES, Loss, check_numbers
from tradingbot_exp.errors import TrainingError
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


def check_loss(loss: str, criterion: Any, *members: Member) -> Loss:
    """Return the loss of a name, or of a caller's own criterion in its place, if the members' numbers are for it.

    Raises
    ------
    ConfigError
        The name is unknown, or a number is for another loss.
    """
    if criterion is None:
        check_name("training.loss", loss, LOSSES)
        row = LOSSES[loss]
    else:
        logits = isinstance(criterion, nn.BCEWithLogitsLoss)
        row = Loss("a criterion of your own", "", criterion, target="probability" if logits else "any")
    for member in members:
        check_numbers(row, member.quantile, member.pos_weight)
    return row


def check_member(member: Member, batch_size: int) -> None:
    """Refuse numbers that mean nothing, and an optimizer that would not train the model.

    Raises
    ------
    ConfigError
        Names the key, what was given, and what would be right; None and False turn early stopping and clipping off.
    TrainingError
        There is nothing to train, or the optimizer holds none of it, or wants a closure.
    """
    from tradingbot_exp.config.keys import facts_of

    model, optimizer = member.model, member.optimizer
    counts: dict[str, Any] = {"epochs": member.epochs, "batch_size": batch_size}
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, Integral):
            raise wrong(f"training.{name}", "a whole number", count)
    switches: dict[str, Any] = {"early_stopping": member.early_stopping, "gradient_clip": member.gradient_clip}
    numbers: dict[str, Any] = {"quantile": member.quantile, "pos_weight": member.pos_weight}
    for name, value in {**counts, **switches, **numbers}.items():
        off = value is False and name in switches
        facts_of(f"training.{name}").check(f"training.{name}", None if off else value)
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError("The model has no parameter that requires a gradient: there is nothing to train.")
    if not trainable & {id(p) for group in optimizer.param_groups for p in group["params"]}:
        raise TrainingError("The optimizer holds none of the model's parameters: build it from model.parameters().")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise TrainingError("LBFGS evaluates each batch many times, which this loop does not do. Use Adam.")
