"""What a person sees on a terminal while a study runs, and what comes after it."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
import pytest
from test_results import config, runner_of  # noqa: F401 - the fixture

from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.hpo.results.display import StudyDisplay
from tradingbot_exp.hpo.study import FOLDER_LETTERS
from tradingbot_exp.hpo.trial_spec import TrialSpec
from tradingbot_exp.hpo.watching import ProgressFile
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.terminal.console import ConsoleHandler


class Terminal(io.StringIO):
    """Takes what is written, as a terminal does."""

    def isatty(self) -> bool:
        return True


def test_the_bar_stays_behind_messages_and_the_table_and_the_folder_among_the_others(
    config: Config,  # noqa: F811
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    console = ConsoleHandler(screen)
    config.training.progress, config.hpo.num_trials, config.tracking.report = "auto", 2, True
    config.hpo.study_name = "../../it's: " + "é" * 150

    def launch(specs: Sequence[TrialSpec]) -> list[object]:
        console.handle(logging.makeLogRecord({"msg": f"message {specs[0].number}"}))
        return runner.run_here(specs)

    runner = runner_of(config)
    runner.run(partial(report_at_end, "hpo"), launch, stream=screen)
    shown = screen.getvalue()
    assert "100%" in shown and "2/2 done" in shown  # the second trial is at the point of the first, and not trained
    before, after = shown.split("message 0")
    assert before.endswith(("\r", "\n")) and after.startswith("\n")
    table = shown.partition("\nStudy ")[2]
    assert "the winner by itself" in table and "%|" not in table
    assert runner.study.folder.parent == workdir / "multirun" and len(runner.study.folder.name) <= FOLDER_LETTERS
    assert (runner.study.folder / "trial-0000").is_dir()
    assert list((workdir / "reports").glob(f"*{runner.parent.run_id[:8]}.html"))


def test_a_line_tells_no_speed_of_epochs_that_went_before_it(tmp_path: Path) -> None:
    screen = Terminal()
    folder = tmp_path / "trial-0000"
    folder.mkdir()
    (folder / ProgressFile.NAME).write_text(json.dumps({"epoch": 49, "epochs": 50, "val_loss": 0.25}))
    running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    running.number = 0
    deadline = time.monotonic() + 30
    with StudyDisplay(1, "bar", tmp_path, optuna.create_study(), screen) as display:
        display([running])
        while "val 0.25" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = re.findall(r"trial 0:.*?epoch/s.*?\]", screen.getvalue())
    assert lines and all("49/50" in line and "?epoch/s" in line for line in lines)


def test_a_storage_that_is_lost_while_a_trial_runs_is_named(config: Config, workdir: Path) -> None:  # noqa: F811
    config.hpo.storage = "sqlite:///lost.db"
    runner = runner_of(config)

    def launch(specs: Sequence[TrialSpec]) -> list[object]:
        (workdir / "lost.db").unlink()
        return [0.5]

    with pytest.raises(TrackingError, match=r"hpo\.storage=.*lost\.db cannot be used any more: .*readonly"):
        runner.run(lambda run: None, launch)
    assert runner.organizer.connect()[0].get_run(runner.parent.run_id).info.status == "FAILED"


def test_a_study_with_more_trials_than_asked_for_does_not_fail_by_that(config: Config) -> None:  # noqa: F811
    first = runner_of(config)
    first.run(
        lambda run: None,
        lambda specs: [RuntimeError("odd")] if specs[0].number == 0 else first.run_here(specs),
    )
    config.hpo.num_trials = 1
    again = runner_of(config)
    result = again.run(lambda run: None, lambda specs: [])
    assert result.parent_id == first.parent.run_id and result.stopped_early is None
    assert again.organizer.connect()[0].get_run(result.parent_id).info.status == "FINISHED"
