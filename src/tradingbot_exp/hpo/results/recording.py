"""What a study leaves on its parent run, and the table that a person reads at its end."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pandas as pd
from filelock import FileLock
from optuna.trial import TrialState

from tradingbot_exp.data.card import GIVEN_ARRAYS
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.loop import StudyLoop
from tradingbot_exp.hpo.results.bars import Kept
from tradingbot_exp.hpo.results.matrices import MATRIX_FOLDER, trial_matrices
from tradingbot_exp.hpo.study import StudyResult, StudySession
from tradingbot_exp.hpo.trial_run import KEPT_FOLDER
from tradingbot_exp.hpo.trials import best_trials
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.send import Record, send

if TYPE_CHECKING:
    from collections.abc import Collection

    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from tradingbot_exp.tracking.store.types import MlflowClient

log = logging.getLogger(__name__)

TABLE_ROWS = 5
# What a trial's run calls the states of those that count.
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
# What a trial's run has once its artifacts were kept: see `EnhancedMLflowLogger.log_model`.
_MODEL = "model"


def record_results(session: StudySession, loop: StudyLoop, result: StudyResult) -> dict[Kept, pd.DataFrame]:
    """Record the best value, the best child, the optimisation history, all trials and the matrices of their bars.

    Returns
    -------
    dict of Kept to DataFrame
        The matrices.
    """
    parent, trials = session.parent, loop.trials.done()
    tags: dict[str, object] = {
        "study.stopped_early": result.stopped_early,
        "study.trials": len(trials),
        "study.configurations": configurations(trials),
    }
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
        matrices = trial_matrices(session, trials)
        for kept, matrix in matrices.items():
            if not matrix.empty:
                file = Path(scratch) / kept.name
                matrix.to_parquet(file)
                parent.log_artifact(file, MATRIX_FOLDER)
    _log_winners(session, result)
    parent.flush()
    return matrices


def configurations(trials: Sequence[FrozenTrial]) -> int:
    """Count the distinct points that trials were made at, however they ended."""
    return len({json.dumps(trial.params, sort_keys=True) for trial in trials})


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
    """Lay trials out as a table.

    Returns
    -------
    DataFrame
        Of each trial number, state, values, the trial at the same point whose values it took if any, duration in
        seconds, and a column for each parameter.
    """
    rows = []
    for trial in trials:
        values = {f"value_{position}" if position else "value": v for position, v in enumerate(trial.values or [])}
        seconds = trial.duration.total_seconds() if trial.duration else None
        known = {
            "number": trial.number,
            "state": STATES[trial.state],
            **values,
            "duplicate_of": trial.user_attrs.get("duplicate_of"),
        }
        rows.append({**known, "seconds": seconds, **trial.params})
    return pd.DataFrame(rows).astype({"duplicate_of": "Int64"}) if rows else pd.DataFrame()


def losers(study: Study) -> set[int]:
    """Give the numbers of the trials that are over and whose artifacts nobody wants.

    These are all but the best one or, of several objectives, those on the Pareto front. Of trials at one point,
    the first has the artifacts.
    """
    best = best_trials(study)
    winners = {trial.number for trial in (best if len(study.directions) > 1 else best[:1])}
    over = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    return over - winners


def drop_staged(folder: Path, numbers: Collection[int]) -> None:
    """Remove the artifacts that trials have staged below a study's folder."""
    for number in numbers:
        shutil.rmtree(folder / trial_name(number) / KEPT_FOLDER, ignore_errors=True)


def _log_winners(session: StudySession, result: StudyResult) -> None:
    """Move the staged artifacts of the winner, or of each of a Pareto front, into its run; the losers' go."""
    if session.config.hpo.keep == "none" or not result.best:
        return
    several = len(session.study.directions) > 1
    winners = [trial for trial in result.best if "duplicate_of" not in trial.user_attrs] if several else result.best[:1]
    client, _ = session.organizer.connect()
    session.folder.mkdir(parents=True, exist_ok=True)
    # Of several processes on one study, the second finds them moved.
    with FileLock(session.folder / ".artifacts.lock"):
        missing = [trial for trial in winners if not _log_winner(session, client, trial)]
        if session.config.hpo.keep == "best":
            drop_staged(session.folder, losers(session.study))
    session.parent.set_tags({"best.artifacts": "missing" if missing else "kept"})
    for trial in missing:
        log.warning(
            "The model and plots of trial %d are not on this machine, and not in its run %s. To make them again: %s",
            trial.number,
            trial.user_attrs.get("run_id"),
            _command(session, trial) or "give its parameters to train_model",
        )


def _log_winner(session: StudySession, client: MlflowClient, trial: FrozenTrial) -> bool:
    """Move the staged artifacts of one trial into its run; False if neither place has them."""
    run_id = str(trial.user_attrs.get("run_id"))
    number = trial.user_attrs.get("duplicate_of", trial.number)
    kept = session.folder / trial_name(number) / KEPT_FOLDER
    with wrapped(f"The artifacts of trial {trial.number} cannot be recorded"):
        if (kept / _MODEL).is_dir():
            send(client, run_id, Record("artifacts", {"file": str(kept), "folder": ""}))
            shutil.rmtree(kept, ignore_errors=True)
            return True
        return _MODEL in [found.path for found in client.list_artifacts(run_id)]


def result_table(session: StudySession, result: StudyResult, judged: Sequence[str] = (), alias: str = "") -> str:
    """Say how a study ended: its best trials, what is said of the winner, and the command that trains it again."""
    hpo = session.config.hpo
    metric = ", ".join(objective.metric for objective in objectives_of(hpo))
    if session.config.evaluation.scheme != "chronological":
        metric += f" ({hpo.aggregate.replace('_', ' ')} of {session.config.evaluation.folds} folds)"
    if hpo.repeats > 1:
        metric += f" (mean of {hpo.repeats} seeds)"
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
    registered = [f"  its model is registered as {session.registered} ({alias})"] if session.registered else []
    said = ["", *(f"  {line}" for line in judged)] if judged else []
    return "\n".join([*lines, *said, "", *_winner_alone(session, result.best[0]), *registered, ""])


def _winner_alone(session: StudySession, trial: FrozenTrial) -> list[str]:
    """Say how the winner is trained by itself; of given arrays no command knows, so that its parameters have to do."""
    command = _command(session, trial)
    if command:
        return ["  the winner by itself:", f"  {command}"]
    found = session.space.decode(trial.params).items()
    return ["  the winner's parameters:", *(f"  config.{key} = {value!r}" for key, value in found)]


def _command(session: StudySession, trial: FrozenTrial) -> str:
    """Give the command that trains a trial by itself; empty for arrays that `run_hpo_study` was given."""
    if load_data(session.config).card.get("source") == GIVEN_ARRAYS:
        return ""
    own = [word for word in session.overrides if not word.lstrip("+").startswith(("hpo", "tracking.register="))]
    # The other learning rate follows by itself.
    found = [word for word in session.space.overrides(trial.params) if "training.learning_rate=" not in word]
    return " ".join(["python -m tradingbot_exp.train", *(shlex.quote(word) for word in [*own, *found])])


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def drop_losers(session: StudySession, ran: Iterable[int]) -> None:
    """Remove the artifacts of trials that were the best for a while, of those that ran here; `ran` did just now."""
    if session.config.hpo.keep == "best":
        session.staged.update(ran)
        over = session.staged & losers(session.study)
        drop_staged(session.folder, over)
        session.staged -= over
