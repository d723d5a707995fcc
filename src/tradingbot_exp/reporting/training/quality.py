"""How good a run is: its headline with what that honestly says, and its metrics beside those of naive rivals.

The model's numbers are those that MLflow holds. Of a rival's, those that MLflow does not hold follow from them or from
the logged predictions: R² = 1 − MSE / MSE of the train mean; buy and hold is long on every bar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tradingbot_exp.config.metrics import OWN_METRICS, TABLE
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics import forecast as scores
from tradingbot_exp.evaluation.portfolio import changes_of, shares, weights_by_date
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots.numbers import count, percent, ratio, significant
from tradingbot_exp.reporting.page.blocks import number_cell, numbers_of
from tradingbot_exp.reporting.page.metrics import JUDGED
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Notice, Paragraph, Table, Tile, Tiles, Tone
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.forecasts import luck_of
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.records import TrainingRecord

_SURE = 1.96
"""t-value that luck alone exceeds, up or down, in 5 of 100 cases."""
RIVALS = ("naive", "train mean", "linear model", "buy and hold")


@dataclass(frozen=True)
class Headline:
    """The few numbers by which a run stands or falls; NaN for those that are not there."""

    bars: int  # of validation, of a panel its dates; 0 if unknown
    # Mean squared errors: of the model, the forecast that takes no side, and the linear model.
    mse: float
    zero: float
    linear: float
    ic: float
    luck: float  # how far from 0 luck alone takes `ic` in 95 of 100 cases; see `luck_of`
    # Net Sharpe ratio, its 95 % interval, and that of buy and hold.
    sharpe: float
    low: float
    high: float
    hold: float
    per: str  # ``a year`` or ``a bar``
    # Basis points charged, and those at which nothing is left.
    cost: float
    break_even: float
    naive: str = "the zero forecast"  # what `zero` is the error of
    mean: float = math.nan  # the error of the train mean
    linear_sharpe: float = math.nan
    symbols: int = 1
    # Of a panel the mean over dates of the IC across symbols, and its t-value.
    across: float = math.nan
    across_t: float = math.nan

    @property
    def gain(self) -> float:
        """By what share the squared error is below that of no forecast."""
        return 1.0 - self.mse / self.zero if self.zero > 0 else math.nan


def quality_blocks(trained: Trained) -> list[Block]:
    """Tell how good the forecasts are: the headline, and the metrics beside those of naive rivals."""
    run = trained.run
    blocks: list[Block] = []
    if overlap := run.tags.get("test.overlap"):
        text = f"Train or validation dates of this run were a test set before: {overlap}. What was seen there may have "
        blocks.append(Notice(text + "guided this configuration, so its numbers are no longer out of sample."))
    head = headline_of(trained)
    tiles = tiles_of(head)
    if tiles.tiles:
        blocks += [tiles, Paragraph(reading_of(head))]
    if any(name.startswith("val_") and name != "val_loss" for name in run.metrics):
        blocks.append(_metrics_table(run.metrics, rivals_of(trained), trained.rules))
    return blocks


def recorded_blocks(trained: Trained) -> list[Block]:
    """Say of each metric without a value why, and list all metrics as they are recorded."""
    prefix, metrics = "undefined.", trained.run.metrics
    reasons = {name.removeprefix(prefix): why for name, why in trained.run.tags.items() if name.startswith(prefix)}
    blocks: list[Block] = [Notice(f"{name} is {why}.", "muted") for name, why in reasons.items()]
    if not metrics:
        return [*blocks, Notice("No metrics are on record.", "muted")]
    rows = [[Cell(name), number_cell(value, significant)] for name, value in sorted(metrics.items())]
    table = Table("Metrics as MLflow has them", [Column("metric"), Column("value", numeric=True)], rows)
    return [*blocks, Details(f"All {count(len(metrics), 'recorded metric')}", [table])]


def headline_of(trained: Trained) -> Headline:
    """Pick the headline out of a run's metrics and its backtest."""
    test, rules, table = trained.backtest, trained.rules, trained.record.artifacts.predictions
    bars = len(table) if table is not None else _card_bars(trained.record)
    if trained.panel is not None:
        bars = len(trained.panel.layout.starts)

    def metric(name: str) -> float:
        return trained.run.metrics.get(f"val_{name}", math.nan)

    return Headline(
        bars=bars,
        mse=metric("mse"),
        zero=metric("zero_mse"),
        linear=metric("linear_mse"),
        ic=metric("ic"),
        luck=luck_of(bars, rules.horizon),
        sharpe=metric("sharpe"),
        low=test.interval.low if test is not None else math.nan,
        high=test.interval.high if test is not None else math.nan,
        hold=metric("buy_hold_sharpe"),
        per=rules.per,
        cost=rules.cost_bps,
        break_even=test.break_even if test is not None else math.nan,
        naive=f"the {rules.naive}",
        mean=metric("train_mean_mse"),
        linear_sharpe=metric("linear_sharpe"),
        symbols=1 if trained.panel is None else len(trained.panel.layout.names),
        across=metric("cs_ic"),
        across_t=metric("cs_ic_t"),
    )


