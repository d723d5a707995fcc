"""The metrics of the compared runs, side by side."""

from __future__ import annotations

from tradingbot_exp.plots.numbers import MISSING
from tradingbot_exp.reporting.comparison.compared import Compared
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.metrics import MetricRow
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Notice, Paragraph, Table

_PARTS = {
    "validation": "On the validation bars",
    "training": "In training",
    "test": "On the test set, as first opened: only then is it out of sample, and to choose by it would spoil it",
    "other": "Other metrics, shown as recorded; whether high or low is better is not known here",
}


def metric_blocks(compared: Compared) -> list[Block]:
    """Lay the metrics out by what they describe, the best of each row marked."""
    rows = compared.metrics
    if not rows:
        return [Notice("None of the runs has metrics on record.")]
    notes = []
    if any(row.best for row in rows):
        notes.append("★ marks the best of a row.")
    if not all(all(row.comparable) for row in rows):
        notes.append("Numbers in grey, in brackets, describe other data, bars or rules than A's, and cannot win a row.")
    if any(name.startswith("fold_") for record in compared.records for name in record.run.metrics):
        notes.append("What each fold gave by itself stands in the training report of a run.")
    blocks: list[Block] = [Paragraph(" ".join(notes))] if notes else []
    columns = [Column("metric"), *compared.columns(numeric=True)]
    for part, caption in _PARTS.items():
        cells = [_cells(row) for row in rows if row.part == part]
        if cells:
            blocks.append(Table(caption, columns, cells))
    return blocks


def _cells(row: MetricRow) -> list[Cell]:
    hint = f" ({row.metric.hint})" if row.metric.hint else ""
    cells = [Cell(f"{row.metric.label or row.name}{hint}")]
    for run, (value, comparable) in enumerate(zip(row.values, row.comparable, strict=True)):
        cell = number_cell(value, row.metric.text)
        if run in row.best:
            cell = Cell(f"★\u00a0{cell.text}", cell.sort, tone="good")
        elif not comparable and cell.text != MISSING:
            cell = Cell(f"({cell.text})", cell.sort, tone="muted")
        cells.append(cell)
    return cells
