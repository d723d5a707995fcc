"""How good a run is: the headline, what it honestly says, and its metrics beside those of naive rivals.

The model's numbers are those that MLflow holds. Of a rival's, those that MLflow does not hold follow from them or from
the logged predictions: R² = 1 − MSE / MSE of the train mean; buy and hold is long on every bar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tradingbot_exp.evaluation import backtest
from tradingbot_exp.evaluation import forecast as scores
from tradingbot_exp.reporting.backtest_numbers import Backtest, Rules, cost_curve, sharpe_error
from tradingbot_exp.reporting.common import number_cell, numbers_of
from tradingbot_exp.reporting.comparison_metrics import JUDGED
from tradingbot_exp.reporting.numbers import count, percent, ratio, significant
from tradingbot_exp.reporting.page import Cell, Column, Table, Tile, Tiles, Tone

MODEL = ("mse", "mae", "r2", "ic", "rank_ic", "hit_rate", "sharpe", "sortino", "max_drawdown", "turnover")
RIVALS = ("zero forecast", "train mean", "linear model", "buy and hold")
Z = 1.96
"""Standard errors on either side of a 95 % interval of a normal distribution."""


@dataclass(frozen=True)
class Headline:
    """The few numbers by which a run stands or falls; NaN for those that are not there.

    Attributes
    ----------
    bars : int
        Validation bars; 0 if unknown.
    mse, zero, linear : float
        Mean squared errors of the model, of the forecast that takes no side, and of the linear model.
    ic, luck : float
        Correlation, and how far from 0 luck alone takes it in 95 of 100 cases, 1.96 / √(bars / horizon).
    sharpe, error, hold : float
        Net Sharpe ratio, half its 95 % interval, and that of buy and hold.
    per : str
        ``a year`` or ``a bar``.
    cost, break_even : float
        Basis points charged, and those at which nothing is left.
    naive : str
        What `zero` is the error of.
    """

    bars: int
    mse: float
    zero: float
    linear: float
    ic: float
    luck: float
    sharpe: float
    error: float
    hold: float
    per: str
    cost: float
    break_even: float
    naive: str = "the zero forecast"

    @property
    def gain(self) -> float:
        """By what share the squared error is below that of no forecast."""
        return 1.0 - self.mse / self.zero if self.zero > 0 else math.nan


def headline_of(metrics: Mapping[str, float], rules: Rules, test: Backtest | None, bars: int) -> Headline:
    """Pick the headline out of a run's metrics and its backtest."""

    def metric(name: str) -> float:
        return metrics.get(f"val_{name}", math.nan)

    sharpe = metric("sharpe")
    return Headline(
        bars=bars,
        mse=metric("mse"),
        zero=metric("zero_mse"),
        linear=metric("linear_mse"),
        ic=metric("ic"),
        luck=Z / math.sqrt(max(bars / rules.horizon, 1.0)) if bars else math.nan,
        sharpe=sharpe,
        error=Z * sharpe_error(sharpe, bars, rules.annual) if bars else math.nan,
        hold=metric("buy_hold_sharpe"),
        per=rules.per,
        cost=rules.cost_bps,
        break_even=cost_curve(test).break_even if test is not None else math.nan,
        naive=naive_name(rules.threshold),
    )


def naive_name(threshold: float | None) -> str:
    """Name the forecast that takes no side; None if it is not known which one that is."""
    if threshold is None:
        return "the forecast that takes no side"
    return "a coin flip" if threshold else "the zero forecast"


def folds_table(metrics: Mapping[str, float]) -> Table | None:
    """Lay out the validation metrics of each fold, a row each; None for a run without folds."""
    found = {name.split("_", 2)[1] for name in metrics if name.startswith("fold_")}
    folds = sorted(int(each) for each in found if each.isdecimal())
    rows = []
    for name in MODEL:
        values = [metrics.get(f"fold_{fold}_val_{name}") for fold in folds]
        if any(value is not None for value in values):
            rows.append([Cell(JUDGED[name].label), *(number_cell(value, JUDGED[name].text) for value in values)])
    if not rows:
        return None
    columns = [Column("metric"), *(Column(f"fold {fold}", numeric=True) for fold in folds)]
    return Table("The model of each fold on its own validation bars", columns, rows)


def tiles_of(head: Headline) -> Tiles:
    """Show the headline in tiles."""
    tiles = []
    if math.isfinite(head.gain):
        side = "lower" if head.gain > 0 else "higher"
        size = "the same" if _level(head.gain) else f"{percent(abs(head.gain))} {side}"
        context = f"{significant(head.mse, 3)} against {significant(head.zero, 3)} for {head.naive}"
        tiles.append(Tile("Squared error", size, context, _tone(head.gain, 0.0)))
    if math.isfinite(head.ic):
        context = f"luck alone: within ±\u00a0{ratio(head.luck, 3)} (95\u00a0%)" if math.isfinite(head.luck) else ""
        tiles.append(Tile("IC", ratio(head.ic, 3, signed=True), context, _tone(head.ic, head.luck)))
    if math.isfinite(head.sharpe):
        context = f"±\u00a0{ratio(head.error, 1)} (95\u00a0%) · buy and hold\u00a0{ratio(head.hold)}"
        tone: Tone = _tone(head.sharpe - head.hold, 0.0) if head.sharpe > 0 else "bad"
        tiles.append(Tile(f"Net Sharpe ratio {head.per}", ratio(head.sharpe, signed=True), context, tone))
    if math.isfinite(head.break_even):
        value = f"{ratio(head.break_even, 1)}\u00a0bps" if head.break_even > 0 else "none"
        context = f"of a change of position · charged: {significant(head.cost)}\u00a0bps"
        if head.break_even <= 0:
            context = "it loses even at no cost"
        tiles.append(Tile("Break-even cost", value, context, _tone(head.break_even - head.cost, 0.0)))
    return Tiles(tiles)


