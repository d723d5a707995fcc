"""How far a model's training is, alone or in a stack: what is told after each epoch, and whether there is another.

Curves, displays, pruners, checkpoints and users' hooks are all listeners: each is told of every epoch, in the order in
which `train_model` or `train_stack` was given them.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tradingbot_exp.errors import DivergedError
from tradingbot_exp.training.history import History
from tradingbot_exp.training.optim import make_schedule
from tradingbot_exp.training.rng import SeededRng

Snapshot = dict[str, Any]
"""Tensors, numbers, texts, and lists, tuples and dicts of them: what `torch.load` reads with ``weights_only=True``."""


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """An epoch that has ended.

    Attributes
    ----------
    number, epochs : int
        Which one, from 1, and how many are asked for.
    train_loss, val_loss : float
        The mean over the train rows of their batches' losses, and that over the validation rows after the epoch.
    learning_rate : float
        Of the first parameter group, during the epoch.
    gradient_norm : float or None
        Norm of the last batch's gradient before it was clipped; None where none is clipped.
    seconds : float
        Wall-clock time since training began or the epoch before had ended; of a stack, that of all its models.
    position : int
        The model's position in its stack, from 0.
    fold : int
        The fold that the model is of, from 1.
    training : TrainingState
        Its history holds this epoch already.
    """

    number: int
    epochs: int
    train_loss: float
    val_loss: float
    learning_rate: float
    gradient_norm: float | None
    seconds: float
    position: int
    fold: int
    training: TrainingState

    @property
    def diverged(self) -> bool:
        """Whether a loss is not finite: training ends with this epoch, whatever the listeners say."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    @property
    def losses(self) -> dict[str, float]:
        """Both losses and the learning rate, by their names in `History`."""
        return {"train_loss": self.train_loss, "val_loss": self.val_loss, "learning_rate": self.learning_rate}


class Listener(Protocol):
    """What follows a training."""

    def on_epoch(self, epoch: Epoch) -> bool | None:
        """Take note of an epoch; True stops training after it. What is raised ends training, and passes through."""