def tiles_of(head: Headline) -> Tiles:
    """Show the headline in tiles."""
    tiles = []
    tone: Tone
    if math.isfinite(head.gain):
        side = "lower" if head.gain > 0 else "higher"
        size = "the same" if _level(head.gain) else f"{percent(abs(head.gain))} {side}"
        context = f"{significant(head.mse, 3)} against {significant(head.zero, 3)} for {head.naive}"
        tiles.append(Tile("Squared error", size, context, _tone(head.gain, 0.0)))
    if math.isfinite(head.ic):
        context = f"luck alone: within ±\u00a0{ratio(head.luck, 3)} (95\u00a0%)" if math.isfinite(head.luck) else ""
        tiles.append(Tile("IC", ratio(head.ic, 3, signed=True), context, _tone(head.ic, head.luck)))
    if math.isfinite(head.across):
        context = f"mean over dates · t\u00a0{ratio(head.across_t)}, luck alone: within ±\u00a0{_SURE} (95\u00a0%)"
        tone = "good" if head.across_t > _SURE else "bad" if head.across < 0 else "plain"
        tiles.append(Tile("Cross-sectional IC", ratio(head.across, 3, signed=True), context, tone))
    if math.isfinite(head.sharpe):
        parts = [f"buy and hold\u00a0{ratio(head.hold)}"]
        if math.isfinite(head.low) and math.isfinite(head.high):
            parts.insert(0, f"{ratio(head.low, 1)} to {ratio(head.high, 1)} (95\u00a0%)")
        tone = _tone(head.sharpe - head.hold, 0.0) if head.sharpe > 0 else "bad"
        tiles.append(Tile(f"Net Sharpe ratio {head.per}", ratio(head.sharpe, signed=True), " · ".join(parts), tone))
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
        rivals = {"a linear model of the same inputs": head.linear, "the mean of the train targets": head.mean}
        if _level(head.gain):
            text = f"it errs as much as {head.naive}"
        beaten_by = [name for name, error in rivals.items() if error < head.mse]
        if beaten_by:
            text += f", and more than {listed(beaten_by)}"
        said.append(text)
        for_it.append(head.gain > 0 and not _level(head.gain) and not beaten_by)
    if math.isfinite(head.ic) and math.isfinite(head.luck):
        inside = abs(head.ic) <= head.luck
        what = "no more than luck gives" if inside else "more than luck gives" if head.ic > 0 else "wrong side up"
        said.append(f"its correlation with what came, {ratio(head.ic, 3)}, is {what}")
        for_it.append(head.ic > head.luck)
    if math.isfinite(head.sharpe) and math.isfinite(head.hold):
        text = f"its Sharpe ratio after costs, {ratio(head.sharpe)}, is "
        ahead = head.sharpe > head.hold
        text += f"{'above' if ahead else 'below'} the {ratio(head.hold)} of buy and hold"
        outdone = head.linear_sharpe >= head.sharpe
        if outdone:
            joined = "but below" if ahead else "and below"
            text += f", {joined} the {ratio(head.linear_sharpe)} of the linear model"
        said.append(text)
        for_it.append(ahead and head.sharpe > 0 and not outdone)
    if not said:
        return ""
    verdict = "The evidence is mixed: a reason to look closer, not to trade."
    if all(for_it):
        verdict = "It beats its naive rivals here; whether that lasts, only bars that nobody has looked at can say."
    elif not any(for_it):
        verdict = "Nothing here speaks for an edge."
    where = "the validation bars"
    if head.bars:
        where = count(head.bars, "validation bar")
    if head.symbols > 1:
        where = f"{count(head.bars, 'validation date')} of {count(head.symbols, 'symbol')}"
    return f"On {where}, {'; '.join(said)}. {verdict}"


