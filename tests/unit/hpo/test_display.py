"""What a person sees on a terminal while a study runs, and what comes after it."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from functools import partial
from pathlib import Path

import optuna
import pytest
from test_results import config  # noqa: F401 - the fixture

from tradingbot_exp import ExperimentOrganizer
from tradingbot_exp.api.arrays import _run
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.hpo.results.display import StudyDisplay
from tradingbot_exp.hpo.runner import run_study
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.study import FOLDER_LETTERS, StudySession
from tradingbot_exp.hpo.trial_run import Progress
from tradingbot_exp.hpo.trial_spec import TrialJob
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.terminal.console import ConsoleHandler


class Terminal(io.StringIO):
    """Takes what is written, as a terminal does."""

    def isatty(self) -> bool:
        return True


def session_of(config: Config) -> StudySession:  # noqa: F811
    return StudySession(config, SearchSpace.parse(config.hpo.param_space), ExperimentOrganizer(config))


def test_the_bar_stays_behind_messages_and_the_table_and_the_folder_among_the_others(
    config: Config,  # noqa: F811
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    console = ConsoleHandler(screen)
    config.training.progress, config.hpo.num_trials = "auto", 2
    config.hpo.study_name = "../../it's: " + "é" * 150

    def launch(jobs: list[TrialJob]) -> list[object]:
        console.handle(logging.makeLogRecord({"msg": f"message {jobs[0].ticket.number}"}))
        return [_run(session, job) for job in jobs]

    session = session_of(config)
    with StudyDisplay(session, screen) as display:
        run_study(session, launch, display, partial(report_at_end, "hpo"))  # type: ignore[arg-type]
    shown = screen.getvalue()
    assert "100%" in shown and "2/2 done" in shown  # the second trial is at the point of the first, and not trained
    before, after = shown.split("message 0")
    assert before.endswith(("\r", "\n")) and after.startswith("\n")
    table = shown.partition("\nStudy ")[2]
    assert "the winner by itself" in table and "%|" not in table
    assert session.folder.parent == workdir / "multirun" and len(session.folder.name) <= FOLDER_LETTERS
    assert (session.folder / "trial-0000").is_dir()
    assert list((workdir / "reports").glob(f"*{session.parent.run_id[:8]}.html"))


def test_a_line_tells_no_speed_of_epochs_that_went_before_it(config: Config) -> None:  # noqa: F811
    screen = Terminal()
    config.training.progress = "bar"
    session = session_of(config)
    folder = session.folder / "trial-0000"
    folder.mkdir(parents=True)
    (folder / Progress.FILE).write_text(json.dumps({"epoch": 49, "epochs": 50, "val_loss": 0.25}))
    running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    running.number = 0
    deadline = time.monotonic() + 30
    with StudyDisplay(session, screen) as display:
        display([running])
        while "val 0.25" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    session.close()
    lines = re.findall(r"trial 0:.*?epoch/s.*?\]", screen.getvalue())
    assert lines and all("49/50" in line and "?epoch/s" in line for line in lines)


def test_a_storage_that_is_lost_while_a_trial_runs_is_named(config: Config, workdir: Path) -> None:  # noqa: F811
    config.hpo.storage = "sqlite:///lost.db"
    session = session_of(config)

    def launch(jobs: list[TrialJob]) -> list[object]:
        (workdir / "lost.db").unlink()
        return [0.5]

    with (
        StudyDisplay(session) as display,
        pytest.raises(TrackingError, match=r"hpo\.storage=.*lost\.db cannot be used any more: .*readonly"),
    ):
        run_study(session, launch, display, lambda run: None)  # type: ignore[arg-type]
    assert session.organizer.connect()[0].get_run(session.parent.run_id).info.status == "FAILED"


def test_a_study_with_more_trials_than_asked_for_does_not_fail_by_that(config: Config) -> None:  # noqa: F811
    first = session_of(config)
    with StudyDisplay(first) as display:
        run_study(
            first,
            lambda jobs: [RuntimeError("odd") if not job.ticket.number else _run(first, job) for job in jobs],
            display,
            lambda run: None,
        )
    config.hpo.num_trials = 1
    again = session_of(config)
    with StudyDisplay(again) as display:
        result = run_study(again, lambda jobs: [], display, lambda run: None)
    assert result.parent_id == first.parent.run_id and result.stopped_early is None
    assert again.organizer.connect()[0].get_run(result.parent_id).info.status == "FINISHED"
