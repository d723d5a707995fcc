"""The comparison report: several runs side by side, and which of their differences are more than luck.

`comparison_page` lays out what the modules beside it found; the first run, A, is the one that the others are measured
against.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tradingbot_exp.evaluation.metrics.target import naive_name
from tradingbot_exp.plots.numbers import MISSING, duration, moment
from tradingbot_exp.reporting.comparison.context import LETTERS, listed, only_seed_differs
from tradingbot_exp.reporting.comparison.notices import code_notices, data_notices, status_notices
from tradingbot_exp.reporting.comparison.numbers import Difference, differences
from tradingbot_exp.reporting.comparison.sections import (
    context_blocks,
    difference_blocks,
    equity_blocks,
    forecast_blocks,
    learning_blocks,
    run_columns,
)
from tradingbot_exp.reporting.comparison.words import against_baselines, headline
from tradingbot_exp.reporting.page.blocks import OWN_KINDS, made_line, number_cell, status_cell
from tradingbot_exp.reporting.page.metrics import MetricRow, metric_rows
from tradingbot_exp.reporting.page.page import (
    Block,
    Cell,
    Code,
    Column,
    Notice,
    Page,
    Paragraph,
    Section,
    Table,
    Tile,
    Tiles,
)
from tradingbot_exp.tracking.reading.records import TrainingRecord

_PARTS = {
    "validation": "On the validation bars",
    "training": "In training",
    "test": "On the test set, as first opened: only then is it out of sample, and to choose by it would spoil it",
    "other": "Other metrics, shown as recorded; whether high or low is better is not known here",
}


def comparison_page(records: Sequence[TrainingRecord]) -> Page:
    """Build the report on several runs.

    Parameters
    ----------
    records : sequence of TrainingRecord
        Two or more different runs, the reference first.
    """
    found, rows = differences(records), metric_rows(records)
    sections = [
        Section("in-short", "In short", _summary(records, found, rows)),
        Section("runs", "The runs", [_runs_table(records)]),
        Section("metrics", "Metrics side by side", _metric_blocks(records, rows)),
        Section("differences", "How sure the differences are", difference_blocks(records, found)),
        Section("equity", "Equity", equity_blocks(records)),
        Section("forecasts", "Forecasts", forecast_blocks(records)),
        Section("learning", "Learning curves", learning_blocks(records)),
        Section("what-differs", "What differs between the runs", context_blocks(records)),
        Section("again", "Make this report again", [_command([record.run.run_id for record in records])]),
    ]
    others = records[1].run.name if len(records) == 2 else f"{len(records) - 1} others"
    facts = [
        ("Runs", Cell(str(len(records)))),
        ("Reference", Cell(f"A, {records[0].run.name}")),
        ("Experiment", Cell(listed(list(dict.fromkeys(record.run.experiment or MISSING for record in records))))),
    ]
    return Page(
        f"{records[0].run.name} against {others}",
        "Comparison",
        facts,
        [section for section in sections if section.blocks],
        made_line(),
    )


def _summary(records: Sequence[TrainingRecord], found: Sequence[Difference], rows: Sequence[MetricRow]) -> list[Block]:
    seeds_only = only_seed_differs(records)
    naive = " or ".join(dict.fromkeys(naive_name(record.run.params) for record in records))
    beaten = against_baselines(rows, naive)
    warnings = [each for each in code_notices(records) if each.tone != "muted"]
    return [
        Paragraph(" ".join([headline(found, len(records), seeds_only=seeds_only), beaten]).strip()),
        *data_notices(records),
        *status_notices(records),
        *warnings,
        *_tiles(records, found, rows),
    ]


def _tiles(records: Sequence[TrainingRecord], found: Sequence[Difference], rows: Sequence[MetricRow]) -> list[Block]:
    """Show the best run by error and by Sharpe ratio, and how many differences are more than luck."""
    tiles = []
    for name, rival, label in (
        ("val_mse", "val_zero_mse", "Lowest validation MSE"),
        ("val_sharpe", "val_buy_hold_sharpe", "Highest net Sharpe ratio"),
    ):
        row = next((row for row in rows if row.name == name and row.best), None)
        if row is not None:
            run = row.best[0]
            beside = next((other.values[run] for other in rows if other.name == rival), None)
            against = f"the {naive_name(records[run].run.params)}" if name == "val_mse" else "buy and hold"
            context = records[run].run.name + (f"; {against}: {row.metric.text(beside)}" if beside is not None else "")
            tiles.append(Tile(label, f"{LETTERS[run]}: {row.metric.text(row.values[run])}", context))
    tested = [each for each in found if not each.problem]
    if tested:
        real = sum(each.holds for each in tested)
        tiles.append(
            Tile(
                "Differences beyond luck",
                f"{real} of {len(tested)}",
                "from A, by interval and corrected p-value",
            )
        )
    return [Tiles(tiles)] if tiles else []


def _runs_table(records: Sequence[TrainingRecord]) -> Table:
    columns = [Column(name) for name in ("run", "name", "status", "model", "data", "seed", "started")]
    columns += [Column("took", numeric=True), Column("commit"), Column("test set")]
    rows = []
    for letter, record in zip(LETTERS, records, strict=False):
        run = record.run
        commit, dirty = (record.made.commit or "")[:10], record.made.is_dirty
        rows.append(
            [
                Cell(f"{letter}, reference" if letter == "A" else letter),
                Cell(run.name),
                status_cell(run.status),
                _or_missing(run.tags.get("model.name") or run.params.get("model.name")),
                _or_missing(run.tags.get("data.name") or run.params.get("data.name")),
                _or_missing(run.params.get("seed")),
                Cell(moment(run.started), sort=run.started.timestamp()),
                number_cell(run.seconds, duration),
                Cell(f"{commit} + changes" if dirty else commit or MISSING, tone="plain" if commit else "muted"),
                _test_cell(record) if run.kind in OWN_KINDS else _or_missing(None),
            ]
        )
    return Table("The compared runs; the letters stand for them below", columns, rows)


def _test_cell(record: TrainingRecord) -> Cell:
    """Say how often a run's test set was opened; sealed is what nobody has seen, for no run."""
    own, others = len(record.openings), record.others_opened
    if own:
        return Cell(f"opened {own}×", sort=own)
    if others is None:
        return Cell(MISSING, tone="muted")
    if others:
        return Cell(f"opened {len(others)}× for other runs", sort=len(others), tone="warning")
    overlap = record.made.tag("test.overlap")
    return Cell("learned from opened bars", sort=0, tone="warning") if overlap else Cell("sealed", sort=0)


