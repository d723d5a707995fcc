"""What a study leaves on its run in MLflow, and of its trials on this machine."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pandas as pd
from filelock import FileLock
from optuna.trial import TrialState

from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.results.bars import Kept
from tradingbot_exp.hpo.results.matrices import MATRIX_FOLDER, trial_matrices
from tradingbot_exp.hpo.results.table import command_of
from tradingbot_exp.hpo.trial_run import KEPT_FOLDER
from tradingbot_exp.hpo.trials import STATES, best_or_front
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.store.places import inside, require_unlinked
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.send import Record
from tradingbot_exp.tracking.writing.outbox.unsent import unsent_folder

if TYPE_CHECKING:
    from collections.abc import Collection

    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.study import Study, StudyResult
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

# What a trial's run has once its artifacts were kept: see `EnhancedMLflowLogger.log_model`.
_MODEL = "model"


def record_results(
    study: Study, parent: TrackedRun, store: Store, trials: Sequence[FrozenTrial], result: StudyResult
) -> dict[Kept, pd.DataFrame]:
    """Record the best value, the best child, the optimisation history, all trials and the matrices of their bars.

    Parameters
    ----------
    study : Study
    parent : TrackedRun
        The study's run.
    store : Store
    trials : sequence of FrozenTrial
        Those that count.
    result : StudyResult

    Returns
    -------
    dict of Kept to DataFrame
        The matrices.
    """
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
            "best.params": json.dumps(study.space.decode(winner.params)),
        }
        if len(study.optuna.directions) == 1:
            parent.delivery.put(Record("batch", {"metrics": _best_values(study.optuna, trials)}))
    parent.set_tags(tags)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "trials.csv"
        trial_frame(trials).to_csv(table, index=False)
        parent.log_artifact(table, "study")
        index = load_data(study.config).index
        matrices = trial_matrices(trials, study.folder, index, store, parent.run_id)
        for kept, matrix in matrices.items():
            if not matrix.empty:
                file = Path(scratch) / kept.name
                matrix.to_parquet(file)
                parent.log_artifact(file, MATRIX_FOLDER)
    _log_winners(study, parent, store, result)
    parent.flush()
    return matrices


def configurations(trials: Sequence[FrozenTrial]) -> int:
    """Count the distinct points that trials were made at, however they ended."""
    return len({json.dumps(trial.params, sort_keys=True) for trial in trials})


def _best_values(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[list[object]]:
    """Return the optimisation history: the best value so far, a step for each finished trial.

    A point carries the time at which its trial ended, so that a resumed study logs the same points again, which
    MLflow keeps once.
    """
    better = min if study.direction == optuna.study.StudyDirection.MINIMIZE else max
    best: float | None = None
    points: list[list[object]] = []
    for step, trial in enumerate(trials, start=1):
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            best = trial.value if best is None else better(best, trial.value)
        if best is not None and trial.datetime_complete is not None:
            points.append(["best_value", best, int(trial.datetime_complete.timestamp() * 1000), step])
    return points


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


def losers(study: optuna.Study, ensemble: int = 1) -> set[int]:
    """Return the numbers of the trials that are over and whose artifacts nobody wants: see `best_or_front`.

    Of trials at one point, the first has the artifacts.
    """
    winners = {trial.number for trial in best_or_front(study, ensemble)}
    over = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    return over - winners


def drop_staged(folder: Path, numbers: Collection[int]) -> None:
    """Remove the artifacts that trials have staged below a study's folder."""
    for number in numbers:
        shutil.rmtree(inside(folder, f"{trial_name(number)}/{KEPT_FOLDER}"), ignore_errors=True)


def _log_winners(study: Study, parent: TrackedRun, store: Store, result: StudyResult) -> None:
    """Move the staged artifacts of the winner, or of each that is wanted, into its run; the losers' go."""
    if study.config.hpo.keep == "none" or not result.best:
        return
    wanted = best_or_front(study.optuna, study.config.hpo.ensemble)
    winners = [trial for trial in wanted if "duplicate_of" not in trial.user_attrs]
    study.folder.mkdir(parents=True, exist_ok=True)
    # Of several processes on one study, the second finds them moved.
    with FileLock(study.folder / ".artifacts.lock"):
        missing = [trial for trial in winners if not _log_winner(study.folder, store, trial)]
        if study.config.hpo.keep == "best":
            drop_staged(study.folder, losers(study.optuna, study.config.hpo.ensemble))
    parent.set_tags({"best.artifacts": "missing" if missing else "kept"})
    for trial in missing:
        log.warning(
            "The model and plots of trial %d are not on this machine, and not in its run %s. To make them again: %s",
            trial.number,
            trial.user_attrs.get("run_id"),
            command_of(study, trial) or "give its parameters to train_model",
        )


def _log_winner(folder: Path, store: Store, trial: FrozenTrial) -> bool:
    """Move the staged artifacts of one trial into its run; False if neither place has them."""
    run_id = str(trial.user_attrs.get("run_id"))
    kept = inside(folder, f"{trial_name(trial.number)}/{KEPT_FOLDER}")
    run = store.run(run_id)
    if not (kept / _MODEL).is_dir():
        return store.has_model(run)
    require_unlinked(kept)
    delivery = Delivery.attach(store.client, run, unsent_folder(), store.uri)
    delivery.put(Record("artifacts", {"file": str(kept), "folder": ""}))
    delivery.settle(patiently=True)
    delivery.forget()
    shutil.rmtree(kept, ignore_errors=True)
    return True
