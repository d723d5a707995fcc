"""How a training went: its losses, best epoch, learning rate and stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tradingbot_exp.config.losses import loss_title
from tradingbot_exp.plots.numbers import count, percent, significant
from tradingbot_exp.plots.training_history import learning_rate, training_history
from tradingbot_exp.reporting.page.blocks import best_epoch, count_cell, number_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Facts, Figure, Notice
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.tracking.reading.run_record import Curve, RunRecord


@dataclass(frozen=True)
class Course:
    """The losses of a run by epoch; `best` is the epoch of the lowest finite validation loss, None without one."""

    train: Curve
    val: Curve
    rates: Curve
    best: int | None
    planned: str
    """As configured; empty if that is not a number."""


def course_of(run: RunRecord) -> Course:
    """Read the curves of a run."""
    train, val, rates = (run.curves.get(name, Curve()) for name in ("train_loss", "val_loss", "learning_rate"))
    planned = run.params.get("training.epochs", "")
    return Course(train, val, rates, best_epoch(val), planned if planned.isdecimal() else "")


def course_blocks(trained: Trained) -> list[Block]:
    """Draw the losses of each epoch, and say when it was best, why it stopped, and what the learning rate did."""
    run, course = trained.run, course_of(trained.run)
    if not (len(course.train) or len(course.val)):
        return [Notice("No losses are on record, so there are no curves to draw.", "muted")]
    facts = Facts(_facts(run, course))
    if not any(math.isfinite(value) for value in (*course.train.values, *course.val.values)):
        return [facts, Notice("No epoch has a finite loss, so there are no curves to draw.")]
    fig = training_history(course.train.points, course.val.points, course.best, loss_title(run.params))
    fig.update_layout(height=440)
    blocks: list[Block] = [facts, Figure(fig, _words(course))]
    rates = course.rates
    if len(set(rates.values)) > 1:
        text = f"The learning rate goes from {significant(rates.values[0])} to {significant(rates.values[-1])}."
        blocks.append(Figure(learning_rate(rates.points), text))
    return blocks


def _facts(run: RunRecord, course: Course) -> list[tuple[str, Cell]]:
    val, best = course.val, course.best
    steps = {*course.train.steps, *val.steps}
    facts = [("Epochs", Cell(f"{len(steps):,}" + (f" of {course.planned}" if course.planned else ""), sort=len(steps)))]
    if best is not None:
        facts.append(("Best epoch", count_cell(best)))
        facts.append(("Best validation loss", number_cell(val.values[val.steps.index(best)], significant)))
    if len(val):
        facts.append(("Last validation loss", number_cell(val.values[-1], significant)))
    rate = run.params.get("training.learning_rate")
    if rate and len(set(course.rates.values)) <= 1:
        facts.append(("Learning rate", Cell(f"{rate} throughout")))
    patience = run.params.get("training.early_stopping", "")
    if patience.isdecimal() and int(patience):
        text = f"after {count(int(patience), 'epoch')} without a better validation loss"
        facts.append(("Early stop", Cell(text + _stop(run, max(steps), course.planned))))
    elif patience:
        facts.append(("Early stop", Cell("off: the model is that of the last epoch")))
    return facts


def _stop(run: RunRecord, last: int, planned: str) -> str:
    """Say whether a run with early stopping made use of it."""
    if run.tags.get("trial.state") == "pruned":
        return f": not what ended it: the study pruned this trial after epoch {last:,}"
    if run.status != "FINISHED" or not planned:
        return ""
    return f": stopped at epoch {last:,}" if last < int(planned) else ": not needed"


def _words(course: Course) -> str:
    """Say in words how the losses went."""
    train, val, best = course.train, course.val, course.best
    if best is None:
        return "No epoch has a finite validation loss."
    lowest, last = val.values[val.steps.index(best)], val.values[-1]
    text = f"The validation loss is lowest, {significant(lowest)}, at epoch {best} of {val.steps[-1]}"
    if math.isfinite(last) and last > lowest:
        text += f" and ends {percent(last / lowest - 1)} higher" if lowest > 0 else " and ends higher"
    if len(train) and math.isfinite(train.values[-1]):
        text += f"; the train loss ends at {significant(train.values[-1])}"
    return f"{text}."