def reading_of(head: Headline) -> str:
    """Say in a sentence what the headline honestly means; empty where there is nothing to read."""
    said: list[str] = []
    for_it: list[bool] = []
    if math.isfinite(head.gain):
        worse = "less" if head.gain > 0 else "more"
        text = f"it errs {percent(abs(head.gain))} {worse} than {head.naive}"
        if _level(head.gain):
            text = f"it errs as much as {head.naive}"
        if head.linear < head.mse:
            text += ", and more than a linear model of the same inputs"
        said.append(text)
        for_it.append(head.gain > 0 and not _level(head.gain) and not head.linear < head.mse)
    if math.isfinite(head.ic) and math.isfinite(head.luck):
        inside = abs(head.ic) <= head.luck
        what = "no more than luck gives" if inside else "more than luck gives" if head.ic > 0 else "wrong side up"
        said.append(f"its correlation with what came, {ratio(head.ic, 3)}, is {what}")
        for_it.append(head.ic > head.luck)
    if math.isfinite(head.sharpe) and math.isfinite(head.hold):
        text = f"its Sharpe ratio after costs, {ratio(head.sharpe)}, is "
        ahead = head.sharpe > head.hold
        said.append(text + f"{'above' if ahead else 'below'} the {ratio(head.hold)} of buy and hold")
        for_it.append(ahead and head.sharpe > 0)
    if not said:
        return ""
    verdict = "The evidence is mixed: a reason to look closer, not to trade."
    if all(for_it):
        verdict = "It beats its naive rivals here; whether that lasts, only bars that nobody has looked at can say."
    elif not any(for_it):
        verdict = "Nothing here speaks for an edge."
    where = f"On {count(head.bars, 'validation bar')}, " if head.bars else "On the validation bars, "
    return f"{where}{'; '.join(said)}. {verdict}"


def rivals_of(
    metrics: Mapping[str, float], predictions: pd.DataFrame | None, test: Backtest | None, threshold: float
) -> dict[str, dict[str, float]]:
    """Give the metrics of each of `RIVALS`, by metric, as far as they are known."""
    found: dict[str, dict[str, float]] = {name: {} for name in RIVALS}
    zero, mean, linear, hold = found.values()
    logged = {name.removeprefix("val_"): value for name, value in metrics.items() if name.startswith("val_")}
    for rival, name in ((zero, "zero_mse"), (mean, "train_mean_mse"), (linear, "linear_mse")):
        if name in logged:
            rival["mse"] = logged[name]
            if logged.get("train_mean_mse"):
                rival["r2"] = 1.0 - logged[name] / logged["train_mean_mse"]
    linear |= {name: logged[f"linear_{name}"] for name in ("ic", "sharpe") if f"linear_{name}" in logged}
    if "buy_hold_sharpe" in logged:
        hold["sharpe"] = logged["buy_hold_sharpe"]
    actual = np.empty(0)
    if predictions is not None and "actual" in predictions:
        actual = numbers_of(predictions["actual"])
    if actual.size and np.isfinite(actual).all():
        zero["mae"] = scores.mae(actual, np.full_like(actual, threshold))
        if test is not None:
            hold["hit_rate"] = scores.hit_rate(actual, np.full_like(actual, threshold + 1.0), threshold)
    if test is not None:
        hold["sortino"] = backtest.sortino(test.market, test.rules.annual)
        hold["max_drawdown"] = backtest.max_drawdown(test.market)
        hold["turnover"] = backtest.turnover(np.ones(len(test.market)))
    return found


def metrics_table(
    metrics: Mapping[str, float], rivals: Mapping[str, Mapping[str, float]], threshold: float = 0.0
) -> Table:
    """Lay the validation metrics out, a row each, the model first; the best of a row is marked.

    Parameters
    ----------
    metrics, rivals : mapping
        By name; see `rivals_of`.
    threshold : float
        The forecast that takes no side.
    """
    rows = []
    for name in MODEL:
        kind = JUDGED[name]
        values = [metrics.get(f"val_{name}"), *(rivals[rival].get(name) for rival in RIVALS)]
        there = [value for value in values if value is not None and math.isfinite(value)]
        best = ""  # as it is shown: of numbers that look the same, none is better
        if kind.better and len(there) > 1:
            best = kind.text(max(there, key=lambda value: kind.better * value))
        cells = [number_cell(value, kind.text) for value in values]
        cells = [replace(cell, text=f"★\u00a0{best}", tone="good") if cell.text == best else cell for cell in cells]
        rows.append([Cell(kind.label), *cells])
    names = ("coin flip" if threshold else RIVALS[0], *RIVALS[1:])
    hints = (f"{threshold:g} for every bar", "fitted to train", "least squares, same inputs", "at no cost")
    columns = [Column("metric"), Column("this model", numeric=True)]
    columns += [Column(name, numeric=True, hint=hint) for name, hint in zip(names, hints, strict=True)]
    return Table("Validation metrics beside naive rivals; ★ marks the best of a row", columns, rows)


def _level(gain: float) -> bool:
    """Tell whether a gain is none in the digits in which it is shown."""
    return percent(abs(gain)) == percent(0.0)


def _tone(value: float, least: float) -> Tone:
    """Call a value above `least` good, below 0 bad, and between them plain."""
    return "good" if value > least else "bad" if value < 0 else "plain"
