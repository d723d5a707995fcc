"""The tables of a study report: all trials, the Pareto front, the space, and how the search was set up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from tradingbot_exp.plots.numbers import MISSING, count, duration
from tradingbot_exp.reporting.page.blocks import number_cell, run_link
from tradingbot_exp.reporting.page.configuration import shown
from tradingbot_exp.reporting.page.page import Cell, Column, Facts, Table, Tone
from tradingbot_exp.reporting.study.axes import Axis, space_size
from tradingbot_exp.reporting.study.numbers import Study, value_text
from tradingbot_exp.reporting.study.words import listed
from tradingbot_exp.tracking.reading.records import TrialRecord

_TONES: dict[str, Tone] = {"pruned": "muted", "failed": "bad", "interrupted": "warning", "running": "warning"}
_ID_LETTERS = 8


def trials_table(study: Study) -> Table:
    """List every attempt, with its state, values, parameters, epochs, duration, run, and what is to be said of it."""
    best = {trial.run_id for trial in (study.best if study.several else study.best[:1])}
    attempts = _attempts(study)
    rows = []
    for trial, attempt in zip(study.trials, attempts, strict=True):
        tone: Tone = "good" if trial.run_id in best else "plain"
        number = f"★ {trial.number}" if trial.run_id in best else str(trial.number)
        cells = [
            Cell(number, sort=trial.number, tone=tone),
            Cell(trial.state, tone=_TONES.get(trial.state, "plain")),
            *value_cells(study, trial, tone),
            *(param_cell(axis, trial) for axis in study.axes),
            Cell(str(len(trial.curve)), sort=len(trial.curve)) if len(trial.curve) else Cell(MISSING, tone="muted"),
            number_cell(trial.seconds, duration),
            run_cell(study, trial),
            Cell(_note(trial, attempt), sort=_note(trial, attempt) or None),
        ]
        rows.append(cells)
    columns = [Column("trial", numeric=True), Column("state")]
    columns += [Column(objective.metric, numeric=True) for objective in study.objectives]
    columns += [Column(axis.name, numeric=axis.ordered, hint=axis.key) for axis in study.axes]
    columns += [Column("epochs", numeric=True), Column("took", numeric=True)]
    columns += [Column("run"), Column("note")]
    mark = "on the Pareto front" if study.several else "the best"
    caption = f"All {count(len(rows), 'trial')}, each attempt in a row; ★ is {mark}"
    return Table(caption, columns, rows, sortable=True, filterable=True)


def front_table(study: Study) -> Table:
    """List the trials of the Pareto front, in the order of the first objective."""
    rows = [
        [
            Cell(str(trial.number), sort=trial.number),
            *value_cells(study, trial, "plain"),
            *(param_cell(axis, trial) for axis in study.axes),
            run_cell(study, trial),
        ]
        for trial in study.best
    ]
    columns = [Column("trial", numeric=True)]
    columns += [Column(objective.metric, numeric=True, hint=objective.direction) for objective in study.objectives]
    columns += [Column(axis.name, numeric=axis.ordered, hint=axis.key) for axis in study.axes]
    return Table("The trials on the Pareto front", [*columns, Column("run")], rows, sortable=len(rows) > 1)


def space_table(study: Study) -> Table:
    """List the parameters, what was searched of each, and what the best trial has."""
    winner = study.winner
    rows = []
    for axis in study.axes:
        twins = [key for key, of in study.twins.items() if of == axis.key]
        name = axis.key + (f" (and {listed(twins)}, always the same)" if twins else "")
        cells = [Cell(name), Cell(axis.described_as())]
        if winner is not None:
            cells.append(param_cell(axis, winner))
        rows.append(cells)
    columns = [Column("parameter"), Column("values")]
    if winner is not None:
        columns.append(Column(f"of trial {winner.number}, the best", numeric=True))
    size = space_size(study.axes)
    caption = "What was searched" if any(axis.described for axis in study.axes) else "What the trials differ in"
    return Table(f"{caption}: {size}" if size else caption, columns, rows)


def search_facts(study: Study) -> Facts:
    """Say how the search was set up, as far as it is on record."""
    params, tags = study.run.params, study.run.tags
    words = [f"{objective.metric}, {objective.direction}" for objective in study.objectives]
    facts = [("Metric", Cell("; ".join(words) + (" (direction not on record)" if study.assumed else "")))]
    named = {
        "Sampler": tags.get("study.sampler") or params.get("hpo.sampler"),
        "Pruner": params.get("hpo.pruner"),
        "Trials": params.get("hpo.num_trials"),
        "Seeds a trial": params.get("hpo.repeats"),
        "At once": tags.get("study.at_once") or params.get("hpo.n_jobs"),
        "Seed": params.get("seed"),
        "Failures allowed": params.get("hpo.max_failure_rate"),
        "Artifacts kept": params.get("hpo.keep"),
        "Study": tags.get("study.name"),
        "Storage": tags.get("study.storage") or params.get("hpo.storage"),
        "Configurations": tags.get("study.configurations"),
        "Sweep": tags.get("sweep.overrides"),
    }
    facts += [(name, Cell(shown(value))) for name, value in named.items() if value not in (None, "", "None")]
    return Facts([*facts, ("Run id", Cell(study.run.run_id))])


def value_cells(study: Study, trial: TrialRecord, tone: Tone) -> list[Cell]:
    """Show the values of a trial, or a dash for each objective."""
    if len(trial.values) != len(study.objectives):
        return [Cell(MISSING, tone="muted")] * len(study.objectives)
    cells = []
    for objective, value in zip(study.objectives, trial.values, strict=True):
        cells.append(number_cell(value, partial(value_text, objective.metric), tone))
    return cells


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


def _attempts(study: Study) -> Sequence[int]:
    """Count the attempts at each trial that has several, from 1 on; 0 for the only one."""
    total = Counter(trial.number for trial in study.trials)
    seen: Counter[int] = Counter()
    found = []
    for trial in study.trials:
        seen[trial.number] += 1
        found.append(seen[trial.number] if total[trial.number] > 1 else 0)
    return found


def _note(trial: TrialRecord, attempt: int) -> str:
    parts = [f"attempt {attempt}"] if attempt else []
    if trial.duplicate_of is not None:
        parts.append(f"same point as trial {trial.duplicate_of}, whose result it took")
    if trial.error:
        parts.append(trial.error)
    return "; ".join(parts)
