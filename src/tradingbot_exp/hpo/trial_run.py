"""What a job does for a trial: train over its seeds, report to the pruner, keep what has to be kept."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.config.finalize import flatten
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.evaluation.metrics.objectives import dominates, objectives_of, why_not_finite
from tradingbot_exp.experiment.fitting import Fitting, fit_all
from tradingbot_exp.experiment.job import Job, build
from tradingbot_exp.experiment.recording import identifying_tags, record_artifacts, report_undefined
from tradingbot_exp.experiment.results import Evaluated, evaluate, objectives
from tradingbot_exp.hpo.results.bars import save_bars
from tradingbot_exp.hpo.trial_spec import Pruned, TrialSpec
from tradingbot_exp.training.history import mean_history
from tradingbot_exp.training.listeners import Curves

if TYPE_CHECKING:
    from optuna.study import Study

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.writing.run import TrackedRun
    from tradingbot_exp.training.history import History
    from tradingbot_exp.training.state import Epoch

# In a trial's folder: the artifacts of a winner so far.
KEPT_FOLDER = "kept"
REFRESH_SECONDS = 0.3


def run_trial(config: Config, run: TrackedRun, spec: TrialSpec, folder: Path) -> list[float] | Pruned:
    """Train the configuration of one trial and record it in its run.

    Parameters
    ----------
    config : Config
        With the trial's values.
    run : TrackedRun
        The trial's own; it gets params, tags and metrics.
    spec : TrialSpec
    folder : Path
        The trial's own, for what may be kept.

    Returns
    -------
    list of float, or Pruned
        The values of `hpo.metric`, over folds as `hpo.aggregate` says, then averaged over `hpo.repeats` seeds.

    Raises
    ------
    TrainingError
        An objective is not finite; the message says why.
    """
    trial = Trial(config, run, spec, folder)
    while trial.goes_on:
        trial.fitted(*fit_all([trial.next()]))
    if isinstance(trial.outcome, Exception):
        raise trial.outcome
    if trial.outcome is None:
        trial.judge()
        trial.keep(worth_keeping(config, spec, trial.values))
    return trial.outcome if isinstance(trial.outcome, Pruned) else trial.values


class Trial:
    """One trial on its way: built, trained a seed at a time or all at once, judged, and kept or not.

    Parameters
    ----------
    config, run, spec, folder
        See `run_trial`.
    study : optuna.Study, optional
        The trial's, where this process has it open.

    Attributes
    ----------
    outcome : Pruned, Exception or None
        What ended the trial before it could be judged.
    values : list of float
        Once it is judged, those of `hpo.metric`.
    """

    def __init__(
        self, config: Config, run: TrackedRun, spec: TrialSpec, folder: Path, study: Study | None = None
    ) -> None:
        config = replace(config, training=replace(config.training, progress="off"))
        self.config, self.run, self.spec, self.folder = config, run, spec, folder
        self.outcome: Pruned | Exception | None = None
        self.values: list[float] = []
        self._jobs = [build(replace(config, seed=config.seed + shift), run) for shift in range(config.hpo.repeats)]
        self._histories: list[list[History]] = []
        self._results: list[Evaluated] = []
        self._watched = [Progress(folder)] if spec.watched else []
        ask = None
        if spec.storage and spec.pruner != "none":
            ask = _pruner(study or _open_study(spec.storage, spec.study, spec.pruner), spec.number)
        self._pruning = [Pruning(config, ask, position) for position in range(len(self._jobs))]
        first = self._jobs[0]
        tags = {**identifying_tags(first.config, first.data), "engine": "single"}  # unless it comes to a stack
        run.log_batch(dict(flatten(asdict(first.config))), tags)

    @property
    def goes_on(self) -> bool:
        """Whether there is another seed to train."""
        return self.outcome is None and len(self._histories) < len(self._jobs)

    def next(self) -> Fitting:
        """Return the next seed to train."""
        return self._fitting(len(self._histories))

    def rest(self) -> list[Fitting]:
        """Return all seeds that are still to be trained."""
        return [self._fitting(position) for position in range(len(self._histories), len(self._jobs))]

    def _fitting(self, position: int) -> Fitting:
        job = self._jobs[position]
        prefix = f"seed_{job.config.seed}/" if len(self._jobs) > 1 else ""
        curves = Curves(self.run, prefix, len(job.folds))
        return Fitting(job, [curves, *self._watched, self._pruning[position]])

    def fitted(self, outcome: list[History] | Exception) -> None:
        """Take note of how the training of a seed ended, its folds' histories, in the order of the seeds."""
        if self.outcome is not None:
            return
        if isinstance(outcome, Exception):
            self.outcome = outcome
            return
        self.outcome = self._pruning[len(self._histories)].at
        self._histories.append(outcome)
        if (len(self._jobs) > 1 or self._jobs[0].earlier) and not self.goes_on:
            _log_mean_curves(self.run, self._histories)

    def judge(self) -> None:
        """Evaluate the trained models, record what they are worth, and set `values`.

        Raises
        ------
        TrainingError
            An objective is not finite; the message says why.
        """
        self._results = [evaluate(job, history) for job, history in zip(self._jobs, self._histories, strict=True)]
        self.run.log_metrics(mean_of([result.metrics for result in self._results]))
        undefined = {name: why for result in reversed(self._results) for name, why in result.undefined.items()}
        report_undefined(self.run, undefined, self.spec.study)
        self.values = objectives(self.config, mean_of([result.objective for result in self._results]))
        if not all(math.isfinite(value) for value in self.values):
            why = why_not_finite(self.config.hpo, self.values, undefined)
            raise TrainingError(f"The trial has no finite value of hpo.metric: {why}.")

    def keep(self, artifacts: bool) -> None:
        """Leave the validation returns, and, of a trial that may win, its artifacts."""
        _keep(self._jobs[0], self._histories[0], self._results[0], self.folder, artifacts)


