"""A model's training as plain values: taken after an epoch, and put back into a fresh one to go on to the same bits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tradingbot_exp.training.course import Course
from tradingbot_exp.training.rng import SeededRng

State = dict[str, Any]
"""Tensors, numbers, texts, and lists, tuples and dicts of them: what `torch.load` reads with ``weights_only=True``."""


class Keeper(Protocol):
    """Keeps how far the training of one model is."""

    @property
    def state(self) -> State | None:
        """What to go on from, or None to begin."""

    def after_epoch(self, epoch: int, goes_on: bool, take: Callable[[], State]) -> object:
        """Keep what `take` gives, if it is time to; called last in each epoch."""


class FoldsKeeper(Protocol):
    """Keeps how far the training of a run's models is, fold by fold."""

    def next_fold(self) -> Keeper:
        """Give the keeper of the next fold's model."""


def take_state(model: nn.Module, optimizer: torch.optim.Optimizer, course: Course, rng: SeededRng) -> State:
    """Copy all that the rest of a training depends on; where training has ended, only its outcome."""
    if not course.goes_on:
        return {"model": _copy(course.best or model.state_dict()), "course": {**course.state(), "best": {}}}
    return {
        "model": _copy(model.state_dict()),
        "optimizer": _optimizer_state(optimizer),
        "rng": _copy(rng.state),
        "course": _copy(course.state()),
    }


@torch.no_grad()
def put_state(state: State, model: nn.Module, optimizer: torch.optim.Optimizer, course: Course, rng: SeededRng) -> None:
    """Bring a fresh training to where `take_state` found one.

    Raises
    ------
    Exception
        The state is of another model or optimizer; whatever torch raises then.
    """
    model.load_state_dict(state["model"])
    if "optimizer" in state:
        _put_optimizer_state(state["optimizer"], optimizer)
        rng.go_on_from(state["rng"])
    course.go_on_from(state["course"])


def _optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """Copy state and settings, bit by bit: torch's own way back casts, and loads torch's compiler for it."""
    return {
        "groups": [
            _copy({key: value for key, value in group.items() if key != "params"}) for group in optimizer.param_groups
        ],
        "state": [[_copy(dict(optimizer.state.get(p) or {})) for p in g["params"]] for g in optimizer.param_groups],
    }


def _put_optimizer_state(state: State, optimizer: torch.optim.Optimizer) -> None:
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
