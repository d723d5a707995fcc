"""What a person reads at the end of a run: its name, its numbers beside the naive baselines, and where all is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.plugins import OWN_METRICS
from tradingbot_exp.evaluation.metrics.target import NAIVE
from tradingbot_exp.tracking.store.places import run_page, ui_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tradingbot_exp.tracking.writing.run import TrackedRun

# Label, metric, format, baseline's label (of the forecast that takes no side none), baseline's metric.
ROWS = (
    ("MSE", "val_mse", ".4e", "", "val_zero_mse"),
    ("MAE", "val_mae", ".4e", "", ""),
    ("R2 against the train mean", "val_r2", ".4f", "", ""),
    ("IC (Pearson)", "val_ic", ".4f", "linear model", "val_linear_ic"),
    ("rank IC (Spearman)", "val_rank_ic", ".4f", "", ""),
    ("hit rate", "val_hit_rate", ".1%", "", ""),
    ("Sharpe ratio a year, net", "val_sharpe", ".2f", "buy and hold", "val_buy_hold_sharpe"),
    ("Sortino ratio a year, net", "val_sortino", ".2f", "", ""),
    ("maximum drawdown", "val_max_drawdown", ".1%", "", ""),
    ("turnover a bar", "val_turnover", ".2f", "", ""),
    ("growth a year, net", "val_cagr", ".1%", "buy and hold", "val_buy_hold_cagr"),
    ("alpha a year, net", "val_alpha", ".1%", "", ""),
    ("beta to buy and hold", "val_beta", ".2f", "", ""),
    ("Sharpe ratio at lag 0", "val_sharpe_lag0", ".2f", "at lag 1", "val_sharpe_lag1"),
)


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
    for label, name, form, baseline, baseline_name in ROWS:
        line = f"  {label:<28}{_number(metrics, name, form):>12}  {_interval(metrics, name, form):<20}"
        if baseline_name:
            line += f"{_number(metrics, baseline_name, form)} ({baseline or naive})"
        lines.append(line.rstrip())
    own = [f"val_{name}" for name in OWN_METRICS]
    return [*lines, *(f"  {name:<28}{_number(metrics, name, '.4g'):>12}" for name in own)]


def _number(metrics: Mapping[str, float], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else "-"


def _interval(metrics: Mapping[str, float], name: str, form: str) -> str:
    ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
    return " to ".join(format(end, form) for end in ends if end is not None)


def print_summary(run: TrackedRun, report: Path | None = None, naive: str = NAIVE[0.0]) -> None:
    """Print the end of a run, and where its report is; a trial of a sweep gets one line."""
    out = sys.stdout
    metrics = run.metrics
    epochs = (
        f"best epoch {metrics.get('best_epoch', 0):.0f}, best validation loss {metrics.get('best_val_loss', 0):.4e}"
    )
    if run.parent is not None:
        out.write(f"{run.name} ({run.run_id})  final loss {metrics.get('final_loss', float('nan')):.4e}  {epochs}\n")
        out.flush()
        return
    lines = ["", f"Run {run.name}  (id {run.run_id})", f"  {epochs}", "", *metric_lines(metrics, naive), ""]
    if run.delivery.failure is None:
        lines += [
            *([] if report is None else [f"  report     {report}"]),
            f"  artifacts  {run.artifact_place}",
            f"  show them  {ui_command(run.uri, launch_dir())}",
            f"  then open  {run_page(run.uri, run.delivery.experiment_id, run.run_id)}",
        ]
    else:
        lines += [f"  records    kept in {run.delivery.unsent_folder}, not yet in MLflow"]
    out.write("\n".join([*lines, ""]) + "\n")
    out.flush()
