"""How a model is trained with others at once, or why it is not."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tradingbot_exp.training.networks.dense import Dense
from tradingbot_exp.training.networks.functional import Functional
from tradingbot_exp.training.networks.layers import parameters_of, read_layers, sizes_of
from tradingbot_exp.training.networks.network import Network, why_watched
from tradingbot_exp.training.networks.recurrent import CELLS, Recurrent
from tradingbot_exp.training.networks.tried import settings_of, tried
from tradingbot_exp.training.rules import Rule, read_rule

MOST_WORK, MOST_KEPT, MOST_PARAMETERS = 11_000_000, 1_000_000, 50_000
"""Up to which modules are quicker at once, 24 of them on one core: products of a batch's forward pass, values that
autograd keeps of it, and parameters."""
MOST_PLAIN_WORK, MOST_PLAIN_PARAMETERS = 20_000_000, 100_000
"""The like for plain stacks of Linear layers, on two cores; so little also bounds what a stack takes of memory."""


class Plan(NamedTuple):
    """How models are trained in a stack.

    Attributes
    ----------
    kind : type of Network
    key : tuple
        What models of one stack have in common.
    parameters : list of nn.Parameter
        In the order of ``named_parameters``.
    outputs : int
        Values of one output.
    widest : int
        Values of a row where the network is widest.
    work, most : int
        Products of two numbers that are added up for a row, and up to how many a batch a stack is quicker; 0 where that
        does not matter.
    kept : int
        Values that autograd keeps of a row.
    """

    kind: type[Network]
    key: tuple[Any, ...]
    parameters: list[nn.Parameter]
    outputs: int
    widest: int
    work: int = 0
    most: int = 0
    kept: int = 0

    def why_not_worth_it(self, batch_size: int) -> str:
        """Say why a stack would be no quicker with batches of so many rows; empty where it is."""
        if self.work * batch_size <= self.most and self.kept * batch_size <= MOST_KEPT:
            return ""
        return f"with batches of {batch_size} rows, training several models at once would be no faster"


class Shape(NamedTuple):
    """What models in one stack have in common.

    Attributes
    ----------
    network : tuple
        See `Plan.key`.
    rule : Rule
        The optimizer's, without learning rate and weight decay.
    steps : int
        Steps that the optimizer has taken; of one that does not count them, 1 if it has taken any.
    dtype : torch.dtype
    """

    network: tuple[Any, ...]
    rule: Rule
    steps: int
    dtype: torch.dtype


def plan_of(model: nn.Module, rows: Tensor, dtype: torch.dtype = torch.float32) -> Plan | str:
    """Return how a model is trained in a stack, or what keeps it from that.

    Parameters
    ----------
    model : nn.Module
    rows : Tensor of shape (n, ...)
        Some of the rows that it is to be trained on, with which a module is tried.
    dtype : torch.dtype
        In which it is to be trained.
    """
    if watched := why_watched(model):
        return watched
    parameters = list(model.parameters())
    sizes = tuple(tuple(p.shape) for p in parameters)
    plain = _plain_plan(model)
    most = MOST_PARAMETERS if plain is None else MOST_PLAIN_PARAMETERS
    if type(model) not in CELLS and sum(map(math.prod, sizes)) > most:
        return f"it has more than {most:,} parameters, and several at once would be no faster"
    if plain is not None:
        return plain
    if type(model) in CELLS:
        steps = rows.shape[1] if rows.ndim > 2 else 1
        matrices = [size for size in sizes[:-2] if len(size) > 1]
        widest, work = steps * max(columns for _, columns in matrices), steps * sum(map(math.prod, matrices))
        most = CELLS[type(model)].most_work(parameters[0].device, dtype)
        return Plan(Recurrent, (type(model), *sizes), parameters, sizes[-1][0], widest, work, most)
    if isinstance(settings := settings_of(model), str):
        return settings
    found = tried(model, settings, rows)
    widest = max(found.kept, math.prod(rows.shape[1:]))
    plan = Plan(Functional, settings, parameters, found.outputs, widest, found.work, MOST_WORK, found.kept)
    return found.reason or plan


def _plain_plan(model: nn.Module) -> Plan | None:
    """Return the plan of a plain stack of Linear layers; None of any other model."""
    layers = read_layers(model)
    if layers is None:
        return None
    widths = [layer.weight.shape[0] for layer in layers]
    parameters = parameters_of(layers)
    work = sum(p.numel() for p in parameters)
    return Plan(Dense, ("layers", *sizes_of(layers)), parameters, widths[-1], max(widths), work, MOST_PLAIN_WORK)


def alone_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Plan | None:
    """Return the plan of a model that is trained by it alone too, as that is the quickest way; None of any other."""
    plan = _plain_plan(model)
    return plan if plan is not None and shape_of(plan, optimizer) is not None else None


def shape_of(plan: Plan, optimizer: torch.optim.Optimizer) -> Shape | None:
    """Return the shape of a model and its optimizer; None if the latter's steps are not known.

    It has to be one that `tradingbot_exp.training.rules` knows, over exactly the model's parameters, on the CPU.
    """
    first = plan.parameters[0]
    if {(p.device.type, p.dtype) for p in plan.parameters} != {("cpu", first.dtype)}:
        return None
    found = read_rule(optimizer, plan.parameters)
    return None if found is None else Shape(plan.key, *found, first.dtype)
