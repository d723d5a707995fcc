"""What a study leaves on its parent run, and the table that a person reads at its end."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState

from tradingbot_exp.experiment import load_data
from tradingbot_exp.hpo.job import KEPT_FOLDER, RETURNS_FILE
from tradingbot_exp.tracking.delivery import Record, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.session import StudyResult, StudySession
    from tradingbot_exp.hpo.study import StudyLoop

TABLE_ROWS = 5


def record_results(session: StudySession, loop: StudyLoop, result: StudyResult) -> None:
    """Record the best value, the best child, the optimisation history, all trials and the matrix of returns."""
    parent, trials = session.parent, loop.done()
    tags: dict[str, object] = {"study.stopped_early": result.stopped_early, "study.trials": len(trials)}
    if result.best:
        winner = result.best[0]
        run_id = winner.user_attrs.get("run_id")
        tags |= {
            "best.run_id": run_id,
            "best.trial": winner.number,
            "best.params": json.dumps(session.space.decode(winner.params)),
        }
        if len(session.study.directions) == 1:
            _log_best_values(session, trials)
    parent.set_tags(tags)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "trials.csv"
        trial_frame(trials).to_csv(table, index=False)
        parent.log_artifact(table, "study")
        returns = Path(scratch) / "trial_returns.parquet"
        if _write_returns(session, trials, returns):
            parent.log_artifact(returns, "evaluation")
    _log_winner(session, result)
    parent.flush()


def _log_best_values(session: StudySession, trials: Sequence[FrozenTrial]) -> None:
    """Log the optimisation history: the best value so far, a step for each finished trial.

    A point carries the time at which its trial ended, so that a resumed study logs the same points again, which
    MLflow keeps once.
    """
    better = min if session.study.direction == optuna.study.StudyDirection.MINIMIZE else max
    best: float | None = None
    points: list[list[object]] = []
    for step, trial in enumerate(trials, start=1):
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            best = trial.value if best is None else better(best, trial.value)
        if best is not None and trial.datetime_complete is not None:
            points.append(["best_value", best, int(trial.datetime_complete.timestamp() * 1000), step])
    client, _ = session.organizer.connect()
    send(client, session.parent.run_id, Record("batch", {"metrics": points}))


def trial_frame(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Lay trials out as a table: number, state, values, duration in seconds, and a column for each parameter."""
    rows = []
    for trial in trials:
        values = {f"value_{position}" if position else "value": v for position, v in enumerate(trial.values or [])}
        seconds = trial.duration.total_seconds() if trial.duration else None
        state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
        rows.append({"number": trial.number, "state": state, **values, "seconds": seconds, **trial.params})
    return pd.DataFrame(rows)


def _write_returns(session: StudySession, trials: Sequence[FrozenTrial], file: Path) -> bool:
    """Write the bars × trials matrix of validation returns: a column a complete trial, named by its number."""
    data = load_data(session.config)
    columns = {}
    for trial in trials:
        source = trial.user_attrs.get("duplicate_of", trial.number)
        saved = session.folder / f"trial-{source:04d}" / RETURNS_FILE
        if trial.state == TrialState.COMPLETE and saved.is_file():
            columns[str(trial.number)] = np.load(saved)
    if columns:
        pd.DataFrame(columns, index=data.dates(data.val)).to_parquet(file)
    return bool(columns)


def _log_winner(session: StudySession, result: StudyResult) -> None:
    """Move the kept artifacts of the winner, or of each of a Pareto front, into its run."""
    client, _ = session.organizer.connect()
    winners = result.best if len(session.study.directions) > 1 else result.best[:1]
    for trial in winners:
        number = trial.user_attrs.get("duplicate_of", trial.number)
        kept = session.folder / f"trial-{number:04d}" / KEPT_FOLDER
        if kept.is_dir():
            send(client, trial.user_attrs["run_id"], Record("artifacts", {"file": str(kept), "folder": ""}))


def result_table(session: StudySession, result: StudyResult) -> str:
    """Say how a study ended: its best trials, and the command that trains the winner again by itself."""
    hpo = session.config.hpo
    metric = hpo.metric if isinstance(hpo.metric, str) else ", ".join(hpo.metric)
    counts = [trial for trial in session.study.get_trials(deepcopy=False) if not trial.user_attrs.get("interrupted")]
    complete, pruned, failed = (sum(t.state.name == name for t in counts) for name in ("COMPLETE", "PRUNED", "FAIL"))
    lines = [
        "",
        f"Study {session.name}  (run {result.parent_id})",
        f"  {complete} complete, {pruned} pruned, {failed} failed of {hpo.num_trials}",
    ]
    if result.stopped_early:
        lines.append(f"  stopped early: {result.stopped_early}")
    if not result.best:
        return "\n".join([*lines, "  no trial is complete", ""])
    names = list(result.best[0].params)
    short = [name.rpartition(".")[2] for name in names]
    rows = [["trial", metric, *short]]
    for trial in result.best[:TABLE_ROWS]:
        values = ", ".join(f"{value:.6g}" for value in trial.values)
        rows.append([str(trial.number), values, *(_shown(trial.params[name]) for name in names)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += [
        "",
        *("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows),
    ]
    own = [word for word in session.overrides if not word.lstrip("+").startswith("hpo")]
    # The other learning rate follows by itself.
    found = [word for word in session.space.overrides(result.best[0].params) if "training.learning_rate=" not in word]
    command = " ".join(shlex.quote(word) for word in [*own, *found])
    lines += ["", "  the winner by itself:", f"  python -m tradingbot_exp.train {command}", ""]
    return "\n".join(lines)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
