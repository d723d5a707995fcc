"""The training loop: a model, two sets in memory and an optimizer give a trained model and a `History`.

What makes it fast: batches are slices of a set permuted once an epoch, not rows collected one by one; losses are
read once an epoch; plain stacks of Linear layers are trained as a stack of one (`tradingbot_exp.training.stack`),
or at least skip autograd (`tradingbot_exp.training.lean`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tradingbot_exp.errors import TrainingError
from tradingbot_exp.training.checkpoint import Keeper, put_state, take_state
from tradingbot_exp.training.checks import check_numbers, check_optimizer, check_parts
from tradingbot_exp.training.course import Course, MetricLogger, Record
from tradingbot_exp.training.device import resolve_device, resolve_precision
from tradingbot_exp.training.history import History
from tradingbot_exp.training.inputs import (
    BLOCK,
    Data,
    check_targets_are_shares,
    match_targets,
    prepare_data,
)
from tradingbot_exp.training.lean import Step, lean_step
from tradingbot_exp.training.optim import loss_name, make_loss
from tradingbot_exp.training.rng import SeededRng
from tradingbot_exp.training.shape import shape_of
from tradingbot_exp.training.stack import Stack
from tradingbot_exp.training.threads import Threads, sharing, size_of

Criterion = Callable[[Tensor, Tensor], Tensor]
Forward = Callable[[Tensor], Tensor]


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
    scheduler: str = "none",
    device: str = "auto",
    precision: str = "float32",
    early_stopping: int | None = None,
    gradient_clip: float | None = None,
    on_epoch: Callable[[int, Record], bool | None] | None = None,
    progress: Callable[[int, int, Record], object] | None = None,
    keeper: Keeper | None = None,
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
        mse, mae, huber, or bce on logits; not read if there is a criterion.
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
    on_epoch : callable (epoch, record) -> bool or None, optional
        Called last in each epoch; True stops training. What it raises passes through.
    progress : callable (epoch, epochs, record), optional
        A display: `make_progress`.
    keeper : Keeper, optional
        Keeps how far training is after each epoch, and may know what to go on from.

    Returns
    -------
    History

    Raises
    ------
    ConfigError
        For an unknown name, a device that is not there, or an impossible number.
    TrainingError
        For data that are empty, not finite, or do not fit each other or the model; for an optimizer of
        another model; for a model, optimizer, criterion or logger that is none.
    DivergedError
        After the first epoch whose loss is not finite; its ``history`` holds the epochs so far.
    """
    check_parts(model, optimizer, criterion, logger)
    check_numbers(epochs=epochs, batch_size=batch_size, early_stopping=early_stopping, gradient_clip=gradient_clip)
    check_optimizer(model, optimizer)
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    model.to(place, dtype)
    criterion = make_loss(loss) if criterion is None else criterion
    if isinstance(criterion, nn.Module):
        criterion.to(place, dtype)
    with SeededRng(seed, place):
        data = match_targets(model, prepare_data(X_train, y_train, X_val, y_val, dtype=dtype, device=place))
    if isinstance(criterion, nn.BCEWithLogitsLoss):
        check_targets_are_shares(data)
    forward = _in_bfloat16(model, place) if precision == "bf16-mixed" else model
    course = Course(
        optimizer,
        epochs,
        scheduler=scheduler,
        early_stopping=early_stopping,
        logger=logger,
        progress=progress,
        on_epoch=on_epoch,
        weights=lambda: {key: value.detach().clone() for key, value in model.state_dict().items()},
    )
    rng = SeededRng(seed, place)
    threads = Threads.of(1, size_of(model), min(batch_size, len(data.X))).shared
    if keeper is not None and keeper.state is not None:
        put_state(keeper.state, model, optimizer, course, rng)
    while course.goes_on:
        with rng, torch.enable_grad(), sharing(threads) if place.type == "cpu" else nullcontext():
            model.train()
            # Hooks and frozen layers may come and go between epochs, so this is chosen anew.
            losses = None
            if forward is model:
                name = loss_name(criterion)
                losses = _train_stacked(model, name, data, optimizer, (batch_size, gradient_clip))
            if losses is None:
                step = lean_step(model, criterion) if forward is model else None
                step = step or _autograd_step(forward, criterion, optimizer)
                train_loss = _train_epoch(data, step, optimizer, batch_size, gradient_clip)
                model.eval()
                losses = train_loss, _validate(data, forward, criterion)
            model.eval()
        course.after_epoch(*losses)
        if keeper is not None:
            keeper.after_epoch(
                course.history.epochs_run, course.goes_on, lambda: take_state(model, optimizer, course, rng)
            )
    if course.best:
        model.load_state_dict(course.best)
    model.eval()
    return course.history


