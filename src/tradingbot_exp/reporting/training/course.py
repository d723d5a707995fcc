"""How a training went: its losses, best epoch, learning rate and stop, as blocks of a report."""

from __future__ import annotations

import math

from tradingbot_exp.plots.numbers import count, percent, significant
from tradingbot_exp.plots.training import learning_rate, loss_curves
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Facts, Figure, Notice
from tradingbot_exp.tracking.reading.run_record import Curve, RunRecord


def course_blocks(run: RunRecord) -> list[Block]:
    """Draw the losses of each epoch, and say when it was best, why it stopped, and what the learning rate did."""
    train, val = (run.curves.get(name, Curve()) for name in ("train_loss", "val_loss"))
    if not (len(train) or len(val)):
        return [Notice("No losses are on record, so there are no curves to draw.", "muted")]
    if not any(math.isfinite(value) for value in (*train.values, *val.values)):
        return [
            Facts(_facts(run, train, val, None)),
            Notice("No epoch has a finite loss, so there are no curves to draw."),
        ]
    best = _best_epoch(val)
    loss = run.params.get("training.loss", "loss")
    fig = loss_curves(train.points, val.points, best, loss)
    fig.update_layout(height=440)
    blocks: list[Block] = [Facts(_facts(run, train, val, best)), Figure(fig, _course(train, val, best))]
    rates = run.curves.get("learning_rate", Curve())
    if len(set(rates.values)) > 1:
        text = f"The learning rate goes from {significant(rates.values[0])} to {significant(rates.values[-1])}."
        blocks.append(Figure(learning_rate(rates.points), text))
    return blocks


def _facts(run: RunRecord, train: Curve, val: Curve, best: int | None) -> list[tuple[str, Cell]]:
    done = len({*train.steps, *val.steps})
    planned = run.params.get("training.epochs", "")
    facts = [("Epochs", Cell(f"{done:,}" + (f" of {planned}" if planned.isdecimal() else ""), sort=done))]
    if best is not None:
        value = val.values[val.steps.index(best)]
        facts.append(("Best epoch", Cell(f"{best:,}", sort=best)))
        facts.append(("Best validation loss", number_cell(value, significant)))
    if len(val):
        facts.append(("Last validation loss", number_cell(val.values[-1], significant)))
    rate = run.params.get("training.learning_rate")
    if rate and len(set(run.curves.get("learning_rate", Curve()).values)) <= 1:
        facts.append(("Learning rate", Cell(f"{rate} throughout")))
    patience = run.params.get("training.early_stopping", "")
    if patience.isdecimal() and int(patience):
        text = f"after {count(int(patience), 'epoch')} without a better validation loss"
        facts.append(("Early stop", Cell(text + _stop(run, max((*train.steps, *val.steps)), planned))))
    elif patience:
        facts.append(("Early stop", Cell("off: the model is that of the last epoch")))
    return facts


def _stop(run: RunRecord, last: int, planned: str) -> str:
    """Say whether a run with early stopping made use of it."""
    if run.tags.get("trial.state") == "pruned":
        return f": not what ended it: the study pruned this trial after epoch {last:,}"
    if run.status != "FINISHED" or not planned.isdecimal():
        return ""
    return f": stopped at epoch {last:,}" if last < int(planned) else ": not needed"


def _best_epoch(val: Curve) -> int | None:
    """Give the first epoch with the lowest finite validation loss."""
    finite = [(value, step) for step, value in zip(val.steps, val.values, strict=True) if math.isfinite(value)]
    return min(finite)[1] if finite else None


def _course(train: Curve, val: Curve, best: int | None) -> str:
    """Say in words how the losses went."""
    if best is None:
        return "No epoch has a finite validation loss."
    lowest, last = val.values[val.steps.index(best)], val.values[-1]
    text = f"The validation loss is lowest, {significant(lowest)}, at epoch {best} of {val.steps[-1]}"
    if math.isfinite(last) and last > lowest:
        text += f" and ends {percent(last / lowest - 1)} higher" if lowest > 0 else " and ends higher"
    if len(train) and math.isfinite(train.values[-1]):
        text += f"; the train loss ends at {significant(train.values[-1])}"
    return f"{text}."
