"""The study in short: its best trial beside the naive forecasts, out of how many, and what went wrong."""

from __future__ import annotations

import math
from collections import Counter

from tradingbot_exp.evaluation.metrics.target import naive_name
from tradingbot_exp.plots.numbers import count, percent, ratio, significant
from tradingbot_exp.reporting.page.blocks import problem_notices, run_link
from tradingbot_exp.reporting.page.page import Block, Cell, Code, Details, Facts, Notice, Paragraph, Tile, Tiles
from tradingbot_exp.reporting.study.again import continue_blocks, winner_blocks
from tradingbot_exp.reporting.study.axes import tick_text
from tradingbot_exp.reporting.study.numbers import Study, value_text
from tradingbot_exp.reporting.study.verdict import headline_of, word_tile
from tradingbot_exp.runtime.text import at_most, listed, own_command
from tradingbot_exp.tracking.reading.records import TrialRecord

_MOST_ERRORS = 3


def summary_blocks(study: Study) -> list[Block]:
    """Say what was found and what a reader must not miss, with the numbers to look at first and the next commands."""
    record, winner = study.record, study.winner
    words = [headline(study), beside(study, winner) if winner is not None else "", caution(study)]
    blocks: list[Block] = [
        *_state_notices(study),
        *_trial_notices(study),
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
            ("Its run", Cell(winner.run_id, href=run_link(study.run, winner.run_id))),
            *((axis.key, Cell(axis.text(winner.params[axis.key]))) for axis in study.axes if axis.key in winner.params),
        ]
        blocks += [Facts(facts), *winner_blocks(study)]
        blocks.append(Code(own_command("report", "training", winner.run_id), "To report on its run"))
    return [*blocks, *continue_blocks(study)]


def headline(study: Study) -> str:
    """Say what the best trial is, with its parameters, and how far ahead of the next."""
    if not study.trials:
        return "No trial is on record."
    if not study.complete:
        running = study.run.status == "RUNNING" or "running" in study.counts
        return "No trial is complete, so there is no best one yet." if running else "No trial is complete."
    complete = count(len(study.complete), "complete trial")
    if study.several:
        parts = []
        for place, objective in enumerate(study.objectives):
            best = study.ranked(place)[0]
            text = value_text(objective.metric, best.values[place])
            parts.append(f"the {study.way(place)} {objective.metric}, {text}, is that of trial {best.number}")
        are = "is" if len(study.best) == 1 else "are"
        return (
            f"Of {complete}, {len(study.best)} {are} on the Pareto front: no other trial is better in one objective "
            f"without being worse in another. In it, {listed(parts)}."
        )
    winner, metric = study.best[0], study.objectives[0].metric
    words = (
        f"Trial {winner.number} has the {study.way()} {metric} of {complete}: {value_text(metric, winner.values[0])}"
    )
    found = [f"{axis.name} {axis.text(winner.params[axis.key])}" for axis in study.axes if axis.key in winner.params]
    words += f", with {listed(found)}." if found else "."
    rest = [trial for trial in study.best[1:] if trial.duplicate_of is None]
    if len(rest) >= 2:
        second = rest[0]
        gap = abs(second.values[0] - winner.values[0])
        size = f" ({tick_text(100 * gap / abs(winner.values[0]), 2)}\u00a0%)" if winner.values[0] else ""
        behind = f"{significant(gap, 2)}{size} behind" if gap else "exactly as good"
        words += f" The second best, trial {second.number}, is {behind}."
    return words


def naive_of(study: Study, trial: TrialRecord) -> str:
    """Name the forecast that takes no side in a trial, whose loss may have been searched for."""
    return naive_name({**study.run.params, **trial.params})


def beside(study: Study, trial: TrialRecord) -> str:
    """Put a trial's validation metrics beside those of the naive forecasts; empty where it has none."""

    def metric(name: str) -> float:
        return trial.metrics.get(f"val_{name}", math.nan)

    parts = []
    mse, zero, linear = metric("mse"), metric("zero_mse"), metric("linear_mse")
    if zero > 0 and math.isfinite(mse):
        parts.append(f"its squared error is {_against(mse, zero)} that of the {naive_of(study, trial)}")
        if linear > 0:
            parts[-1] += f" and {_against(mse, linear)} that of a linear model of the same inputs"
    sharpe, hold, linear = metric("sharpe"), metric("buy_hold_sharpe"), metric("linear_sharpe")
    if math.isfinite(sharpe) and math.isfinite(hold):
        parts.append(f"its Sharpe ratio after costs is {ratio(sharpe)}, against {ratio(hold)} of buy and hold")
        if math.isfinite(linear):
            parts[-1] += f" and {ratio(linear)} of the linear model"
    return f"On the validation bars, {'; '.join(parts)}." if parts else ""