def _metric_blocks(records: Sequence[TrainingRecord], rows: Sequence[MetricRow]) -> list[Block]:
    if not rows:
        return [Notice("None of the runs has metrics on record.")]
    blocks: list[Block] = []
    for part, caption in _PARTS.items():
        chosen = [row for row in rows if row.part == part]
        if chosen:
            columns = [Column("metric"), *run_columns(records, numeric=True)]
            blocks.append(Table(caption, columns, [_metric_cells(row) for row in chosen]))
    notes = []
    if any(row.best for row in rows):
        notes.append("★ marks the best of a row.")
    if not all(all(row.comparable) for row in rows):
        notes.append("Numbers in grey, in brackets, describe other data, bars or rules than A's, and cannot win a row.")
    if any(name.startswith("fold_") for record in records for name in record.run.metrics):
        notes.append("What each fold gave by itself stands in the training report of a run.")
    return [Paragraph(" ".join(notes)), *blocks] if notes else blocks


def _metric_cells(row: MetricRow) -> list[Cell]:
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


def _or_missing(text: str | None) -> Cell:
    return Cell(text) if text else Cell(MISSING, tone="muted")


def _command(ids: Sequence[str]) -> Code:
    return Code(shlex.join(["python", "-m", "tradingbot_exp", "report", "compare", *ids]), "Command")
