"""Stacked training: many models of one shape, each with its own settings, trained in lockstep on the same data.

Each ends up as `train_model` would have left it alone, to the last bit or at least to rounding (see the module
`stack`): it has its own random numbers, and what happens to one, be it stopped, pruned or diverged, touches none of
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tradingbot_exp.config.losses import Loss
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.training.batches import draw_order, in_order
from tradingbot_exp.training.checks import check_loss, check_member
from tradingbot_exp.training.device import resolve_precision
from tradingbot_exp.training.history import History
from tradingbot_exp.training.inputs import Data, check_targets, match_targets, prepare_data, with_market
from tradingbot_exp.training.losses import make_objective, number_of
from tradingbot_exp.training.networks.plan import Plan, plan_of, shape_of
from tradingbot_exp.training.rng import SeededRng
from tradingbot_exp.training.stack import Stack
from tradingbot_exp.training.state import Member, TrainingState
from tradingbot_exp.training.threads import Threads, sharing, size_of

CPU = torch.device("cpu")


def train_stack(
    members: Sequence[Member],
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    *,
    batch_size: int = 32,
    loss: str = "mse",
    precision: str = "float32",
    returns_train: Any = None,
    returns_val: Any = None,
    dates_train: Any = None,
    dates_val: Any = None,
    fold: int = 1,
    before_epoch: Callable[[Sequence[int]], object] | None = None,
) -> list[History | Exception]:
    """Train models of one `tradingbot_exp.training.networks.plan.Shape` at once, on the CPU.

    Parameters
    ----------
    members : sequence of K Member
        Trained in place and left in evaluation mode.
    X_train, y_train, X_val, y_val, batch_size, loss, precision, returns_train, returns_val, dates_train, dates_val
        See `train_model`; all members share them.
    fold : int
        What listeners are told of it.
    before_epoch : callable (positions), optional
        Called before each epoch with the positions of the members still in training.

    Returns
    -------
    list of K (History or Exception)
        What `train_model` would have returned or raised for each: `DivergedError`, or what a listener, or a loss of
        the user's own, raised.

    Raises
    ------
    TrainingError
        The data do not fit, or the models cannot be stacked: see `tradingbot_exp.training.networks.plan`.
    KeyboardInterrupt
        From a listener, or from a signal once the parts' epoch is over; training ends for all, and models that were
        still in training keep the weights they had.
    """
    row = check_loss(loss, None, *members)
    dtype = resolve_precision(precision, CPU)
    for member in members:
        check_member(member, batch_size)
        member.model.to(CPU, dtype).train()
    data = prepare_data(X_train, y_train, X_val, y_val, dtype=dtype, device=CPU)
    plans = _plans_of(members, data.X, row)
    with SeededRng(0, CPU):
        data = match_targets(members[0].model, data)
    check_targets(data, row)
    data = with_market(data, row, (returns_train, returns_val), (dates_train, dates_val))
    data = in_order(data, row, batch_size)
    threads = Threads.of(len(members), size_of(members[0].model), min(batch_size, len(data.X)))
    cuts = [len(members) * part // threads.parts for part in range(threads.parts + 1)]
    parts = [
        _Part(members, plans, range(start, end), data=data, loss=loss, batch_size=batch_size, fold=fold)
        for start, end in pairwise(cuts)
    ]
    with ThreadPoolExecutor(threads.parts) as pool:
        while going := [part for part in parts if part.at_work]:
            if before_epoch is not None:
                before_epoch([position for part in going for position in part.at_work])
            with sharing(threads.shared):
                ended = list((map if len(going) == 1 else pool.map)(_Part.train, going))
            for part, losses in zip(going, ended, strict=True):
                part.end_epoch(losses)
    for member in members:
        member.model.eval()
    return [part.outcomes[position] for part in parts for position in part.positions]


def _plans_of(members: Sequence[Member], X: Tensor, loss: Loss) -> list[Plan]:
    """Return how each member is trained, if all can be in one stack."""
    plans = [plan_of(member.model, X, X.dtype) for member in members]
    found = [plan for plan in plans if isinstance(plan, Plan)]
    if len(found) < len(plans):
        raise TrainingError(f"A model cannot be stacked: {next(plan for plan in plans if isinstance(plan, str))}.")
    shapes = {shape_of(plan, member.optimizer) for plan, member in zip(found, members, strict=True)}
    if len(shapes) != 1 or None in shapes:
        raise TrainingError("Models of one stack have to be of one shape, and to have one kind of plain optimizer.")
    if loss.in_order and not found[0].kind.pads:
        raise TrainingError(f"A model cannot be stacked: batches of loss={loss.name} differ in size.")
    return found


class _Part:
    """Members that are one stack, and each one's training state; `train` is for a thread of its own.

    Its members are known by their positions among all.
    """

    def __init__(
        self,
        members: Sequence[Member],
        plans: Sequence[Plan],
        positions: Sequence[int],
        *,
        data: Data,
        loss: str,
        batch_size: int,
        fold: int,
    ) -> None:
        self._members, self.positions, self._data = members, positions, data
        self.outcomes: dict[int, History | Exception] = {}
        # Positions of the members still in training, in the order in which the stack has them.
        self.at_work = list(positions)
        own = [members[position] for position in positions]
        numbers = [number_of(loss, member.quantile, member.pos_weight, data.y) for member in own]
        ours = [plans[position] for position in positions]
        self._stack = Stack(own, ours, make_objective(loss, numbers, data), batch_size)
        seeds = [int(torch.randint(1 << 31, ())) if member.seed is None else member.seed for member in own]
        self._generators = {
            position: torch.Generator().manual_seed(seed) for position, seed in zip(positions, seeds, strict=True)
        }
        self._states = {
            position: TrainingState(
                member,
                weights=lambda position=position: self._weights(position),  # type: ignore[misc]
                position=position,
                fold=fold,
            )
            for position, member in zip(positions, own, strict=True)
        }

    def train(self) -> list[tuple[float, float, float | None]]:
        """Train all that are at work for an epoch; return each one's train loss, validation loss and gradient norm."""
        generators = [self._generators[position] for position in self.at_work]
        orders = torch.stack([draw_order(self._data, generator) for generator in generators])
        train_losses = self._stack.epoch(self._data, orders, generators)
        return list(zip(train_losses, self._stack.validate(self._data), self._stack.norms, strict=True))

    def end_epoch(self, losses: Sequence[tuple[float, float, float | None]]) -> None:
        """Tell each member's training state what `train` gave; let go of those whose last epoch it was."""
        errors = self._stack.objective.errors or [None] * len(self.at_work)
        for position, own, error in zip(self.at_work, losses, errors, strict=True):
            state = self._states[position]
            if error is not None:
                self._leave(position, error)
                continue
            try:
                state.after_epoch(*own)
            except Exception as raised:
                self._leave(position, raised)
            else:
                if not state.goes_on:
                    self._leave(position, state.history)
        staying = [place for place, position in enumerate(self.at_work) if position not in self.outcomes]
        if 0 < len(staying) < len(self.at_work):
            self._stack.keep(staying)
        self.at_work = [self.at_work[place] for place in staying]

    def _leave(self, position: int, outcome: History | Exception) -> None:
        self.outcomes[position] = outcome
        self._stack.write_back(self.at_work.index(position))
        best = self._states[position].best
        if best and isinstance(outcome, History):
            self._members[position].model.load_state_dict(best)

    def _weights(self, position: int) -> dict[str, Tensor]:
        values = self._stack.weights(self.at_work.index(position))
        model = self._members[position].model
        names = [name for name, _ in model.named_parameters()]
        return {**model.state_dict(), **dict(zip(names, values, strict=True))}
