"""The training loop: a model, two sets in memory and an optimizer give a trained model and a `History`.

What makes it fast: batches are slices of a set permuted once an epoch, not rows collected one by one; losses are
read once a block; plain stacks of Linear layers are trained as a stack of one (`tradingbot_exp.training.stack`), which
skips autograd.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tradingbot_exp.errors import TrainingError
from tradingbot_exp.training.batches import draw_order, in_order, rows_of, split
from tradingbot_exp.training.checks import check_loss, check_member, check_parts
from tradingbot_exp.training.device import resolve_device, resolve_precision
from tradingbot_exp.training.history import History
from tradingbot_exp.training.inputs import (
    BLOCK,
    Data,
    check_targets,
    match_targets,
    prepare_data,
    with_market,
)
from tradingbot_exp.training.listeners import Curves, Hook, MetricLogger
from tradingbot_exp.training.losses import loss_name, make_objective, number_of
from tradingbot_exp.training.networks.plan import Plan, alone_of
from tradingbot_exp.training.objective import Criterion, MeanLoss, Objective, Single
from tradingbot_exp.training.rng import SeededRng
from tradingbot_exp.training.stack import Stack
from tradingbot_exp.training.state import Listener, Member, Snapshot, TrainingState
from tradingbot_exp.training.threads import Threads, sharing, size_of

Forward = Callable[[Tensor], Tensor]
Losses = tuple[float, float, float | None]
"""Of an epoch: train loss, validation loss, and the norm of its last gradient, if that was clipped."""


def train_model(  # noqa: PLR0917 - the guide passes these by position
    model: nn.Module,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    optimizer: torch.optim.Optimizer,
    criterion: Criterion | None,
    epochs: int,
    logger: MetricLogger | None = None,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    loss: str = "mse",
    quantile: float = 0.5,
    pos_weight: float | str | None = None,
    returns_train: Any = None,
    returns_val: Any = None,
    dates_train: Any = None,
    dates_val: Any = None,
    scheduler: str = "none",
    device: str = "auto",
    precision: str = "float32",
    early_stopping: int | None = None,
    gradient_clip: float | None = None,
    on_epoch: Callable[[int, dict[str, float]], bool | None] | None = None,
    listeners: Sequence[Listener] = (),
    resume: Snapshot | None = None,
    fold: int = 1,
    progress: Listener | None = None,
) -> History:
    """Train a model on one set and watch its loss on another.

    Parameters
    ----------
    model : nn.Module
        Trained in place, on `device` and in `precision`; left there, in evaluation mode.
    X_train, X_val : array-like of shape (n, F) or (n, L, F)
        Arrays or tensors. Windows may be strided, read-only views: they are spread out a block at a time.
    y_train, y_val : array-like of shape (n,) or (n, outputs)
        Targets; (n,) and (n, 1) are the same.
    optimizer : torch.optim.Optimizer
        Over this model's parameters; `make_optimizer` builds the fastest.
    criterion : callable or None
        Mean loss of (output, target), both of the model's output shape. None: what `loss` names.
    epochs : int
        At least 1.
    logger : object with ``log_metrics(metrics, step)``, optional
        Called after each epoch, step 1 to n, with train_loss, val_loss and, with a scheduler, learning_rate.
    batch_size : int
        At least 1; an epoch's last batch may be smaller.
    seed : int, optional
        Decides shuffling and dropout, as if ``torch.manual_seed(seed)`` came before the first epoch and
        ``torch.randperm(n)`` at the start of each; torch's own RNG stays as it was. None: the ambient RNG.
    loss : str
        A name of `tradingbot_exp.config.losses.LOSSES`; not read if there is a criterion.
    quantile : float
        Of ``pinball``, between 0 and 1.
    pos_weight : float, ``"balanced"`` or None
        Of ``bce``: what a target of 1 counts for; negatives / positives of the train targets; or 1.
    returns_train, returns_val : array-like of shape (n,), optional
        The one-bar log return of each row, for ``sharpe`` and for losses of three arguments.
    dates_train, dates_val : array-like of shape (n,), optional
        The date of each row, ascending, where several rows are of one: for losses whose batches are in time order.
    scheduler : str
        none, cosine, step or plateau.
    device : str
        auto, cpu, cuda or mps.
    precision : str
        float32, float64 or bf16-mixed (float32 weights under bfloat16 autocast).
    early_stopping : int, optional
        Stop after so many epochs without a lower val_loss; at the end the best epoch's weights return.
    gradient_clip : float, optional
        Largest norm of a batch's gradient.
    on_epoch : callable (epoch, losses) -> bool or None, optional
        Called after each epoch, before the listeners; True stops training. What it raises passes through.
    listeners : sequence of Listener
        Told of each epoch after that, in this order: displays such as `make_progress` gives, and your own.
    resume : dict, optional
        What `TrainingState.snapshot` gave in a training of the same arguments, which this one continues to the bit.
    fold : int
        What listeners are told of it.
    progress : Listener, optional
        Deprecated: one of `listeners`.

    Returns
    -------
    History

    Raises
    ------
    ConfigError
        For an unknown name, a device that is not there, or a number that is impossible or of another loss.
    TrainingError
        For data that are empty, not finite, or do not fit each other, the model or the loss; for an optimizer of
        another model; for a model, optimizer, criterion or logger that is none.
    DivergedError
        After the first epoch whose loss is not finite; its ``history`` holds the epochs so far.
    """
    check_parts(model, optimizer, criterion, logger)
    own = (None if logger is None else Curves(logger), None if on_epoch is None else Hook(on_epoch))
    told = [listener for listener in (*own, *listeners, progress) if listener is not None]
    member = Member(
        model, optimizer, epochs, seed, scheduler, early_stopping, gradient_clip, told, quantile, pos_weight
    )
    check_member(member, batch_size)
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    model.to(place, dtype)
    if progress is not None:
        warnings.warn("train_model: give progress= as one of listeners=[...].", DeprecationWarning, stacklevel=2)
    row = check_loss(loss, criterion, member)
    if isinstance(criterion, nn.Module):
        criterion.to(place, dtype)
    with SeededRng(seed, place):
        data = match_targets(model, prepare_data(X_train, y_train, X_val, y_val, dtype=dtype, device=place))
    check_targets(data, row)
    data = with_market(data, row, (returns_train, returns_val), (dates_train, dates_val))
    data = in_order(data, row, batch_size)
    ours: Objective | None = None
    by: Single
    if criterion is None:
        ours = make_objective(loss, [number_of(loss, quantile, pos_weight, data.y)], data)
        by = ours.single
    else:
        by = MeanLoss(criterion)
    forward = _in_bfloat16(model, place) if precision == "bf16-mixed" else model
    rng = SeededRng(seed, place)
    state = TrainingState(member, rng=rng, fold=fold)
    if resume is not None:
        for epoch in state.restore(resume):  # whose logger may not have got the last of them
            for curves in (listener for listener in told if isinstance(listener, Curves)):
                curves.on_epoch(epoch)
    threads = Threads.of(1, size_of(model), min(batch_size, len(data.X))).shared
    while state.goes_on:
        with rng, torch.enable_grad(), sharing(threads) if place.type == "cpu" else nullcontext():
            model.train()
            # Hooks and frozen layers may come and go between epochs, so this is chosen anew.
            stacked = ours if criterion is None else _named(criterion, data)
            plan = alone_of(model, optimizer) if forward is model and stacked is not None else None
            if plan is not None and stacked is not None:
                losses = _train_stacked(member, plan, data, batch_size, stacked)
            else:
                losses = _train_epoch(member, data, batch_size, forward, by)
            model.eval()
        if any(by.errors):
            raise next(filter(None, by.errors))
        state.after_epoch(*losses)
    if state.best:
        model.load_state_dict(state.best)
    model.eval()
    return state.history


def _named(criterion: Criterion, data: Data) -> Objective | None:
    """Return the loss of this package that a caller's criterion is; None for any other."""
    name = loss_name(criterion)
    return None if name is None else make_objective(name, [None], data)


