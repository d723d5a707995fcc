"""The test set of a run: whether it is sealed, who has seen its bars, and what each evaluation of it gave."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_exp.plots.numbers import moment
from tradingbot_exp.reporting.page.blocks import OWN_KINDS, number_cell
from tradingbot_exp.reporting.page.metrics import Metric, judged
from tradingbot_exp.reporting.page.page import Block, Cell, Code, Column, Notice, Paragraph, Table
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.runtime.text import at_most, own_command, times
from tradingbot_exp.tracking.reading.openings import how_often
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import RunRecord
from tradingbot_exp.tracking.store.lookup import TEST_RUN


def test_set_blocks(trained: Trained) -> list[Block]:
    """Say whether the test set is sealed, or lay out what each evaluation of it gave, beside validation."""
    record, run = trained.record, trained.run
    openings, others = record.openings, record.others_opened
    evaluated = run.tags.get("evaluated.run_id")
    if evaluated or run.kind == TEST_RUN:
        evaluated = evaluated or "an unknown one"
        return [Paragraph(f"This run is itself an opening of the test set, for the run {evaluated}.")]
    if run.kind not in OWN_KINDS:
        return [Notice("Whether the numbers of this run have seen test bars is not on record.", "muted")]
    blocks = _seen_before(record)
    if not openings:
        text = "Not evaluated for this run. " if record.refits else "Not opened for this run. "
        if others is None:
            text += "Its data or its dates are not on record: whether the same bars were opened for others is unknown. "
        elif not blocks:
            text = "Sealed, never opened: no number of this report has seen a test bar, as far as this store knows. "
        if run.status != "FINISHED" or record.artifacts.predictions is None:  # no model that could be asked
            return [*blocks, Paragraph(text.strip())]
        command = own_command("evaluate", run.run_id)
        return [*blocks, Paragraph(text + "Opening it is counted."), Code(command, "To open it")]
    blocks.append(Paragraph(f"Opened {times(len(openings))}."))
    if len(openings) > 1:
        text = "Only the first opening is out of sample: what was decided after it has seen the test set."
        blocks.append(Notice(text))
    return [*blocks, _table(run, openings)]


def _table(run: RunRecord, openings: Sequence[RunRecord]) -> Table:
    kinds = {f"test_{name}": kind for name, kind in judged(run.params).items()}
    found = {name for opening in openings for name in opening.metrics if name.startswith("test_")}
    rows = []
    for name in [*(name for name in kinds if name in found), *sorted(found - set(kinds))]:
        kind = kinds.get(name, Metric(name))
        values = [run.metrics.get(name.replace("test_", "val_", 1)), *(each.metrics.get(name) for each in openings)]
        rows.append([Cell(kind.label), *(number_cell(value, kind.text) for value in values)])
    columns = [Column("metric"), Column("validation", numeric=True)]
    columns += [Column(f"test, {moment(opening.started)}", numeric=True) for opening in openings]
    return Table("What the test set said, beside validation", columns, rows)


def _seen_before(record: TrainingRecord) -> list[Block]:
    """Say what was seen already: test bars for other runs, and bars of train and validation as a test set."""
    blocks: list[Block] = []
    refits, others, overlap = record.refits, record.others_opened, record.tag("test.overlap")
    if refits:
        first, last = min(each.start for each in refits)[:10], max(each.end for each in refits)[:10]
        text = f"A refit of this run has learned from its test set, {first} to {last}, first on {refits[0].at[:16]} by "
        blocks.append(Notice(f"{text}{refits[0].by}. This counts as an opening of these dates."))
    if others:
        runs = list(dict.fromkeys(each.evaluated for each in others))
        text = f"Bars of this test set were {how_often(others)} for other runs ({at_most(runs, 3)}), "
        text += f"last on {others[-1].at[:16]} by {others[-1].by}. "
        blocks.append(Notice(text + "What was decided after it, this run included, is not out of sample there."))
    if overlap:
        blocks.append(Notice(f"Train or validation bars of this run were a test set before: {overlap}."))
    return blocks
