"""The compared runs in a table, with the letters that stand for them."""

from __future__ import annotations

from tradingbot_exp.plots.numbers import MISSING, duration, moment
from tradingbot_exp.reporting.comparison.compared import Compared
from tradingbot_exp.reporting.page.blocks import OWN_KINDS, number_cell, status_cell, text_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Table
from tradingbot_exp.tracking.reading.records import TrainingRecord


def run_blocks(compared: Compared) -> list[Block]:
    """List the runs."""
    columns = [Column(name) for name in ("run", "name", "status", "model", "data", "seed", "started")]
    columns += [Column("took", numeric=True), Column("commit"), Column("test set")]
    rows = []
    for letter, record in compared.lettered:
        run, commit = record.run, (record.commit or "")[:10]
        rows.append(
            [
                Cell(f"{letter}, reference" if letter == "A" else letter),
                Cell(run.name),
                status_cell(run.status),
                text_cell(run.tags.get("model.name") or run.params.get("model.name")),
                text_cell(run.tags.get("data.name") or run.params.get("data.name")),
                text_cell(run.params.get("seed")),
                Cell(moment(run.started), sort=run.started.timestamp()),
                number_cell(run.seconds, duration),
                text_cell(f"{commit} + changes" if record.is_dirty else commit),
                _test_cell(record) if run.kind in OWN_KINDS else text_cell(None),
            ]
        )
    return [Table("The compared runs; the letters stand for them below", columns, rows)]


def _test_cell(record: TrainingRecord) -> Cell:
    """Say how often a run's test set was opened; sealed is what nobody has seen, for no run."""
    own, others = len(record.openings) + len(record.refits), record.others_opened
    if own:
        return Cell(f"opened {own}×", sort=own)
    if others is None:
        return Cell(MISSING, tone="muted")
    if others:
        return Cell(f"opened {len(others)}× for other runs", sort=len(others), tone="warning")
    overlap = record.tag("test.overlap")
    return Cell("learned from opened bars", sort=0, tone="warning") if overlap else Cell("sealed", sort=0)
