"""Which rows a step is of: any, in an order drawn for each epoch; or consecutive ones, where the batches are drawn."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tradingbot_exp.config.losses import Loss
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.training.inputs import BLOCK, Data

# Of the widest vectors of a CPU, in float32. Rows that fill them give each model of a stack the bits that it has alone.
_LANES = 16


def in_order(data: Data, loss: Loss, batch_size: int) -> Data:
    """Cut the train rows into batches of consecutive rows; where dates have several rows, of whole dates.

    Parameters
    ----------
    data : Data
    loss : Loss
    batch_size : int
        Rows of a batch; as many more as the rest of its last date has. The last batch may be smaller.

    Returns
    -------
    Data
        With `starts`; as it is, of a loss whose batches are of any rows.

    Raises
    ------
    TrainingError
        A ratio of returns takes two dates, and no batch, or not all validation rows together, have them.
    """
    if not loss.in_order:
        return data
    rows = len(data.X)
    dates = torch.arange(rows) if data.days is None else data.days.cpu()
    ends = np.cumsum(np.bincount(dates))  # the row after each date
    starts = [0]
    while starts[-1] < rows:
        starts.append(int(ends[min(int(np.searchsorted(ends, starts[-1] + batch_size)), len(ends) - 1)]))
    if loss.family == "return":
        most = max(int(dates[end - 1] - dates[start]) + 1 for start, end in pairwise(starts))
        if most < 2:
            raise TrainingError(
                f"training.loss={loss.name} is a ratio of the returns of two or more dates, and "
                f"training.batch_size={batch_size} makes batches of one. Set it above {int(np.bincount(dates).max())}."
            )
        if (len(data.X_val) if data.days_val is None else int(data.days_val[-1]) + 1) < 2:
            raise TrainingError(
                f"training.loss={loss.name} is a ratio of the returns of two or more dates, and the validation rows "
                "are of one."
            )
    return data._replace(starts=torch.tensor(starts))


def draw_order(data: Data, generator: torch.Generator | None = None) -> Tensor:
    """Draw an epoch's order of the rows, or where batches are of consecutive rows, that of the batches."""
    return torch.randperm(len(data.X) if data.starts is None else len(data.starts) - 1, generator=generator)


def rows_of(data: Data, order: Tensor, batch_size: int) -> tuple[Tensor, list[int]]:
    """Return an epoch's rows in their order, shape (n,), and the size of each batch."""
    if data.starts is None:
        whole, rest = divmod(len(order), batch_size)
        return order, [batch_size] * whole + [rest] * bool(rest)
    bounds = data.starts.tolist()
    rows = [torch.arange(bounds[batch], bounds[batch + 1]) for batch in order.tolist()]
    return torch.cat(rows), [len(each) for each in rows]


def blocks_of(data: Data, orders: Tensor, batch_size: int) -> list[tuple[Tensor, Tensor | None]]:
    """Lay the batches of K models side by side, in blocks of which the rows are gathered at once.

    Parameters
    ----------
    data : Data
    orders : Tensor of int, shape (K, n) or (K, batches)
        Each model's own: see `draw_order`.
    batch_size : int

    Returns
    -------
    list of (Tensor of int, shape (batches, K · size), and Tensor of int, shape (batches, K), or None)
        The rows: what one batch of all models needs lies together. Where batches of one step may differ in size, the
        rows that each model's has; it is filled up with its last one.
    """
    models, rows = orders.shape
    if data.starts is not None:
        sizes = data.starts.diff()
        size, counts = math.ceil(int(sizes.max()) / _LANES) * _LANES, sizes[orders].t()
        place = torch.minimum(torch.arange(size), counts.unsqueeze(2) - 1)
        batches = (data.starts[orders].t().unsqueeze(2) + place).flatten(1)
        steps = max(1, BLOCK // (models * size * data.X[0].numel()))
        return list(zip(split(batches, steps), split(counts, steps), strict=True))
    size, whole = batch_size, rows // batch_size
    batches = orders[:, : whole * size].view(models, whole, size).transpose(0, 1).reshape(whole, models * size)
    steps = max(1, BLOCK // (models * size * data.X[0].numel()))
    rest = orders[:, whole * size :].reshape(1, -1)
    return [(block, None) for block in [*split(batches, steps), rest] if block.numel()]


def split(tensor: Tensor, rows: int | list[int]) -> tuple[Tensor, ...]:
    """Cut a tensor into pieces of so many rows, the last perhaps smaller, or of each number of rows."""
    return tensor.split(rows)  # type: ignore[no-any-return, no-untyped-call]