def worth_keeping(config: Config, spec: TrialSpec, values: list[float], others: Sequence[list[float]] = ()) -> bool:
    """Tell whether the artifacts of a trial of these values are wanted, or may be: it may win, as far as is known.

    Parameters
    ----------
    config : Config
    spec : TrialSpec
        Knows the best values of trials that had ended when this one was asked for.
    values : list of float
    others : sequence of list of float
        Values of trials that have ended since.
    """
    if config.hpo.keep != "best":
        return config.hpo.keep == "all"
    rivals = [*spec.rivals, *others]
    if len(values) > 1:
        return not any(dominates(config.hpo, other, values) for other in rivals)
    return all(dominates(config.hpo, values, other) for other in rivals)


def _keep(job: Job, histories: list[History], result: Evaluated, folder: Path, artifacts: bool) -> None:
    """Leave the validation bars, and, of a trial that may win, its artifacts: `keep=all` logs them at once."""
    returns = result.columns.get("strategy_return")
    save_bars(folder, job.data.dates(result.rows), result.forecast, returns, result.before)
    if artifacts:
        if job.config.hpo.keep == "all":
            record_artifacts(job, histories, result)
        else:
            with job.run.staging(folder / KEPT_FOLDER):
                record_artifacts(job, histories, result)


class Progress:
    """A listener that leaves how far a trial is in a file of its folder: for the process that has the terminal."""

    FILE = "progress.json"

    def __init__(self, folder: Path) -> None:
        self._file, self._written = folder / self.FILE, 0.0

    def on_epoch(self, epoch: Epoch) -> None:
        """Note an epoch, a few times a second at most."""
        if epoch.diverged or (epoch.number < epoch.epochs and time.monotonic() - self._written < REFRESH_SECONDS):
            return
        self._written = time.monotonic()
        fresh = self._file.with_suffix(".new")
        noted = {"epoch": epoch.number, "epochs": epoch.epochs, "val_loss": epoch.val_loss}
        fresh.write_text(json.dumps(noted), encoding="utf-8")
        fresh.replace(self._file)


class Pruning:
    """A listener that reports the epochs of one seed of a trial to the study and asks its pruner, if there is one.

    Parameters
    ----------
    config : Config
    ask : callable (step, value) -> bool, optional
    position : int
        Which seed, from 0: seeds and folds count as further epochs.
    """

    def __init__(self, config: Config, ask: Callable[[int, float], bool] | None = None, position: int = 0) -> None:
        self.at: Pruned | None = None
        self._ask = ask
        # The models that were trained before those of this seed.
        self._before = position * (1 if config.evaluation.scheme == "chronological" else config.evaluation.folds)
        # A pruner compares in the study's direction, and a loss is better when it is lower.
        self._sign = objectives_of(config.hpo)[0].sign

    def on_epoch(self, epoch: Epoch) -> bool:
        """Return True if the trial is to stop."""
        if self._ask is None or epoch.diverged:
            return False
        step = (self._before + epoch.fold - 1) * epoch.epochs + epoch.number
        if self._ask(step, self._sign * epoch.val_loss):
            self.at = Pruned(epoch.number, epoch.val_loss)
        return self.at is not None


def _pruner(study: Study, number: int) -> Callable[[int, float], bool]:
    """Return the question to ask after each epoch of a trial."""
    storage = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)

    def ask(step: int, value: float) -> bool:
        storage.set_trial_intermediate_value(trial_id, step, value)
        return bool(study.pruner.prune(study, storage.get_trial(trial_id)))

    return ask


@lru_cache(maxsize=4)
def _open_study(address: str, name: str, pruner: str) -> Study:
    """Open a study once a process: a journal is read from its start each time that it is opened."""
    import optuna

    from tradingbot_exp.hpo.samplers import make_pruner, most_steps
    from tradingbot_exp.hpo.storage import open_storage

    storage, _ = open_storage(address, Path.cwd())
    study = optuna.load_study(study_name=name, storage=storage)
    study.pruner = make_pruner(pruner, most_steps(study.user_attrs["definition"]))
    return study


def mean_of(records: list[dict[str, float]]) -> dict[str, float]:
    """Average each metric that all seeds have."""
    shared = set(records[0]).intersection(*records[1:])
    return {name: float(np.mean([record[name] for record in records])) for name in records[0] if name in shared}


def _log_mean_curves(run: TrackedRun, histories: list[list[History]]) -> None:
    """Log the mean over all seeds and folds so far, in epochs that do not have it yet."""
    mean = mean_history([mean_history(folds) for folds in histories])
    for epoch in range(mean.epochs_run):
        losses = {name: mean[name][epoch] for name in ("train_loss", "val_loss")}
        run.log_metrics(losses, epoch + 1, again=False)
