"""Every trial of a study in a table, each attempt in a row."""

from __future__ import annotations

from collections import Counter
from functools import partial

from tradingbot_exp.plots.numbers import MISSING, count, duration
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell, run_link
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Table, Tone
from tradingbot_exp.reporting.study.axes import Axis
from tradingbot_exp.reporting.study.numbers import Study, value_text
from tradingbot_exp.tracking.reading.records import TrialRecord

_TONES: dict[str, Tone] = {"pruned": "muted", "failed": "bad", "interrupted": "warning", "running": "warning"}
_ID_LETTERS = 8


def trial_blocks(study: Study) -> list[Block]:
    """List every attempt, with its state, values, parameters, epochs, duration, run, and what is to be said of it."""
    if not study.trials:
        return []
    best = {trial.run_id for trial in study.front}
    total = Counter(trial.number for trial in study.trials)
    seen: Counter[int] = Counter()
    rows = []
    for trial in study.trials:
        seen[trial.number] += 1
        tone: Tone = "good" if trial.run_id in best else "plain"
        note = _note(trial, seen[trial.number] if total[trial.number] > 1 else 0)
        number = f"★ {trial.number}" if trial.run_id in best else str(trial.number)
        rows.append(
            [
                Cell(number, sort=trial.number, tone=tone),
                Cell(trial.state, tone=_TONES.get(trial.state, "plain")),
                *trial_cells(study, trial, tone),
                count_cell(len(trial.curve) or None),
                number_cell(trial.seconds, duration),
                run_cell(study, trial),
                Cell(note, sort=note or None),
            ]
        )
    columns = [Column("trial", numeric=True), Column("state")]
    columns += [Column(objective.metric, numeric=True) for objective in study.objectives]
    columns += [Column(axis.name, numeric=axis.ordered, hint=axis.key) for axis in study.axes]
    columns += [Column("epochs", numeric=True), Column("took", numeric=True), Column("run"), Column("note")]
    mark = "on the Pareto front" if study.several else "the best"
    caption = f"All {count(len(rows), 'trial')}, each attempt in a row; ★ is {mark}"
    return [Table(caption, columns, rows, sortable=True, filterable=True)]


def trial_cells(study: Study, trial: TrialRecord, tone: Tone = "plain") -> list[Cell]:
    """Show the values of a trial, or a dash for each objective, and then its parameters."""
    values = [Cell(MISSING, tone="muted")] * len(study.objectives)
    if len(trial.values) == len(study.objectives):
        pairs = zip(study.objectives, trial.values, strict=True)
        values = [number_cell(value, partial(value_text, objective.metric), tone) for objective, value in pairs]
    return [*values, *(param_cell(axis, trial) for axis in study.axes)]


def param_cell(axis: Axis, trial: TrialRecord) -> Cell:
    """Show a trial's value of a parameter; numbers sort as such, choices in the order of the space."""
    value = trial.params.get(axis.key)
    if value is None:
        return Cell(MISSING, tone="muted")
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and axis.ordered:
        return number_cell(float(number), lambda _: axis.text(value))
    return Cell(axis.text(value))


def run_cell(study: Study, trial: TrialRecord) -> Cell:
    """Show the first letters of a run's id, leading to its page where the store is a server."""
    return Cell(trial.run_id[:_ID_LETTERS], href=run_link(study.run, trial.run_id))


def _note(trial: TrialRecord, attempt: int) -> str:
    parts = [f"attempt {attempt}"] if attempt else []
    if trial.duplicate_of is not None:
        parts.append(f"same point as trial {trial.duplicate_of}, whose result it took")
    if trial.error:
        parts.append(trial.error)
    return "; ".join(parts)
