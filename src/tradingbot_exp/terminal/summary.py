"""What a person reads at the end of a run: its name, its numbers beside the naive baselines, and where all is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tradingbot_exp.config.metrics import OWN_METRICS, TABLE, Form, Rival
from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.registries import USER_METRICS
from tradingbot_exp.evaluation.metrics.target import NAIVE
from tradingbot_exp.runtime.text import one_line
from tradingbot_exp.terminal.output import say
from tradingbot_exp.tracking.store.places import run_page, ui_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tradingbot_exp.tracking.writing.run import TrackedRun

_FORMATS: dict[Form, str] = {"error": ".4e", "share": ".4f", "correlation": ".4f", "percent": ".1%", "ratio": ".2f"}
_RIVALS: dict[Rival, str] = {"linear": "linear model", "buy_hold": "buy and hold", "lag1": "at lag 1", "zero": ""}
_SHOWN = (*OWN_METRICS, "sharpe_lag0")


class Row(NamedTuple):
    """A row of the table: label, metric without ``val_``, format, and the rival's label and metric, if there is one.

    The label of the forecast that takes no side is empty.
    """

    label: str
    name: str
    form: str
    rival: str
    rival_name: str


def rows() -> list[Row]:
    """Return the rows of the table of metrics, in its order."""
    found = []
    for row in (TABLE[name] for name in _SHOWN):
        rival = row.rivals[0] if row.rivals else ""
        beside = f"{row.base}_lag1" if rival == "lag1" else f"{rival}_{row.name}" if rival else ""
        found.append(Row(row.label, row.name, _FORMATS[row.form], _RIVALS[rival] if rival else "", beside))
    return found


def metric_lines(metrics: Mapping[str, float], naive: str = NAIVE[0.0]) -> list[str]:
    """Lay validation metrics out: the model, its interval where there is one, and the naive baseline.

    Parameters
    ----------
    metrics : mapping of str to float
        Missing ones were not defined and are shown as a dash.
    naive : str
        What the forecast that takes no side is called: see `naive_name`.
    """
    lines = [f"  {'validation':<28}{'model':>12}  {'95 % interval':<20}{'baseline'}"]
    for label, name, form, rival, rival_name in rows():
        if TABLE[name].panel and f"val_{name}" not in metrics:  # of one instrument there is none
            continue
        model, interval = metric_text(metrics, f"val_{name}", form), _interval(metrics, f"val_{name}", form)
        line = f"  {label:<28}{model:>12}  {interval:<20}"
        if rival_name:
            line += f"{metric_text(metrics, f'val_{rival_name}', form)} ({rival or naive})"
        lines.append(line.rstrip())
    own = [f"val_{name}" for name in USER_METRICS]
    return [*lines, *(f"  {name:<28}{metric_text(metrics, name, '.4g'):>12}" for name in own)]


def metric_text(metrics: Mapping[str, float], name: str, form: str) -> str:
    """Write a metric in its format, or a dash for one that was not defined."""
    return format(metrics[name], form) if name in metrics else "-"


def _interval(metrics: Mapping[str, float], name: str, form: str) -> str:
    ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
    return " to ".join(format(end, form) for end in ends if end is not None)


def print_summary(run: TrackedRun, report: Path | None = None, naive: str = NAIVE[0.0]) -> None:
    """Print the end of a run, and where its report is; a trial of a sweep gets one line."""
    metrics = run.metrics
    epochs = (
        f"best epoch {metrics.get('best_epoch', 0):.0f}, best validation loss {metrics.get('best_val_loss', 0):.4e}"
    )
    networks = sum(name.endswith("/best_epoch") for name in metrics)
    if networks:
        own = f"{metrics.get('final_loss', math.nan):.4e}"
        epochs = f"the mean of {networks} networks, whose validation loss is {own}; of a network on average: {epochs}"
    if run.parent is not None:
        say(
            f"{one_line(run.name)} ({run.run_id})  final loss {metrics.get('final_loss', float('nan')):.4e}  {epochs}\n"
        )
        return
    lines = ["", f"Run {one_line(run.name)}  (id {run.run_id})", f"  {epochs}", "", *metric_lines(metrics, naive), ""]
    if run.delivery.failure is None:
        lines += [
            *([] if report is None else [f"  report     {report}"]),
            f"  artifacts  {run.artifact_place}",
            f"  show them  {ui_command(run.uri, launch_dir())}",
            f"  then open  {run_page(run.uri, run.delivery.experiment_id, run.run_id)}",
        ]
    else:
        lines += [f"  records    kept in {run.delivery.unsent_folder}, not yet in MLflow"]
    say("\n".join([*lines, ""]) + "\n")
