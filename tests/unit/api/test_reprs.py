"""What a person handles in a notebook says in a line what it is, and shows itself as a table of escaped text."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from tradingbot_exp import ConfigurationManager, EnhancedMLflowLogger, ExperimentOrganizer
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.hpo.study import StudyResult


def result(best: list[optuna.trial.FrozenTrial], early: str | None = None) -> StudyResult:
    return StudyResult(optuna.create_study(), "abc", "<b>mine</b>", best, early)


def test_a_studys_result_shows_its_best_trials() -> None:
    space = optuna.distributions.FloatDistribution(0, 1)
    trials = [
        optuna.trial.create_trial(params={"model.dropout": rate}, distributions={"model.dropout": space}, value=rate)
        for rate in (0.25, 0.5)
    ]
    assert repr(result(trials)) == "StudyResult('<b>mine</b>', best=[0.25], parent_id='abc')"
    page = result(trials, "5 < 6")._repr_html_()
    assert "&lt;b&gt;mine&lt;/b&gt;" in page and "<b>" not in page and "stopped early: 5 &lt; 6" in page
    assert page.count("<tr>") == 3 and "<td>model.dropout</td>" in page and page.count("<td>0.25</td>") == 2
    assert repr(result([])) == "StudyResult('<b>mine</b>', best=None, parent_id='abc')"
    assert result([])._repr_html_().count("<tr>") == 1


def test_organizer_logger_and_manager_say_what_they_are_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose_config(["tracking.uri=postgresql://me:secret@host/db", "experiment.name=mine"])
    assert repr(ExperimentOrganizer(config)) == "ExperimentOrganizer(experiment='mine', uri='postgresql://***@host/db')"
    assert repr(EnhancedMLflowLogger()) == "EnhancedMLflowLogger(no run is open)"
    assert repr(ConfigurationManager()) == "ConfigurationManager(config_path=None, overrides=[])"