def rivals_of(trained: Trained) -> dict[str, dict[str, float]]:
    """Return the metrics of each of `RIVALS`, by metric, as far as they are known.

    Of several folds the model's R², MAE and hit rate are means over the folds, and nothing that is on record tells
    those of a rival: they are left out.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in RIVALS}
    zero, mean, linear, hold = found.values()
    test, forecasts, threshold = trained.backtest, trained.record.artifacts.predictions, trained.rules.neutral
    metrics = trained.run.metrics
    logged = {name.removeprefix("val_"): value for name, value in metrics.items() if name.startswith("val_")}
    rivals = {"zero": zero, "train_mean": mean, "linear": linear, "buy_hold": hold}
    for row in TABLE.values():
        if row.variant in rivals and row.name in logged:
            rivals[row.variant][row.base] = logged[row.name]
    single = trained.folds == 1
    for rival in (zero, mean, linear):
        if single and "mse" in rival and logged.get("train_mean_mse"):
            rival["r2"] = 1.0 - rival["mse"] / logged["train_mean_mse"]
    actual = np.empty(0)
    if forecasts is not None and "actual" in forecasts:
        actual = numbers_of(forecasts["actual"])
    if single and actual.size and np.isfinite(actual).all():
        zero["mae"] = scores.mae(actual, np.full_like(actual, threshold))
        if test is not None:
            hold["hit_rate"] = scores.hit_rate(actual, np.full_like(actual, threshold + 1.0), threshold)
    if test is not None:
        hold["sortino"] = backtest.sortino(test.market, test.rules.annual)
        hold["calmar"] = backtest.calmar(test.market, test.rules.annual)
        hold["max_drawdown"] = backtest.max_drawdown(test.market)
        equal = shares(np.ones(len(test.layout)), test.layout, invested=False)  # changes where symbols come and go
        hold["turnover"] = float(changes_of(weights_by_date(equal, test.layout)).mean())
    return found


def _metrics_table(metrics: Mapping[str, float], rivals: Mapping[str, Mapping[str, float]], rules: Rules) -> Table:
    """Lay the validation metrics out, a row each, the model first; the best of a row is marked."""
    rows = []
    for name in OWN_METRICS:
        kind = JUDGED[name]
        values = [metrics.get(f"val_{name}"), *(rivals[rival].get(name) for rival in RIVALS)]
        if TABLE[name].panel and values[0] is None:
            continue
        there = [value for value in values if value is not None and math.isfinite(value)]
        best = ""  # as it is shown: of numbers that look the same, none is better
        unskilled = TABLE[name].skill and max(there, default=0.0) <= 0  # the best of several without any gets no star
        if kind.better and len(there) > 1 and not unskilled:
            best = kind.text(max(there, key=lambda value: kind.better * value))
        cells = [number_cell(value, kind.text) for value in values]
        cells = [replace(cell, text=f"★\u00a0{best}", tone="good") if cell.text == best else cell for cell in cells]
        ends = [metrics.get(f"val_{name}_{end}", math.nan) for end in ("low", "high")]
        interval = " to ".join(kind.text(end) for end in ends) if all(map(math.isfinite, ends)) else ""
        rows.append([Cell(kind.label), *cells, Cell(interval)])
    hints = (f"{rules.neutral:g} for every bar", "fitted to train", "least squares, same inputs", "at no cost")
    columns = [Column("metric"), Column("this model", numeric=True)]
    names = (rules.naive, *RIVALS[1:])
    columns += [Column(name, numeric=True, hint=hint) for name, hint in zip(names, hints, strict=True)]
    columns.append(Column("95 % interval", numeric=True, hint="of this model, from bars drawn in blocks"))
    return Table("Validation metrics beside naive rivals; ★ marks the best of a row", columns, rows)


def _card_bars(record: TrainingRecord) -> int:
    """Return the number of validation rows by the data card; 0 if it does not say."""
    try:
        card = record.artifacts.card or {}
        return sum(int(part["val"]["rows"]) for part in card.get("folds") or [card["split"]])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def _level(gain: float) -> bool:
    """Tell whether a gain is none in the digits in which it is shown."""
    return percent(abs(gain)) == percent(0.0)


def _tone(value: float, least: float) -> Tone:
    """Call a value above `least` good, below 0 bad, and between them plain."""
    return "good" if value > least else "bad" if value < 0 else "plain"