def caution(study: Study) -> str:
    """Say that the best of many is partly the luckiest; empty for a single trial."""
    tried = len(study.distinct) + study.counts.get("pruned", 0)
    if len(study.complete) < 2:
        return ""
    whose = "These are the best" if study.several else "This is the best"
    return (
        f"{whose} of {tried:,} configurations, chosen by the validation bars on which they are judged here: the more "
        "are tried, the more of the best value is luck. What is left of it, only bars that no trial has seen can tell."
    )


def _tiles(study: Study) -> list[Tile]:
    tiles = []
    complete = count(len(study.complete), "complete trial")
    for place, objective in enumerate(study.objectives if study.complete else ()):
        best = study.ranked(place)[0]
        text = value_text(objective.metric, best.values[place], 3)
        label = f"{study.way(place).capitalize()} {objective.metric}"
        tiles.append(Tile(label, text, f"trial {best.number}, best of {complete}"))
    if study.several and study.best:
        tiles.append(Tile("On the Pareto front", f"{len(study.best):,}", complete))
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
    tiles.append(Tile("Trials", f"{study.reached:,}{study.of_planned}", study.by_state))
    return tiles


def _state_notices(study: Study) -> list[Block]:
    """Say what a reader must not miss of the study: running, failed, stopped early, a direction that is assumed."""
    run, tags = study.run, study.run.tags
    over = f"{study.reached:,}{study.of_planned} trials are over"
    blocks: list[Block] = []
    if run.status == "RUNNING":
        text = f"This study is still running: {over}, and its numbers will change. If its process is gone, "
        blocks.append(Notice(text + "python -m tradingbot_exp doctor says so and can close it."))
    elif run.status in ("FAILED", "KILLED"):
        verb = "failed" if run.status == "FAILED" else "was interrupted"
        error = tags.get("error")
        blocks.append(Notice(f"This study {verb}: {over}{f'. {error}' if error else '.'}", "bad"))
        if study.record.artifacts.traceback:
            blocks.append(Details("Traceback", [Code(study.record.artifacts.traceback)]))
    if tags.get("study.stopped_early"):
        blocks.append(Notice(f"It stopped early: {tags['study.stopped_early']}."))
    if run.kind == "null_study":
        text = "This study searched on permuted targets, where there is nothing to find: what it found is luck."
        blocks.append(Notice(text))
    if study.assumed and study.complete:
        names = listed([objective.metric for objective in study.objectives])
        text = f"Whether a high or a low {names} is better is not on record: here low is taken to be better."
        blocks.append(Notice(text, "muted"))
    return blocks


def _trial_notices(study: Study) -> list[Block]:
    """Say what went wrong, or otherwise than usual, with trials."""
    blocks: list[Block] = []
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed:
        errors = Counter(trial.error or "no error on record" for trial in failed).most_common()
        told = [f"{error} ({number:,}×)" if len(failed) > 1 else error for error, number in errors]
        blocks.append(
            Notice(f"{count(len(failed), 'trial')} failed: {at_most(told, _MOST_ERRORS, '; ', 'other errors')}")
        )
    if strange := study.counts.get("complete", 0) - len(study.complete):
        trials = count(strange, "complete trial")
        blocks.append(Notice(f"{trials} without a finite value of the objective left out of all that follows."))
    if again := sum(number > 1 for number in Counter(trial.number for trial in study.trials).values()):
        blocks.append(Notice(f"{count(again, 'trial')} attempted more than once; each attempt is listed.", "muted"))
    if copies := sum(trial.duplicate_of is not None for trial in study.trials):
        text = f"{count(copies, 'trial')} came to a point that had been tried before, and took its result."
        blocks.append(Notice(text, "muted"))
    return blocks


def _against(value: float, other: float) -> str:
    share = value / other - 1
    size = percent(abs(share))
    return "equal to" if size == percent(0.0) else f"{size} {'below' if share < 0 else 'above'}"