def _train_stacked(member: Member, plan: Plan, data: Data, batch_size: int, objective: Objective) -> Losses:
    """Go once over the set as a stack of one, the fastest way."""
    stack = Stack([member], [plan], objective, batch_size)
    (train_loss,) = stack.epoch(data, draw_order(data).unsqueeze(0), [None])
    (val_loss,) = stack.validate(data)
    stack.write_back(0)
    return train_loss, val_loss, stack.norms[0]


def _train_epoch(member: Member, data: Data, batch_size: int, forward: Forward, by: Single) -> Losses:
    """Go once over the set in random order by autograd, then over the validation set."""
    optimizer, gradient_clip = member.optimizer, member.gradient_clip
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    total, norm = 0.0, None
    order, sizes = rows_of(data, draw_order(data), batch_size)
    at_once = _block_rows(data.X, max(sizes)) // max(sizes)
    for first in range(0, len(sizes), at_once):
        own = sizes[first : first + at_once]
        rows = order[sum(sizes[:first]) :][: sum(own)].to(data.X.device)
        losses = []
        # index_select gathers this block's rows only, even out of overlapping windows
        parts = (data.X.index_select(0, rows), data.y.index_select(0, rows), rows)
        for X_batch, y_batch, batch in zip(*(split(part, own) for part in parts), strict=True):
            for weight in weights:
                weight.grad = None
            out = forward(X_batch)
            if out.shape != y_batch.shape:  # broadcasting would train on n x n pairs without a word
                raise TrainingError(f"The model gives {tuple(out.shape)} for targets of shape {tuple(y_batch.shape)}.")
            losses.append(by.backward(out, y_batch, batch))
            if gradient_clip:
                norm = nn.utils.clip_grad_norm_(weights, gradient_clip)
            optimizer.step()
        values = torch.stack(losses).tolist()  # the one wait for the device in this block
        if data.starts is None:
            total += own[0] * math.fsum(values[:-1]) + own[-1] * values[-1]
        else:
            total += math.fsum(size * value for size, value in zip(own, values, strict=True))
    member.model.eval()
    return total / len(data.X), _validate(data, forward, by), None if norm is None else float(norm)


@torch.no_grad()
def _validate(data: Data, forward: Forward, by: Single) -> float:
    """Return the loss over the validation set, whose outputs are computed block by block."""
    blocks = (forward(X)[None] for X in split(data.X_val, _block_rows(data.X_val, 1)))
    return by.validate(blocks, data.y_val)[0]


def _in_bfloat16(model: nn.Module, device: torch.device) -> Forward:
    """Run the model under autocast; its output, and so the loss, are float32."""

    def forward(X: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            out: Tensor = model(X)
        return out.float()

    return forward


def _block_rows(X: Tensor, batch_size: int) -> int:
    """Rows of which a block of memory is gathered at once: whole batches, at least one."""
    return batch_size * max(1, BLOCK // (X[0].numel() * batch_size))
