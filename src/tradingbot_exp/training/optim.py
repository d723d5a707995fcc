"""Optimizers and learning rate schedules by their names in the configuration."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tradingbot_exp.config.choices import OPTIMIZERS, SCHEDULERS, WITH_MOMENTUM, check_name

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

# Where torch keeps what its compiler makes of a function that it is to leave alone.
_MARK, _ADD = "__dynamo_disable", "add_param_group"
_FUSED = ("Adam", "AdamW", "SGD")
_FUSED_DEVICES = ("cpu", "cuda", "mps")


def make_optimizer(
    name: str, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.0
) -> torch.optim.Optimizer:
    """Build an optimizer, with torch's one-kernel (fused) step where there is one.

    Parameters
    ----------
    name : str
        One of `tradingbot_exp.config.choices.OPTIMIZERS`.
    params : iterable of Tensor
        ``model.parameters()``.
    lr, weight_decay : float
        Step size and L2 penalty.
    momentum : float
        Of SGD and RMSprop, not read for others.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    check_name("training.optimizer", name, OPTIMIZERS)
    params = list(params)
    fused = name in _FUSED and all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in params)
    options: dict[str, Any] = {"fused": True} if fused else {}
    if name in WITH_MOMENTUM:
        options["momentum"] = momentum
    with _without_compiler():
        optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(
            params, lr=lr, weight_decay=weight_decay, **options
        )
    return optimizer


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Keep the constructors of optimizers from importing torch's compiler, only to tell it to leave them alone.

    That import takes as long as that of torch itself. Should torch come to do this in another way, it happens.
    """
    given = [getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None) for name in ("__init__", _ADD)]
    plain = [function for function in given if function is not None and not hasattr(function, _MARK)]
    if "torch._dynamo" in sys.modules:
        plain = []
    for function in plain:
        setattr(function, _MARK, function)
    try:
        yield
    finally:
        for function in plain:
            delattr(function, _MARK)


def make_schedule(name: str, optimizer: torch.optim.Optimizer, epochs: int) -> LRScheduler | None:
    """Build a learning rate schedule.

    ``cosine`` goes to 0 over all epochs, ``step`` to a tenth after each third of them, ``plateau`` to a half
    after 5 epochs without a better loss. None for ``none``; ConfigError for an unknown name.
    """
    check_name("training.scheduler", name, SCHEDULERS)
    if name == "none":
        return None
    from torch.optim import lr_scheduler

    if name == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=4, threshold=0.0)
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return lr_scheduler.StepLR(optimizer, step_size=math.ceil(epochs / 3), gamma=0.1)
