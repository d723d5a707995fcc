"""How a run that did not finish ended, or how far it is."""

from __future__ import annotations

import math

from tradingbot_exp.plots.numbers import count
from tradingbot_exp.reporting.page.page import Block, Code, Details, Notice, Paragraph
from tradingbot_exp.tracking.reading.run_record import Curve, RunRecord


def ending_blocks(run: RunRecord, traceback: str | None) -> list[Block]:
    """Say how a run that did not finish ended, or how far it is, with its error and the folded traceback."""
    far = _how_far(run)
    if run.status == "RUNNING":
        text = f"This run is still running ({far}): its numbers will change. If its process is gone, "
        return [Notice(text + "python -m tradingbot_exp doctor says so and can close it.")]
    if run.status not in ("FAILED", "KILLED"):
        return []
    error = run.tags.get("error") or (traceback or "").strip().rpartition("\n")[2]
    verb = "failed" if run.status == "FAILED" else "was interrupted"
    blocks: list[Block] = [Notice(f"This run {verb} {far}{f': {error}' if error else '.'}", "bad")]
    if traceback:
        blocks.append(Details("Traceback", [Code(traceback)]))
    elif not error:
        blocks.append(Paragraph("No error is on record."))
    return blocks


def _how_far(run: RunRecord) -> str:
    """Say up to which epoch the losses go; an epoch without a finite loss is where it went wrong."""
    planned = run.params.get("training.epochs", "")
    of = f" of {planned}" if planned.isdecimal() else ""
    last = max((curve.steps[-1] for curve in _losses(run) if len(curve)), default=None)
    running = run.status == "RUNNING"
    if last is None:
        return "in its first epoch" if running else "before its first epoch was over"
    if running:
        return f"{count(last, 'epoch')}{of} done"
    diverged = any(len(curve) and not math.isfinite(curve.values[-1]) for curve in _losses(run))
    if diverged:
        return f"at epoch {last}{of}"
    if "final_loss" in run.metrics or str(last) == planned:
        return f"after training, all {count(last, 'epoch')} done"
    return f"at epoch {last + 1}{of}"


def _losses(run: RunRecord) -> list[Curve]:
    return [run.curves[name] for name in ("train_loss", "val_loss") if name in run.curves]
