"""What a job does for a trial: train over its seeds, report to the pruner, keep what has to be kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.config.finalize import flatten
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.evaluation.metrics.objectives import dominates, objectives_of, why_not_finite
from tradingbot_exp.experiment.fitting import Fitting, fit_all, together
from tradingbot_exp.experiment.job import Job, build, seed_of
from tradingbot_exp.experiment.recording import identifying_tags, record_artifacts, record_results
from tradingbot_exp.experiment.results import Evaluated, evaluate, objectives
from tradingbot_exp.hpo.results.bars import kept_of, save_bars
from tradingbot_exp.hpo.trial_spec import Pruned, TrialSpec
from tradingbot_exp.hpo.watching import ProgressFile, Pruning, open_once, pruner_of
from tradingbot_exp.training.history import mean_history
from tradingbot_exp.training.listeners import Curves, seed_prefix

if TYPE_CHECKING:
    from optuna.study import Study

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.writing.run import TrackedRun
    from tradingbot_exp.training.history import History

# In a trial's folder: the artifacts of a winner so far.
KEPT_FOLDER = "kept"


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
    if isinstance(trial.outcome, Pruned):
        return trial.outcome
    trial.judge()
    trial.keep(worth_keeping(config, spec, trial.values))
    return trial.values


def seeds_of(config: Config, count: int, first: int = 0) -> list[int]:
    """Return seeds of so many trainings of a configuration, from the one counted `first`: of ensembles the first's.

    No two networks of all the trainings have the same.
    """
    return [seed_of(config, (first + shift) * config.training.ensemble) for shift in range(count)]


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
    outcome : list of float, Pruned, Exception or None
        How the trial ended: its values, or what came before it had them. None while it is under way.
    values : list of float
        Once it is judged, those of `hpo.metric`.
    """

    def __init__(
        self, config: Config, run: TrackedRun, spec: TrialSpec, folder: Path, study: Study | None = None
    ) -> None:
        config = replace(config, training=replace(config.training, progress="off"))
        self.config, self.run, self.spec, self.folder = config, run, spec, folder
        self.outcome: list[float] | Pruned | Exception | None = None
        self.values: list[float] = []
        self._jobs = [build(replace(config, seed=seed), run) for seed in seeds_of(config, config.hpo.repeats)]
        self._networks = [network for job in self._jobs for network in job.networks]
        self._histories: list[list[History]] = []
        self._means: list[list[History]] = []
        self._results: list[Evaluated] = []
        self._watched = [ProgressFile(folder)] if spec.watched else []
        ask = None
        if spec.storage and spec.pruner != "none":
            ask = pruner_of(study or open_once(spec.storage, spec.study, spec.pruner), spec.number)
        self._pruning = [Pruning(config, ask, position) for position in range(len(self._networks))]
        first = self._jobs[0]
        tags = {**identifying_tags(first.config, first.data), "engine": "single"}  # unless it comes to a stack
        run.log_batch(dict(flatten(asdict(first.config))), tags)

    @property
    def goes_on(self) -> bool:
        """Whether there is another network to train: another seed, or another of an ensemble."""
        return self.outcome is None and len(self._histories) < len(self._networks)

    def next(self) -> Fitting:
        """Return the next network to train."""
        return self._fitting(len(self._histories))

    def rest(self) -> list[Fitting]:
        """Return all networks that are still to be trained."""
        return [self._fitting(position) for position in range(len(self._histories), len(self._networks))]

    def _fitting(self, position: int) -> Fitting:
        job = self._networks[position]
        prefix = seed_prefix(job.config.seed) if len(self._networks) > 1 else ""
        curves = Curves(self.run, prefix, len(job.folds))
        pruning = self._pruning[position]
        return Fitting(job, [curves, *self._watched, pruning], is_over=pruning.is_over)

    def fitted(self, outcome: list[History] | Exception) -> None:
        """Take note of how the training of a network ended, its folds' histories, in the order of the networks."""
        if self.outcome is not None:
            return
        if isinstance(outcome, Exception):
            self.outcome = outcome
            return
        self.outcome = self._pruning[len(self._histories)].at
        self._histories.append(outcome)
        if (len(self._networks) > 1 or self._jobs[0].earlier) and not self.goes_on:
            _log_mean_curves(self.run, self._histories)

    def judge(self) -> None:
        """Evaluate the trained models, record what they are worth, and set `values`.

        Raises
        ------
        TrainingError
            An objective is not finite; the message says why.
        """
        histories = iter(self._histories)
        self._means = [together(job, list(islice(histories, len(job.networks)))) for job in self._jobs]
        self._results = [evaluate(job, means) for job, means in zip(self._jobs, self._means, strict=True)]
        undefined = {name: why for result in reversed(self._results) for name, why in result.undefined.items()}
        metrics = mean_of([result.metrics for result in self._results])
        for result in self._results:  # those of a network are its own
            metrics |= {name: value for name, value in result.metrics.items() if name.startswith("seed_")}
        record_results(self.run, metrics, undefined, self._results[0], self.spec.study)
        self.values = objectives(self.config, mean_of([result.objective for result in self._results]))
        if not all(math.isfinite(value) for value in self.values):
            why = why_not_finite(self.config.hpo, self.values, undefined)
            raise TrainingError(f"The trial has no finite value of hpo.metric: {why}.")

    def keep(self, artifacts: bool) -> None:
        """Leave the validation returns, and, of a trial that may win, its artifacts; with that it has ended."""
        _keep(self._jobs[0], self._means[0], self._results[0], self.folder, artifacts)
        self.outcome = self.values


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
    if len(values) > 1 and not any(dominates(config.hpo, other, values) for other in rivals):
        return True
    sign = objectives_of(config.hpo)[0].sign
    ahead = sum(sign * other[0] <= sign * values[0] for other in rivals)
    return ahead < (config.hpo.ensemble if len(values) == 1 or config.hpo.ensemble > 1 else 0)


def _keep(job: Job, histories: list[History], result: Evaluated, folder: Path, artifacts: bool) -> None:
    """Leave the validation bars, and, of a trial that may win, its artifacts: `keep=all` logs them at once."""
    save_bars(folder, job.data.days(result.rows), kept_of(job.config, job.data, result))
    if artifacts:
        if job.config.hpo.keep == "all":
            record_artifacts(job, histories, result)
        else:
            with job.run.staging(folder / KEPT_FOLDER):
                record_artifacts(job, histories, result)


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
