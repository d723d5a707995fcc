"""The report on a study: what was found, how the search went, what it says about the space, and every trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tradingbot_exp.plots.numbers import count, percent, ratio, significant
from tradingbot_exp.reporting.page.blocks import again_blocks, header_facts, made_line, problem_notices
from tradingbot_exp.reporting.page.configuration import configuration_blocks, data_blocks
from tradingbot_exp.reporting.page.page import (
    Block,
    Cell,
    Code,
    Details,
    Facts,
    Figure,
    Notice,
    Page,
    Paragraph,
    Section,
    Tile,
    Tiles,
)
from tradingbot_exp.reporting.study import figures as study_figures
from tradingbot_exp.reporting.study import space_figures as study_space_figures
from tradingbot_exp.reporting.study import time_figures as study_time_figures
from tradingbot_exp.reporting.study.axes import Axis
from tradingbot_exp.reporting.study.commands import again_command, continue_blocks, notices, sweep_blocks, winner_blocks
from tradingbot_exp.reporting.study.importance import Importance, importance_of, importance_words
from tradingbot_exp.reporting.study.neighbours import Neighbours, neighbour_words, neighbours_of
from tradingbot_exp.reporting.study.numbers import Study, study_of, value_text
from tradingbot_exp.reporting.study.parallel import MAX_AXES, parallel
from tradingbot_exp.reporting.study.tables import front_table, run_cell, search_facts, space_table, trials_table
from tradingbot_exp.reporting.study.verdict import headline_of, verdict_blocks, word_tile
from tradingbot_exp.reporting.study.words import (
    beside,
    caution,
    headline,
    listed,
    naive_of,
    state_notices,
    time_words,
    trials_text,
)
from tradingbot_exp.tracking.reading.records import StudyRecord

_KINDS = {"sweep": "Sweep report", "null_study": "Null study report"}
_MOST_FRONTS, _MOST_OBJECTIVES = 3, 4
"""Pairs of objectives, and objectives, that are drawn; all are in the tables."""


def study_page(record: StudyRecord) -> Page:
    """Build the report of a study, a plain sweep or a null study: whatever its state, and whatever is missing.

    Parameters
    ----------
    record : StudyRecord
    """
    study = study_of(record)
    found = [importance_of(study, place) for place in range(len(study.objectives[:_MOST_OBJECTIVES]))]
    sections = [
        Section("in-short", "In short", _summary(study, record)),
        Section("verdict", "Is the winner real?", verdict_blocks(study, record)),
        Section("history", "How the search went", _history_blocks(study)),
        Section("curves", "Learning curves", _curve_blocks(study)),
        Section("importance", "Which parameters matter", _importance_blocks(study, found)),
        Section("space", "Where in the space", _space_blocks(study, found)),
        Section("front", "The Pareto front", _front_blocks(study)),
        Section("time", "Time", _time_blocks(study)),
        Section("trials", "All trials", [trials_table(study)] if study.trials else []),
        Section("searched", "What was searched", _searched_blocks(study, record)),
        Section("again", "How to get it again", _again_blocks(study, record)),
    ]
    return Page(
        study.run.name,
        _KINDS.get(study.run.kind, "Study report"),
        header_facts(study.run),
        [section for section in sections if section.blocks],
        made_line(),
    )


def _summary(study: Study, record: StudyRecord) -> list[Block]:
    winner = study.winner
    words = [headline(study), beside(study, winner) if winner is not None else "", caution(study)]
    blocks: list[Block] = [
        *state_notices(study, record),
        *problem_notices(record.artifacts),
        *(Paragraph(part) for part in words if part),
    ]
    if study.trials:
        judged = record.verdict if study.run.kind != "null_study" else None
        if judged:
            blocks.append(Paragraph(f"Is the winner real? {headline_of(judged)}"))
        blocks.append(Tiles([*([word_tile(judged)] if judged else []), *_tiles(study)]))
    if winner is not None:
        facts = [
            ("Best trial", Cell(str(winner.number), sort=winner.number)),
            ("Its run", Cell(winner.run_id, href=run_cell(study, winner).href)),
            *((axis.key, Cell(axis.text(winner.params[axis.key]))) for axis in study.axes if axis.key in winner.params),
        ]
        blocks += [Facts(facts), *winner_blocks(study, record)]
        blocks.append(Code(f"python -m tradingbot_exp report training {winner.run_id}", "To report on its run"))
    return [*blocks, *continue_blocks(study, record)]


def _tiles(study: Study) -> list[Tile]:
    tiles = []
    for place, objective in enumerate(study.objectives if study.complete else ()):
        best = study.ranked(place)[0]
        way = "Highest" if objective.sign < 0 else "Lowest"
        context = f"trial {best.number}, best of {count(len(study.complete), 'complete trial')}"
        text = value_text(objective.metric, best.values[place], 3)
        tiles.append(Tile(f"{way} {objective.metric}", text, context))
    if study.several and study.best:
        tiles.append(Tile("On the Pareto front", f"{len(study.best):,}", count(len(study.complete), "complete trial")))
    winner = study.winner
    metrics = winner.metrics if winner is not None else {}
    mse, zero = (metrics.get(name, math.nan) for name in ("val_mse", "val_zero_mse"))
    if winner is not None and zero > 0 and math.isfinite(mse):
        gain = 1 - mse / zero
        context = f"{significant(mse, 3)} against {significant(zero, 3)} of the {naive_of(study, winner)}"
        tiles.append(Tile("Its squared error", f"{percent(abs(gain))} {'lower' if gain > 0 else 'higher'}", context))
    sharpe, hold = (metrics.get(name, math.nan) for name in ("val_sharpe", "val_buy_hold_sharpe"))
    if math.isfinite(sharpe):
        context = f"buy and hold: {ratio(hold)}" if math.isfinite(hold) else ""
        tiles.append(Tile("Its net Sharpe ratio", ratio(sharpe, signed=True), context))
    tiles.append(Tile("Trials", f"{study.reached:,}{study.of_planned}", trials_text(study).partition(" of ")[0]))
    return tiles


def _history_blocks(study: Study) -> list[Block]:
    if not study.complete:
        return [Notice("No trial has a value, so there is no history to draw.", "muted")] if study.trials else []
    blocks: list[Block] = []
    for place, objective in enumerate(study.objectives[:_MOST_OBJECTIVES]):
        best = study.ranked(place)[0]
        text = f"The best {objective.metric}, {value_text(objective.metric, best.values[place])}, came with trial "
        text += f"{best.number}, the last trial being {study.trials[-1].number}. Of all attempts: {trials_text(study)}."
        blocks.append(Figure(study_figures.history(study, place), text))
    return blocks


def _curve_blocks(study: Study) -> list[Block]:
    curves = [trial.curve for trial in study.trials if len(trial.curve) and trial.duplicate_of is None]
    if not any(math.isfinite(value) for curve in curves for value in curve.values):
        return [Notice("No trial has a validation loss by epoch on record.", "muted")] if study.trials else []
    longest = max(curve.steps[-1] for curve in curves)
    text = f"The validation loss of {count(len(curves), 'trial')} over at most {count(longest, 'epoch')}."
    short = [trial.curve.steps[-1] for trial in study.trials if trial.state == "pruned" and len(trial.curve)]
    if short:
        text += f" {count(len(short), 'trial')} pruned, after {count(min(short), 'epoch')} at the earliest."
    blocks: list[Block] = []
    if any(axis.key == "training.loss" for axis in study.axes):
        blocks.append(Notice("The loss itself was searched: each curve has its own unit, and none compares."))
    return [*blocks, Figure(study_figures.curves(study), text)]


def _importance_blocks(study: Study, found: Sequence[Importance]) -> list[Block]:
    if not study.axes:
        return []
    if all(each.problem == found[0].problem for each in found) and found[0].problem:
        return [Notice(importance_words(found[0]), "muted")]
    blocks: list[Block] = []
    for objective, each in zip(study.objectives, found, strict=False):
        words = importance_words(each)
        if study.several:
            words = f"{objective.metric}: {words}"
        if each.problem:
            blocks.append(Notice(words, "muted"))
            continue
        shares = [f"{name} {percent(share, 0)}" for name, share in zip(each.names, each.shares, strict=True)]
        figure = study_figures.importances(each, objective.metric if study.several else "")
        blocks += [Paragraph(words), Figure(figure, f"Importance: {listed(shares[:6])}.")]
    return blocks


def _space_blocks(study: Study, found: Sequence[Importance]) -> list[Block]:
    axes = _drawn_axes(study, found)
    if not axes:
        return [Notice("The trials do not differ in any parameter on record.", "muted")] if study.trials else []
    if len(study.complete) < 2:
        return [Notice("It takes two complete trials to compare settings.", "muted")] if study.trials else []
    blocks: list[Block] = []
    if len(axes) == MAX_AXES < len(study.axes):
        text = f"The {len(axes)} most important of {len(study.axes)} parameters are drawn; the table below has all."
        blocks.append(Paragraph(text))
    what = "the Pareto front is" if study.several else f"trial {study.best[0].number}, the best, is"
    names = listed([axis.name for axis in axes])
    blocks.append(
        Figure(
            parallel(study, axes),
            f"Each complete trial as a line over {names} and its value; {what} drawn out.",
        )
    )
    for place, objective in enumerate(study.objectives[:_MOST_OBJECTIVES]):
        text = f"{objective.metric} of the complete trials against each parameter; the best is the star."
        blocks.append(Figure(study_space_figures.slices(study, axes, place), text))
    near = neighbours_of(study)
    if isinstance(near, Neighbours):
        text = f"The value of each complete trial against its distance from trial {study.best[0].number}, the best."
        figure = study_space_figures.neighbourhood(study, near)
        return [*blocks, Paragraph(neighbour_words(near, study.best[0].values[0])), Figure(figure, text)]
    return [*blocks, Notice(near, "muted")]


def _drawn_axes(study: Study, found: Sequence[Importance]) -> list[Axis]:
    """Choose the parameters to draw: those with several values, in their order; of very many the most important."""
    most = MAX_AXES
    several = [axis for axis in study.axes if not axis.single]
    if len(several) <= most:
        return several
    chosen = list(dict.fromkeys([*(axis for each in found[:1] for axis in each.axes), *several]))[:most]
    return [axis for axis in several if axis in chosen]


def _front_blocks(study: Study) -> list[Block]:
    if not study.several or not study.best:
        return []
    blocks: list[Block] = []
    pairs = list(itertools.combinations(range(len(study.objectives)), 2))
    if len(study.complete) > 1:
        for first, second in pairs[:_MOST_FRONTS]:
            names = " and ".join(study.objectives[i].metric for i in (first, second))
            text = f"{names} of each complete trial; {count(len(study.best), 'trial')} on the front."
            blocks.append(Figure(study_space_figures.front(study, first, second), text))
    return [*blocks, front_table(study)]


def _time_blocks(study: Study) -> list[Block]:
    if not study.trials:
        return []
    words = time_words(study)
    if not any(trial.seconds is not None for trial in study.trials):
        return [Notice(words, "muted")]
    blocks: list[Block] = [
        Paragraph(words),
        Figure(study_time_figures.timeline(study), "Each trial from its start to its end, by how it ended."),
    ]
    if len(study.trials) > 2:
        blocks.append(Figure(study_time_figures.durations(study), "How many trials took how long."))
    return blocks


def _searched_blocks(study: Study, record: StudyRecord) -> list[Block]:
    blocks: list[Block] = [space_table(study)] if study.axes else []
    blocks.append(search_facts(study))
    if record.artifacts.card or study.run.tags.get("data.fingerprint"):
        blocks.append(Details("Data", data_blocks(record.artifacts.card, study.run)))
    if study.run.params:
        blocks += configuration_blocks(record.made, None)
    return blocks


def _again_blocks(study: Study, record: StudyRecord) -> list[Block]:
    command = again_command(study, record)
    foreign = sweep_blocks(study, record)
    return [*notices(record), *foreign, *again_blocks(record.made, command)]
