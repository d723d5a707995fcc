"""Running a study: from its open parent run to a winner, its verdict, and what a person reads at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import optuna

from tradingbot_exp.errors import TrackingError, TrainingError
from tradingbot_exp.hpo.loop import Launch, StudyLoop
from tradingbot_exp.hpo.results.recording import STATES, record_results, result_table
from tradingbot_exp.hpo.storage import storage_reason
from tradingbot_exp.hpo.study import StudyResult, StudySession
from tradingbot_exp.hpo.trials import best_trials
from tradingbot_exp.hpo.verdict.expectations import record_total, tell_outlook
from tradingbot_exp.hpo.verdict.judge import Judgement, judge_study
from tradingbot_exp.tracking.store.registry import CHAMPION
from tradingbot_exp.tracking.writing.outbox.unsent import send_left_behind
from tradingbot_exp.tracking.writing.registration import first_alias, promote_winner, register_winner
from tradingbot_exp.tracking.writing.run import TrackedRun

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.results.display import StudyDisplay


def run_study(
    session: StudySession,
    launch: Launch,
    display: StudyDisplay,
    make_report: Callable[[TrackedRun], object],
    batch: int | None = None,
) -> StudyResult:
    """Bring the study to its end, and record the results on the parent run.

    Parameters
    ----------
    session : StudySession
    launch : callable
        Runs a batch of jobs.
    display : StudyDisplay
        Told of each change.
    make_report : callable
        Makes the report on the parent run, once that is closed, and gives its path, or None.
    batch : int, optional
        Trials to ask for at once; else `hpo.n_jobs`.
    """
    loop: StudyLoop | None = None
    try:
        loop = StudyLoop(
            session.config,
            session.space,
            session.study,
            session.children,
            storage=session.address,
            launch=launch,
            report=display,
            watched=display.is_live,
            batch=batch,
            salvage=lambda: send_left_behind(session.organizer.connect()[0]),
        )
        done = len(loop.trials.done())
        if done >= session.config.hpo.num_trials:
            sys.stdout.write(
                f"The study {session.name} is complete, {done} of {session.config.hpo.num_trials}; raise "
                "hpo.num_trials or set hpo.resume=false\n"
            )
        else:
            tell_outlook(session)
            session.parent.set_tags({"study.at_once": min(loop.batch, session.config.hpo.num_trials)})
        loop.recover()
        results = {_run_id(trial): (STATES[trial.state], trial.values) for trial in loop.trials.done()}
        session.children.close_strays([_run_id(trial) for trial in loop.trials.running()], results)
        loop.run()
        result = StudyResult(
            session.study, session.parent.run_id, session.name, best_trials(session.study), loop.stopped_early
        )
        matrices = record_results(session, loop, result)
        _register(session, result)
        ever = record_total(session)
        if loop.gave_up:
            raise TrainingError(f"The study {session.name} gave up: {loop.stopped_early}.")
        judged = judge_study(session, loop.trials.done(), matrices, ever)
        if session.registered and judged.is_shown:
            promote_winner(session.parent, session.config.tracking, session.registered)
    except KeyboardInterrupt as error:
        if loop is not None and loop.trials.others_at_work():
            session.parent.flush()  # theirs to close
        else:
            session.close(error)
        raise
    except optuna.exceptions.StorageInternalError as error:
        why = storage_reason(error.__cause__ or error)
        lost = TrackingError(
            f"hpo.storage={session.shown_address} cannot be used any more: {why}. "
            "Trials that ended are in MLflow. Once the storage is there again, the same command goes on."
        )
        session.close(lost)
        raise lost from error
    except BaseException as error:
        session.close(error)
        raise
    session.close()
    display.close()
    path = make_report(session.parent) if session.config.tracking.report else None
    sys.stdout.write(result_table(session, result, judged.lines, _alias(session, judged)))
    if path is not None:
        sys.stdout.write(f"  the report:\n  {path}\n")
    sys.stdout.flush()
    return result


def _register(session: StudySession, result: StudyResult) -> None:
    """Register the winner's model under `tracking.register`; a winner that is registered already stays as it is."""
    tracking = session.config.tracking
    if result.best:
        run_id = str(result.best[0].user_attrs.get("run_id"))
        session.registered = register_winner(session.parent, tracking, run_id)


def _alias(session: StudySession, judged: Judgement) -> str:
    """Say as what the winner's model is registered, and if it is no champion, why."""
    alias = first_alias(session.config.tracking)
    if judged.is_shown or alias == CHAMPION:
        return CHAMPION
    return f"{alias}: it is not shown to be real, on inputs that are checked and dates that nobody saw"


def _run_id(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("run_id"))
