"""The sentences of a study report that sum it up: what was found, beside what, out of how many, and what went wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from tradingbot_exp.evaluation.metrics.target import naive_name
from tradingbot_exp.plots.numbers import count, duration, percent, ratio, significant
from tradingbot_exp.reporting.page.page import Block, Code, Details, Notice
from tradingbot_exp.reporting.study.axes import tick_text
from tradingbot_exp.reporting.study.numbers import Study, value_text
from tradingbot_exp.tracking.reading.records import StudyRecord, TrialRecord

_MOST_ERRORS = 3


def headline(study: Study) -> str:
    """Say what the best trial is, with its parameters, and how far ahead of the next."""
    if not study.trials:
        return "No trial is on record."
    if not study.complete:
        return "No trial is complete, so there is no best one yet." if _open(study) else "No trial is complete."
    if study.several:
        parts = []
        for place, objective in enumerate(study.objectives):
            best = study.ranked(place)[0]
            text = value_text(objective.metric, best.values[place])
            way = "highest" if objective.sign < 0 else "lowest"
            parts.append(f"the {way} {objective.metric}, {text}, is that of trial {best.number}")
        are = "is" if len(study.best) == 1 else "are"
        words = f"Of {count(len(study.complete), 'complete trial')}, {len(study.best)} {are} on the Pareto front: "
        return (
            f"{words}no other trial is better in one objective without being worse in another. In it, {listed(parts)}."
        )
    winner = study.best[0]
    objective = study.objectives[0]
    way = "highest" if objective.sign < 0 else "lowest"
    words = (
        f"Trial {winner.number} has the {way} {objective.metric} of {count(len(study.complete), 'complete trial')}: "
    )
    words += value_text(objective.metric, winner.values[0])
    params = params_text(study, winner)
    words += f", with {params}." if params else "."
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


def trials_text(study: Study) -> str:
    """Count the trials by how they ended, of how many there were to be."""
    parts = [f"{number:,} {state}" for state, number in study.counts.items()]
    return f"{', '.join(parts) or 'none'}{study.of_planned}"


def params_text(study: Study, trial: TrialRecord) -> str:
    """Name a trial's parameters with their values."""
    found = [f"{axis.name} {axis.text(trial.params[axis.key])}" for axis in study.axes if axis.key in trial.params]
    return listed(found)


def state_notices(study: Study, record: StudyRecord) -> list[Block]:
    """Say what a reader must not miss: still running, failed, stopped early, failed trials, values that are none."""
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
        if record.artifacts.traceback:
            blocks.append(Details("Traceback", [Code(record.artifacts.traceback)]))
    if tags.get("study.stopped_early"):
        blocks.append(Notice(f"It stopped early: {tags['study.stopped_early']}."))
    if run.kind == "null_study":
        text = "This study searched on permuted targets, where there is nothing to find: what it found is luck."
        blocks.append(Notice(text))
    if study.assumed and study.complete:
        names = listed([objective.metric for objective in study.objectives])
        text = f"Whether a high or a low {names} is better is not on record: here low is taken to be better."
        blocks.append(Notice(text, "muted"))
    return [*blocks, *_trial_notices(study)]


def listed(parts: Sequence[str]) -> str:
    """Join parts as a sentence does."""
    return " and ".join([part for part in (", ".join(parts[:-1]), parts[-1]) if part]) if parts else ""


def time_words(study: Study) -> str:
    """Say how long trials took, how many ran at once, and what pruning saved."""
    taken = [trial.seconds for trial in study.trials if trial.seconds is not None]
    if not taken:
        return "No trial has ended, so there are no durations."
    words = f"A trial took {duration(taken[0])}"
    if len(taken) > 1:
        words = f"Half of the trials took at most {duration(median(taken))}, all of them {duration(min(taken))} to "
        words += duration(max(taken))
    words += f"; all together {duration(sum(taken))}." if len(taken) > 1 else "."
    start = min(trial.started for trial in study.trials)
    ends = [(trial.started - start).total_seconds() + (trial.seconds or 0) for trial in study.trials]
    if len(taken) > 1 and max(ends) > 0:
        words += f" From the first start to the last end {duration(max(ends))} passed: "
        words += f"{ratio(sum(taken) / max(ends), 1)} trials at work on average."
    pruned = [len(trial.curve) for trial in study.trials if trial.state == "pruned" and len(trial.curve)]
    epochs = study.run.params.get("training.epochs", "")
    if pruned and epochs.isdecimal():
        saved = sum(max(int(epochs) - done, 0) for done in pruned)
        words += f" Pruning saved {count(saved, 'epoch')} of {count(len(pruned), 'trial')}."
    return words


def _trial_notices(study: Study) -> list[Block]:
    blocks: list[Block] = []
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed:
        errors = Counter(trial.error or "no error on record" for trial in failed).most_common()
        told = [f"{error} ({number:,}×)" if len(failed) > 1 else error for error, number in errors[:_MOST_ERRORS]]
        more = f"; and {len(errors) - _MOST_ERRORS} other errors" if len(errors) > _MOST_ERRORS else ""
        blocks.append(Notice(f"{count(len(failed), 'trial')} failed: {'; '.join(told)}{more}"))
    strange = study.counts.get("complete", 0) - len(study.complete)
    if strange:
        text = (
            f"{count(strange, 'complete trial')} without a finite value of the objective left out of all that follows."
        )
        blocks.append(Notice(text))
    retried = Counter(trial.number for trial in study.trials)
    again = sum(number > 1 for number in retried.values())
    if again:
        blocks.append(Notice(f"{count(again, 'trial')} attempted more than once; each attempt is listed.", "muted"))
    copies = sum(trial.duplicate_of is not None for trial in study.trials)
    if copies:
        text = f"{count(copies, 'trial')} came to a point that had been tried before, and took its result."
        blocks.append(Notice(text, "muted"))
    return blocks


def _against(value: float, other: float) -> str:
    share = value / other - 1
    size = percent(abs(share))
    return "equal to" if size == percent(0.0) else f"{size} {'below' if share < 0 else 'above'}"


def _open(study: Study) -> bool:
    return study.run.status == "RUNNING" or "running" in study.counts
