"""Validation schemes: from the plain split to folds, each with the rows it trains on and those it is validated on.

No scheme touches the test rows. Row i is known at its own bar, and its target at bar ``i + horizon``, so a row before a
validation block ``[start, stop)`` is purged from training if ``i + purge >= start``, and a row after it if
``i < stop + purge``: with purge >= horizon no target of a train row overlaps one of the block. A further `embargo` bars
after the block are left out: if not given, as many as keep windows of `data.sequence_length` bars from reaching into
it. Features look back, too, so that those of rows after a block may still tell of its bars; an embargo as long as they
look back keeps these out as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from tradingbot_exp.config.facts import wrong, wrong_purge
from tradingbot_exp.data.checks import check_finite_features, check_spread
from tradingbot_exp.data.features import compute_features, warmup_of
from tradingbot_exp.data.fitted import fit_features
from tradingbot_exp.data.panel_blocks import naming
from tradingbot_exp.data.splits import Block
from tradingbot_exp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import EvaluationConfig
    from tradingbot_exp.data.dataset import PreparedData

# A mean and a scale need two rows, as in the plain split.
LEAST_TRAIN_ROWS = 2

_views: WeakKeyDictionary[PreparedData, dict[tuple[Fold, ...], tuple[PreparedData, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Fold:
    """One train set and the validation block that belongs to it.

    Attributes
    ----------
    number : int
        From 1, in the order of the validation blocks.
    train : Block
        Of purged k-fold it may have a hole: the validation block with what is purged around it.
    val : Block
    """

    number: int
    train: Block
    val: Block


def make_folds(  # noqa: PLR0917 - the plain split and the keys of `evaluation`, in their order
    train: Block,
    val: Block,
    horizon: int,
    scheme: str = "chronological",
    folds: int = 5,
    purge: int | None = None,
    embargo: int = 0,
    window: str = "expanding",
) -> tuple[Fold, ...]:
    """Cut the rows before the test part into folds.

    - ``chronological``: one fold, train rows and validation rows of the plain split.
    - ``walk_forward``: the plain split's validation rows in `folds` blocks, each forecast by a model of the rows before
      it: of all (``expanding``), or of as many as the first block's model has (``rolling``).
    - ``purged_kfold``: all rows from the first train row to the last validation row in `folds` blocks, each forecast
      by a model of all others, before and after it.

    Blocks differ in length by one row at most, follow each other without a gap, and are in time order.

    Parameters
    ----------
    train, val : Block
        Of the plain split (`split_rows`).
    horizon : int
        Bars after which a target is known.
    scheme : str
    folds : int
        Blocks, at least 2; of ``chronological`` there is one.
    purge : int, optional
        Bars between train rows and a block, at least `horizon`, which is the default.
    embargo : int
        Further bars left out after a block. Only ``purged_kfold`` trains on any rows there.
    window : str
        For ``walk_forward``.

    Returns
    -------
    tuple of Fold

    Raises
    ------
    ConfigError
        There are more folds than rows, or a purge or an embargo is impossible or leaves too few rows to train on.

    References
    ----------
    López de Prado (2018), "Advances in Financial Machine Learning", sections 7.4.1 (purging), 7.4.2 (embargo; there a
    share of the rows, here bars) and 12.2 (walk-forward).
    """
    gap = horizon if purge is None else purge
    if gap < horizon:
        raise wrong_purge(purge, horizon)
    if embargo < 0:
        raise wrong("evaluation.embargo", "0 or more bars", embargo)
    if scheme == "chronological":
        blocks = [val]
    else:
        blocks = _blocks(val if scheme == "walk_forward" else Block("val", train.start, val.stop), scheme, folds)
    made = []
    length = blocks[0].start - gap - train.start
    for number, block in enumerate(blocks, 1):
        stop = block.start - gap
        if scheme == "purged_kfold":
            rows = _around(train.start, stop, block.stop + gap + embargo, val.stop)
        else:
            rows = Block("train", stop - length if window == "rolling" else train.start, stop)
        if len(rows) < LEAST_TRAIN_ROWS:
            raise ConfigError(
                f"evaluation.purge={gap} and evaluation.embargo={embargo} leave {len(rows)} rows to train on in fold "
                f"{number} of {len(blocks)}, validated on the rows {block.start} to {block.stop - 1} of {train.start} "
                f"to {val.stop - 1}; expected at least {LEAST_TRAIN_ROWS}."
            )
        made.append(Fold(number, rows, block))
    return tuple(made)


def _blocks(rows: Block, scheme: str, folds: int) -> list[Block]:
    if not 2 <= folds <= len(rows):
        what = "validation rows" if scheme == "walk_forward" else "train and validation rows"
        raise wrong(
            "evaluation.folds", f"2 to {len(rows)}, as evaluation.scheme={scheme} cuts {len(rows)} {what}", folds
        )
    edges = [rows.start + number * len(rows) // folds for number in range(folds + 1)]
    return [Block("val", start, stop) for start, stop in pairwise(edges)]


def _around(first: int, before: int, after: int, end: int) -> Block:
    """Return the rows ``[first, before)`` and ``[after, end)`` as one block."""
    if after >= end:
        return Block("train", first, before)
    if before <= first:
        return Block("train", after, end)
    return Block("train", first, end, (before, after))


def fold_views(data: PreparedData, evaluation: EvaluationConfig) -> tuple[PreparedData, ...]:
    """Return the data as each fold sees them: its own rows as `train` and `val`, scaled by its train rows alone.

    The views share the arrays of `data`, but for the scaled one (and the raw one, where features learn from train
    bars), and are made once. With the plain split and its purge the one view is `data` itself.

    Parameters
    ----------
    data : PreparedData
    evaluation : EvaluationConfig

    Raises
    ------
    ConfigError
        See `make_folds`.
    DataError
        A feature is constant in the train rows of a fold.
    """
    train, val = map(data.panel.in_dates, (data.train, data.val))
    folds = make_folds(
        train,
        val,
        data.horizon,
        evaluation.scheme,
        evaluation.folds,
        evaluation.purge,
        data.sequence_length - 1 if evaluation.embargo is None else evaluation.embargo,
        evaluation.window,
    )
    if evaluation.scheme == "chronological" and evaluation.purge in (None, data.horizon):
        return (data,)
    in_rows = data.panel.in_rows
    folds = tuple(Fold(each.number, in_rows(each.train, each.val), in_rows(each.val)) for each in folds)
    made = _views.setdefault(data, {})
    if folds not in made:
        made.clear()  # a process seldom needs the views of two schemes, and they are as large as the data
        card = data.card | {"folds": [_described(data, fold) for fold in folds]}
        made[folds] = tuple(_view(data, fold, card) for fold in folds)
    return made[folds]


def _view(data: PreparedData, fold: Fold, card: dict[str, Any]) -> PreparedData:
    try:
        return learned_from(replace(data, train=fold.train, val=fold.val, card=card))
    except (ConfigError, DataError) as error:
        raise type(error)(f"fold {fold.number}: {error}") from error


def learned_from(data: PreparedData) -> PreparedData:
    """Let the scaler, and the features that learn from train bars, learn from the train rows that data have now."""
    data = _fitted_to(data)
    rows = data.seen_in_training.rows
    seen, layout = data.raw[rows], data.layout
    for name, column in zip(data.feature_names, seen.T, strict=True):
        check_spread(data.name, name, column)
    scaler = data.scaler.fit(seen, layout.take(rows))
    return replace(data, scaler=scaler, scaled=scaler.transform(data.raw, data.scaled.dtype, layout))


def _fitted_to(data: PreparedData) -> PreparedData:
    """Fit the features that learn from train bars to those of a fold: its rows."""
    panel, fitted = data.panel, {}
    if not panel.fitted:
        return data
    names, raw = list(data.feature_names), data.raw.copy()
    train, warmup = data.seen_in_training, warmup_of(names)
    dates = panel.calendar[panel.in_dates(train).numbers]
    for code, symbol in enumerate(panel.layout.names):
        bars, own = panel.bars[symbol], panel.layout.rows_of(code)
        # Before the first row of all is history of no other block.
        history = bars.index < panel.calendar[0] if train.start == 0 else np.zeros(len(bars), bool)
        with naming(symbol if panel.layout.is_panel else ""):
            fitted[symbol] = fit_features(names, bars[history | bars.index.isin(dates)])
        learned = list(fitted[symbol])
        values = compute_features(bars, learned, fitted[symbol])[warmup : warmup + len(own)]
        check_finite_features(symbol if panel.layout.is_panel else data.name, values)
        raw[own[:, None], [names.index(name) for name in learned]] = values
    return replace(data, raw=raw, panel=replace(panel, fitted=fitted))


def _described(data: PreparedData, fold: Fold) -> dict[str, Any]:
    """Describe a fold for the data card, in dates that are inclusive."""
    described: dict[str, Any] = {"fold": fold.number}
    for block in (fold.train, fold.val):
        start, stop = data.index[block.numbers[0]], data.index[block.stop - 1]
        described[block.name] = {"rows": len(block), "start": start.isoformat(), "end": stop.isoformat()}
    if fold.train.hole is not None:
        first, after = fold.train.hole
        described["train"]["left_out"] = [data.index[first].isoformat(), data.index[after - 1].isoformat()]
    return described