def _train_stacked(
    model: nn.Module, loss: str | None, data: Data, optimizer: torch.optim.Optimizer, sizes: tuple[int, float | None]
) -> tuple[float, float] | None:
    """Go once over the set as a stack of one, the fastest way; give both losses, None if it cannot be stacked."""
    if loss is None or shape_of(model, optimizer) is None:
        return None
    batch_size, gradient_clip = sizes
    stack = Stack([model], [optimizer], loss, batch_size, [gradient_clip])
    (train_loss,) = stack.epoch(data, torch.randperm(len(data.X)).unsqueeze(0), [None])
    (val_loss,) = stack.validate(data)
    stack.write_back(0)
    return train_loss, val_loss


def _train_epoch(
    data: Data, step: Step, optimizer: torch.optim.Optimizer, batch_size: int, gradient_clip: float | None
) -> float:
    """Go once over the set in random order; return the mean over the samples of their batches' losses."""
    X, y = data.X, data.y
    update, clip, weights = optimizer.step, nn.utils.clip_grad_norm_, _weights(optimizer)
    optimizer.zero_grad()  # once: each step sets its own, and what no step sets must not stay
    total = 0.0
    for rows in _split(torch.randperm(len(X)).to(X.device), _block_rows(X, batch_size)):
        losses = []
        # index_select gathers this block's rows only, even out of overlapping windows
        X_block, y_block = X.index_select(0, rows), y.index_select(0, rows)
        for X_batch, y_batch in zip(_split(X_block, batch_size), _split(y_block, batch_size), strict=True):
            losses.append(step(X_batch, y_batch))
            if gradient_clip:
                clip(weights, gradient_clip)
            update()
        values = torch.stack(losses).tolist()  # the one wait for the device in this block
        last = len(rows) - batch_size * (len(values) - 1)
        total += batch_size * math.fsum(values[:-1]) + last * values[-1]
    return total / len(X)


def _autograd_step(forward: Forward, criterion: Criterion, optimizer: torch.optim.Optimizer) -> Step:
    """Build a function from a batch to its loss, with the gradients in ``grad``, for any model."""
    weights = _weights(optimizer)

    def step(X: Tensor, y: Tensor) -> Tensor:
        for weight in weights:
            weight.grad = None
        out = forward(X)
        if out.shape != y.shape:  # broadcasting would train on n x n pairs without a word
            raise TrainingError(f"The model gives {tuple(out.shape)} for targets of shape {tuple(y.shape)}.")
        loss = criterion(out, y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step


@torch.no_grad()
def _validate(data: Data, forward: Forward, criterion: Criterion) -> float:
    """Return the mean loss over the validation set, block by block."""
    total = 0.0
    rows = _block_rows(data.X_val, 1)
    for X, y in zip(_split(data.X_val, rows), _split(data.y_val, rows), strict=True):
        total += float(criterion(forward(X), y)) * len(X)
    return total / len(data.X_val)


def _in_bfloat16(model: nn.Module, device: torch.device) -> Forward:
    """Run the model under autocast; its output, and so the loss, are float32."""

    def forward(X: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            out: Tensor = model(X)
        return out.float()

    return forward


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _block_rows(X: Tensor, batch_size: int) -> int:
    """Rows of which a block of memory is gathered at once: whole batches, at least one."""
    return batch_size * max(1, BLOCK // (X[0].numel() * batch_size))


def _split(tensor: Tensor, rows: int) -> tuple[Tensor, ...]:
    return tensor.split(rows)  # type: ignore[no-any-return, no-untyped-call]