@dataclass(frozen=True, eq=False)
class Member:
    """A model to be trained, with what is its own; the attributes are arguments of `train_model`.

    In a stack its listeners find it as it was before training: its weights arrive when that has ended.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    seed: int | None
    scheduler: str = "none"
    early_stopping: int | None = None
    gradient_clip: float | None = None
    listeners: Sequence[Listener] = ()
    quantile: float = 0.5
    pos_weight: float | str | None = None


class TrainingState:
    """Keeps the history of one model, tells its listeners of each epoch and decides whether it goes on.

    Parameters
    ----------
    member : Member
    rng : SeededRng, optional
        The training's own.
    weights : callable, optional
        Copies the model's weights as they are, where the model itself does not have them yet.
    position, fold : int
        See `Epoch`.

    Attributes
    ----------
    history : History
    best : dict
        With early stopping, the best epoch's weights; else empty.
    """

    def __init__(
        self,
        member: Member,
        *,
        rng: SeededRng | None = None,
        weights: Callable[[], dict[str, Tensor]] | None = None,
        position: int = 0,
        fold: int = 1,
    ) -> None:
        self.history = History(member.epochs)
        self.best: dict[str, Tensor] = {}
        self._model, self._optimizer, self._rng = member.model, member.optimizer, rng
        self._early_stopping, self._listeners, self._place = member.early_stopping, member.listeners, (position, fold)
        self._weights = weights or self._copy_weights
        self._schedule: Any = make_schedule(member.scheduler, member.optimizer, member.epochs)
        self._by_loss = member.scheduler == "plateau"
        if self._schedule is not None:
            # A schedule warns if it is stepped before its optimizer, which a stack may never step itself.
            untyped: Any = member.optimizer
            untyped._opt_called = True
        self._since = time.perf_counter()

    def _copy_weights(self) -> dict[str, Tensor]:
        return {key: value.detach().clone() for key, value in self._model.state_dict().items()}

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch."""
        return self.history.stopped_by is None and self.history.epochs_run < self.history.epochs

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate follows a schedule."""
        return self._schedule is not None

    def after_epoch(self, train_loss: float, val_loss: float, gradient_norm: float | None = None) -> None:
        """Record an epoch, settle what comes next, and tell the listeners.

        Raises
        ------
        DivergedError
            A loss is not finite.
        """
        history, rate = self.history, float(self._optimizer.param_groups[0]["lr"])
        number, seconds = history.epochs_run + 1, time.perf_counter() - self._since
        epoch = Epoch(number, history.epochs, train_loss, val_loss, rate, gradient_norm, seconds, *self._place, self)
        history.add(epoch.losses)
        if not epoch.diverged:
            if self._early_stopping and history.best_epoch == number:
                self.best = self._weights()
            if self._schedule is not None:
                self._schedule.step(*((val_loss,) if self._by_loss else ()))
            if self._early_stopping and number - history.best_epoch >= self._early_stopping:
                history.stopped_by = "early_stopping"
        for listener in self._listeners:
            if listener.on_epoch(epoch) and not epoch.diverged:
                history.stopped_by = "hook"
        if epoch.diverged:
            raise _diverged(history)
        self._since = time.perf_counter()

    def snapshot(self) -> Snapshot:
        """Copy all that the rest of the training depends on; where training has ended, only its outcome."""
        history = self.history
        state = {
            "history": {key: list(values) for key, values in history.items()},
            "stopped_by": history.stopped_by,
            "best": self.best if self.goes_on else {},
            "schedule": None if self._schedule is None else dict(self._schedule.state_dict()),
        }
        if not self.goes_on:
            return {"model": _copy(self.best or self._model.state_dict()), "training": state}
        return {
            "model": _copy(self._model.state_dict()),
            "optimizer": _optimizer_state(self._optimizer),
            "rng": None if self._rng is None else _copy(self._rng.state),
            "training": _copy(state),
        }

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> list[Epoch]:
        """Bring a fresh training to where `snapshot` found one, and return the epochs that it has behind it.

        Raises
        ------
        Exception
            The snapshot is of another model or optimizer; whatever torch raises then.
        """
        self._model.load_state_dict(snapshot["model"])
        if "optimizer" in snapshot:
            _put_optimizer_state(snapshot["optimizer"], self._optimizer)
            if self._rng is not None:
                self._rng.restore(snapshot["rng"])
        state, history = snapshot["training"], self.history
        for key, values in history.items():
            values[:] = state["history"][key]
        history.stopped_by, self.best = state["stopped_by"], state["best"]
        if self._schedule is not None and state["schedule"] is not None:
            self._schedule.load_state_dict(state["schedule"])
        rows = zip(*(history[name] for name in ("train_loss", "val_loss", "learning_rate")), strict=True)
        return [
            Epoch(number, history.epochs, train_loss, val_loss, rate, None, 0.0, *self._place, self)
            for number, (train_loss, val_loss, rate) in enumerate(rows, 1)
        ]


def _diverged(history: History) -> DivergedError:
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


def _optimizer_state(optimizer: torch.optim.Optimizer) -> Snapshot:
    """Copy state and settings, bit by bit: torch's own way back casts, and loads torch's compiler for it."""
    return {
        "groups": [
            _copy({key: value for key, value in group.items() if key != "params"}) for group in optimizer.param_groups
        ],
        "state": [[_copy(dict(optimizer.state.get(p) or {})) for p in g["params"]] for g in optimizer.param_groups],
    }


def _put_optimizer_state(state: Snapshot, optimizer: torch.optim.Optimizer) -> None:
    for group, settings, states in zip(optimizer.param_groups, state["groups"], state["state"], strict=True):
        group.update(copy.deepcopy(settings))
        for parameter, own in zip(group["params"], states, strict=True):
            # Steps are counted on the CPU, unless the optimizer's kernel counts them where the parameter is.
            counts_there = bool(group.get("fused") or group.get("capturable"))
            place = {name: parameter.device if name != "step" or counts_there else "cpu" for name in own}
            if own:
                optimizer.state[parameter] = {
                    name: value.to(place[name], copy=True) if isinstance(value, Tensor) else value
                    for name, value in own.items()
                }


def _copy(value: Any) -> Any:
    """Copy a tree of plain values, its tensors to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(each) for each in value)
    return copy.deepcopy(value)
