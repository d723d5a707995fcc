"""The parts of a comparison report: differences, equity, forecasts, learning curves, and what differs otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from tradingbot_exp.plots.numbers import MISSING, count, ratio
from tradingbot_exp.reporting.backtest.numbers import rules_of
from tradingbot_exp.reporting.comparison.context import (
    LETTERS,
    code_differences,
    config_differences,
    environment_differences,
    listed,
)
from tradingbot_exp.reporting.comparison.figures import (
    difference_intervals,
    equity_curves,
    forecast_correlations,
    learning_curves,
)
from tradingbot_exp.reporting.comparison.notices import code_notices
from tradingbot_exp.reporting.comparison.numbers import Correlations, Difference, correlations, equity
from tradingbot_exp.reporting.comparison.words import NAMES, amount, interval, p_value, sentence, verdict
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.configuration import shown
from tradingbot_exp.reporting.page.metrics import same_bars
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Figure, Notice, Paragraph, Table, Tone
from tradingbot_exp.tracking.reading.differences import Row
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import Curve


def difference_blocks(records: Sequence[TrainingRecord], found: Sequence[Difference]) -> list[Block]:
    """Show each difference from A with its interval: how it was found, a figure, a table."""
    tested = [each for each in found if not each.problem]
    if not tested:
        reasons = dict.fromkeys(f"{LETTERS[each.run]}: {each.problem}" for each in found)
        return [Notice(f"No run can be compared with A bar by bar. {'; '.join(reasons)}.")]
    names = [record.run.name for record in records]
    periods = rules_of(records[0].run, records[0].artifacts.predictions).periods
    year = "a bar's, as nobody knows the bars in a year" if periods is None else f"a year's, of {periods:g} bars"
    how = (
        "Each run is compared with A on the validation bars that both have, by a paired stationary bootstrap "
        "(Politis and Romano 1994): the same blocks of bars are drawn from both, so what moves both cancels out. "
        f"The p-values are corrected by Holm's method for the {count(len(tested), 'comparison')} made here; the "
        f"intervals are not. Sharpe ratios are {year}. None of this makes up for runs that were chosen because they "
        "looked best."
    )
    rows = [_difference_cells(each) for each in found]
    columns = [
        Column("run"),
        Column("measure"),
        Column("difference from A", numeric=True, hint="of errors: in % of A's"),
        Column("95\u00a0% interval", numeric=True),
        Column("p", numeric=True, hint="two-sided"),
        Column("p, corrected", numeric=True, hint="by Holm's method"),
        Column("bars", numeric=True, hint="that both have"),
        Column("block", numeric=True, hint="mean length, in bars"),
        Column("verdict"),
    ]
    table = Table("Differences from A with their uncertainty", columns, rows, sortable=len(rows) > 6)
    figure = difference_intervals(tested, names, periods)
    real = sum(each.holds for each in tested)
    words = f"More than luck would do: {real} of {count(len(tested), 'difference')} from A."
    told = [sentence(each) for each in tested if each.holds or len(tested) <= len(NAMES)]
    return [Paragraph(how), Figure(figure, " ".join([words, *told])), table]


def _difference_cells(each: Difference) -> list[Cell]:
    if each.problem:
        numbers = [Cell(MISSING, tone="muted")] * 4
    else:
        numbers = [
            Cell(amount(each, each.estimate), each.estimate),
            Cell(interval(each), each.low),
            Cell(p_value(each.p), each.p),
            Cell(p_value(each.corrected), each.corrected),
        ]
    tone: Tone = "plain"
    if each.holds:
        tone = "good" if each.better else "bad"
    return [
        Cell(LETTERS[each.run]),
        Cell(NAMES[each.measure]),
        *numbers,
        Cell(f"{each.bars:,}", each.bars),
        number_cell(each.block, partial(ratio, digits=1)),
        Cell(verdict(each), tone=tone),
    ]


def equity_blocks(records: Sequence[TrainingRecord]) -> list[Block]:
    """Show what the runs that traded the same market would have earned; nothing if there are not two."""
    found = equity(records)
    if found is None:
        return []
    ends = {run: 100 * (path[-1] - 1) for run, path in found.wealth.items()}
    market = 100 * (found.market[-1] - 1)
    said = ", ".join(f"{LETTERS[run]} {ratio(end, 1, signed=True)}\u00a0%" for run, end in ends.items())
    text = f"At the end: {said}; buy and hold {ratio(market, 1, signed=True)}\u00a0%."
    figure = equity_curves(found, [record.run.name for record in records])
    missing = _left_out(
        records, list(found.wealth), "for want of forecasts, or of A's market on bars that the others have"
    )
    return [Figure(figure, text), *missing]


def forecast_blocks(records: Sequence[TrainingRecord]) -> list[Block]:
    """Show how alike the forecasts are; nothing if there are not two of the same target."""
    found = correlations(records)
    if found is None:
        return []
    missing = _left_out(records, found.runs, "for want of forecasts, or of A's target on bars that the others have")
    text = _alike(found)
    if len(found.runs) == 2:
        return [Paragraph(text), *missing]
    figure = forecast_correlations(found, [record.run.name for record in records])
    return [Figure(figure, text), *missing]


def _alike(found: Correlations) -> str:
    """Say how alike the forecasts are: of two runs the correlation, of more the most and the least alike."""
    pairs = {
        (LETTERS[a], LETTERS[b]): float(found.values[i, j])
        for i, a in enumerate(found.runs)
        for j, b in enumerate(found.runs)
        if i < j and math.isfinite(found.values[i, j])
    }
    if not pairs:
        return "The forecasts have no correlation: all but one at most are constant."
    most, least = max(pairs, key=pairs.__getitem__), min(pairs, key=pairs.__getitem__)
    bars = count(found.bars, "bar")
    if most == least:
        return f"Over {bars}, the forecasts of {listed(most)} have a correlation of {ratio(pairs[most])}."
    return (
        f"Over {bars}, the forecasts of {listed(most)} are most alike (correlation {ratio(pairs[most])}), those of "
        f"{listed(least)} least ({ratio(pairs[least])})."
    )


def learning_blocks(records: Sequence[TrainingRecord]) -> list[Block]:
    """Show the validation loss of each epoch; nothing if there are not two curves."""
    curves = {run: record.run.curves["val_loss"] for run, record in enumerate(records) if _learned(record)}
    if len(curves) < 2:
        return []
    first = records[next(iter(curves))]
    keys = ("training.loss", "data.target", "data.horizon")
    wanted = [first.run.params.get(key) for key in keys]
    drawn = {
        run: curve for run, curve in curves.items() if [records[run].run.params.get(key) for key in keys] == wanted
    }
    if len(drawn) < 2:
        return [Notice("The learning curves are of different losses or targets, and cannot share an axis.", "muted")]
    alike = all(same_bars(first, records[run]) for run in drawn)
    caution = "" if alike else "different data: compare shapes, not levels"
    loss = first.run.params.get("training.loss", "loss")
    figure = learning_curves(drawn, [record.run.name for record in records], loss, caution)
    lowest = ", ".join(f"{LETTERS[run]} at epoch {_lowest(curve)}" for run, curve in drawn.items())
    text = f"Lowest validation loss: {lowest}."
    return [Figure(figure, text), *_left_out(records, list(drawn), "for want of a curve of this loss")]


def _lowest(curve: Curve) -> int:
    """Give the epoch of the lowest finite value."""
    return min((value, step) for step, value in zip(curve.steps, curve.values, strict=True) if math.isfinite(value))[1]


def _learned(record: TrainingRecord) -> bool:
    curve = record.run.curves.get("val_loss")
    return curve is not None and any(math.isfinite(value) for value in curve.values)


def context_blocks(records: Sequence[TrainingRecord]) -> list[Block]:
    """Show what differs in configuration, code and environment."""
    deciding, harmless = config_differences(records)
    blocks: list[Block] = []
    if deciding:
        blocks.append(_rows_table("Configuration: keys that can change a result", records, deciding))
    elif sum(bool(record.run.params) for record in records) < 2:
        blocks.append(Notice("No two runs have params on record, so their configurations cannot be compared.", "muted"))
    else:
        blocks.append(Paragraph("The configurations are the same in all that can change a result."))
    if harmless:
        table = _rows_table("Names, storage and search settings", records, harmless)
        blocks.append(Details(f"Differences that change no result: {count(len(harmless), 'key')}", [table]))
    blocks += [each for each in code_notices(records) if each.tone == "muted"]
    for caption, rows in (
        ("Code", code_differences(records)),
        ("Environment", environment_differences(records)),
    ):
        if rows:
            blocks.append(_rows_table(caption, records, rows))
    return blocks


def _rows_table(caption: str, records: Sequence[TrainingRecord], rows: Sequence[Row]) -> Table:
    """Lay out what differs; what is not as in A stands out."""
    cells = [
        [Cell(row.name), *(Cell(shown(value), tone=_tone(value, row.values[0])) for value in row.values)]
        for row in rows
    ]
    return Table(caption, [Column("key"), *run_columns(records)], cells)


def _tone(value: str | None, reference: str | None) -> Tone:
    return "plain" if value == reference else "warning"


def run_columns(records: Sequence[TrainingRecord], *, numeric: bool = False) -> list[Column]:
    """Give a column a run: its letter, and the run's name below."""
    return [Column(letter, numeric, record.run.name) for letter, record in zip(LETTERS, records, strict=False)]


def _left_out(records: Sequence[TrainingRecord], drawn: Sequence[int], why: str) -> list[Block]:
    missing = [LETTERS[run] for run in range(len(records)) if run not in drawn]
    return [Notice(f"Not drawn, {why}: {listed(missing)}.", "muted")] if missing else []
