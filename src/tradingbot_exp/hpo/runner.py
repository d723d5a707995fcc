"""Running a study: from its open parent run to a winner, its verdict, and what a person reads at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import optuna

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.errors import TrackingError, TrainingError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.batch import Observer, run_specs
from tradingbot_exp.hpo.checks import check_metrics, check_sizes, check_study
from tradingbot_exp.hpo.ensemble import deliver, lines_of
from tradingbot_exp.hpo.loop import Launch, StudyLoop
from tradingbot_exp.hpo.parent import open_parent
from tradingbot_exp.hpo.prior import find_prior
from tradingbot_exp.hpo.results.display import StudyDisplay
from tradingbot_exp.hpo.results.recording import drop_staged, losers, record_results
from tradingbot_exp.hpo.results.table import result_table
from tradingbot_exp.hpo.storage import check_storage, storage_reason
from tradingbot_exp.hpo.study import StudyResult, open_study
from tradingbot_exp.hpo.trials import STATES, best_trials
from tradingbot_exp.hpo.verdict.expectations import bearing_line, ledger_of
from tradingbot_exp.hpo.verdict.judge import Judgement, judge_study
from tradingbot_exp.hpo.workers import Crew, oversee
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.terminal.output import say
from tradingbot_exp.tracking.store.registry import CHAMPION
from tradingbot_exp.tracking.store.store import Store
from tradingbot_exp.tracking.writing.origin import user_tags
from tradingbot_exp.tracking.writing.outbox.unsent import send_left_behind
from tradingbot_exp.tracking.writing.registration import first_alias, promote_winner, register_winner
from tradingbot_exp.tracking.writing.run import TrackedRun
from tradingbot_exp.tracking.writing.trial_runs import TrialRuns

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.space.space import SearchSpace
    from tradingbot_exp.hpo.trial_spec import TrialSpec
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer


class _LeftToOthers(Exception):  # noqa: N818 - nothing is wrong
    """Others go on where this process stops."""


class Runner:
    """Opens or resumes a study, and brings it to its end.

    Parameters
    ----------
    config : Config
        The configuration that trials vary.
    space : SearchSpace
    organizer : ExperimentOrganizer
    overrides, configure
        See `tradingbot_exp.hpo.study.open_study`.
    is_worker : bool
        Whether the process only works on a study that another one has opened: see `work`.

    Attributes
    ----------
    study : Study
    parent : TrackedRun
        The study's, open.

    Raises
    ------
    ConfigError
        The study cannot be run as it is configured, or one of its name is another one.
    TrackingError
        A store cannot be used.
    """

    def __init__(
        self,
        config: Config,
        space: SearchSpace,
        organizer: ExperimentOrganizer,
        overrides: Sequence[str] = (),
        configure: Callable[[Mapping[str, Any]], Config] | None = None,
        *,
        is_worker: bool = False,
    ) -> None:
        check_study(config, space)
        check_metrics(config, space, load_data(config))
        check_sizes(config, space, load_data(config))
        check_storage(config.hpo.storage, launch_dir())  # before MLflow's store is made
        # MLflow first: it cannot make its tables in a database that Optuna has stamped.
        client, experiment_id = organizer.connect()
        self.organizer = organizer
        self._store = Store(client, organizer.config.tracking.uri)
        self.study = open_study(config, space, overrides, configure, partial(find_prior, config, space, self._store))
        self.parent = open_parent(self.study, organizer, self._store, is_worker=is_worker)
        self._trial_runs = TrialRuns(
            client, experiment_id, self.parent.run_id, self.study.name, user_tags(config.experiment)
        )
        self._staged: set[int] = set()  # trials that may have artifacts in their folders

    def close(self, error: BaseException | None = None) -> None:
        """End the parent run, by the kind of `error`; once is enough."""
        self.organizer.close_run(self.parent, error)

    def run_here(self, specs: Sequence[TrialSpec], observer: Observer | None = None) -> list[Any]:
        """Run a batch of trials in this process: see `tradingbot_exp.hpo.batch.run_specs`."""
        return run_specs(self.study, self.organizer, specs, observer)

    def run(
        self,
        make_report: Callable[[TrackedRun], object],
        launch: Launch | None = None,
        batch: int | None = None,
        stream: TextIO | None = None,
        crew: Crew | None = None,
    ) -> StudyResult:
        """Run trials until there are enough, record the results on the parent run, judge the winner, and say so.

        Parameters
        ----------
        make_report : callable
            Makes the report on the parent run, once that is closed, and returns its path, or None.
        launch : callable, optional
            Runs a batch of trials; else they are run in this process.
        batch : int, optional
            Trials to ask for at once; else `hpo.n_jobs`.
        stream : text stream, optional
            Where the study's progress is shown; else standard error.
        crew : Crew, optional
            Of `hpo.workers` that run the trials in place of this process.

        Raises
        ------
        TrainingError
            Too many trials failed.
        TrackingError
            A store cannot be used any more.
        """
        loop: StudyLoop | None = None
        study, config = self.study, self.study.config
        with StudyDisplay(study.total, config.training.progress, study.folder, study.optuna, stream) as display:
            try:
                loop = self._loop(launch or self.run_here, display, batch or config.hpo.n_jobs)
                result, judged, registered = self._to_the_end(loop, crew, display)
            except _LeftToOthers:
                self.parent.flush()
                say("Other processes go on with the study: it is judged once it has its trials, or they stop.\n")
                return StudyResult(
                    study.optuna, self.parent.run_id, study.name, [], loop.stopped_early if loop else None
                )
            except KeyboardInterrupt as error:
                if crew is not None and loop is not None:
                    with signals_held():
                        loop.recover()  # what workers left that had to be killed
                if loop is not None and loop.trials.others_at_work():
                    self.parent.flush()  # theirs to close
                else:
                    self.close(error)
                raise
            except optuna.exceptions.StorageInternalError as error:
                why = storage_reason(error.__cause__ or error)
                lost = TrackingError(
                    f"hpo.storage={study.shown_address} cannot be used any more: {why}. "
                    "Trials that ended are in MLflow. Once the storage is there again, the same command goes on."
                )
                self.close(lost)
                raise lost from error
            except BaseException as error:
                self.close(error)
                raise
        self.close()
        path = make_report(self.parent) if config.tracking.report else None
        model = "" if registered is None else f"{registered} ({_alias(config, judged)})"
        say(result_table(study, result, judged.lines, model))
        if path is not None:
            say(f"  the report:\n  {path}\n")
        return result

    def _loop(self, launch: Launch, display: StudyDisplay, batch: int, until: float | None = None) -> StudyLoop:
        def launched(specs: Sequence[TrialSpec]) -> Sequence[Any]:
            outcomes = launch(specs)
            self._drop_losers(spec.number for spec in specs)
            return outcomes

        return StudyLoop(
            self.study,
            self._trial_runs,
            launched,
            report=display,
            watched=display.is_live,
            batch=batch,
            salvage=lambda: send_left_behind(self._store.client),
            until=until,
        )

    def _drop_losers(self, ran: Iterable[int]) -> None:
        """Remove the artifacts of trials that were the best for a while, of those that ran here; `ran` did just now."""
        if self.study.config.hpo.keep == "best":
            self._staged.update(ran)
            over = self._staged & losers(self.study.optuna, self.study.config.hpo.ensemble)
            drop_staged(self.study.folder, over)
            self._staged -= over

    def work(self, launch: Launch, batch: int, until: float) -> None:
        """Run trials until the study has enough, and leave the rest to the process that started this one."""
        with StudyDisplay(self.study.total, "off", self.study.folder, self.study.optuna) as display:
            try:
                self._loop(launch, display, batch, until).run()
            finally:
                self.parent.flush()

    def _to_the_end(
        self, loop: StudyLoop, crew: Crew | None, display: StudyDisplay
    ) -> tuple[StudyResult, Judgement, str | None]:
        """Run the loop, record what came of it, and judge and register the winner."""
        study, parent, tracking = self.study, self.parent, self.study.config.tracking
        done = len(loop.trials.done())
        if done >= study.total:
            say(
                f"The study {study.name} is complete, {done} of {study.total}; raise "
                "hpo.num_trials or set hpo.resume=false\n"
            )
        else:
            ledger = ledger_of(study.config, self._store, parent.run_id)
            parent.set_tags(
                {
                    "ledger.before": len(ledger.before),
                    "study.at_once": min(loop.batch * (study.config.hpo.workers if crew else 1), study.total),
                }
            )
            line = bearing_line(study.config, load_data(study.config), len(ledger.before), len(study.space.parameters))
            say(f"{line}.\n{ledger}.\n")
        loop.recover()
        results = {_run_id(trial): (STATES[trial.state], trial.values) for trial in loop.trials.done()}
        self._trial_runs.close_strays([_run_id(trial) for trial in loop.trials.running()], results)
        if crew is not None and done < study.total:
            with closing(crew):  # before anybody asks who is at work
                oversee(crew, study.name, study.config.hpo, loop.is_finished, lambda: display(loop.trials.counting()))
            self._staged.update(trial.number for trial in loop.trials.done())
            self._drop_losers(())
        loop.run()  # what is left
        if loop.stopped_early and not loop.gave_up and loop.trials.others_at_work():
            raise _LeftToOthers
        trials = loop.trials.done()
        result = StudyResult(study.optuna, parent.run_id, study.name, best_trials(study.optuna), loop.stopped_early)
        matrices = record_results(study, parent, self._store, trials, result)
        registered = None
        if result.best and study.config.hpo.ensemble == 1:
            registered = register_winner(parent, tracking, str(result.best[0].user_attrs.get("run_id")))
        ever = ledger_of(study.config, self._store, parent.run_id).total
        parent.set_tags({"ledger.total": ever})
        if loop.gave_up:
            raise TrainingError(f"The study {study.name} gave up: {loop.stopped_early}.")
        judged = judge_study(study, parent, self.organizer, self._store, trials, matrices=matrices, ever=ever)
        if registered and judged.is_shown:
            promote_winner(parent, tracking, registered)
        if result.best and study.config.hpo.ensemble > 1:
            delivered = deliver(study, parent, self.organizer, self._store)
            lines = lines_of(delivered, [each.metric for each in objectives_of(study.config.hpo)])
            run_id = delivered.run_id or _run_id(result.best[0])
            judged = judged._replace(lines=[*judged.lines, *lines])
            registered = register_winner(parent, tracking, run_id)
        return result, judged, registered


def _alias(config: Config, judged: Judgement) -> str:
    """Say as what the winner's model is registered, and if it is no champion, why."""
    alias = first_alias(config.tracking)
    if config.hpo.ensemble > 1 and alias != CHAMPION:
        return f"{alias}: the mean of trials that were chosen is not what was tested"
    if judged.is_shown or alias == CHAMPION:
        return CHAMPION
    return f"{alias}: it is not shown to be real, on inputs that are checked and dates that nobody saw"


def _run_id(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("run_id"))
