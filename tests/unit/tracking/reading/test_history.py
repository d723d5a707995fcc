"""`history` and `diff` are right for runs made by Python, by a study and by another program, as data and in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient

from tradingbot_exp import ConfigurationManager, ExperimentOrganizer, run_hpo_study, train
from tradingbot_exp.cli.main import run
from tradingbot_exp.config.schema import Config

SMALL = ["data=synthetic", "training=smoke", "training.progress=off", "tracking.report=false", "experiment.name=kept"]
LR = "model.learning_rate"


def arrays() -> tuple[torch.Tensor, ...]:
    X = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    y = X[:, :1].clone()
    return X[:100], y[:100], X[100:], y[100:]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[Any]:
    """Two configurations in three runs, one run that failed before it had one, a study, and another program's run."""
    folder = tmp_path_factory.mktemp("history")
    shutil.copy(store_template, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        first = train(SMALL)
        other = train([*SMALL, f"{LR}=0.005", "experiment.run_name=other"])
        again = train(SMALL[::-1])
        config = Config()
        config.experiment.name = "kept"
        config.model.learning_rate = config.training.learning_rate = 0.001
        config.training.epochs, config.hpo.num_trials, config.hpo.reseeds = 2, 2, 0
        config.hpo.param_space = {"batch_size": [16, 32]}
        config.tracking.uri = uri
        study = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
        client = MlflowClient(uri)
        number = client.get_run(first.run_id).info.experiment_id
        bare = client.create_run(number, tags={"run.kind": "training"}).info.run_id
        client.set_terminated(bare, "FAILED")
        theirs = client.create_run(number).info.run_id
        client.log_param(theirs, "lr", 0.1)
        client.log_metric(theirs, "accuracy", 0.5)
        yield SimpleNamespace(
            **{"folder": folder, "uri": uri, "client": client, "first": first, "other": other, "again": again},
            **{"study": study, "bare": bare, "theirs": theirs, "trial": study.best[0].user_attrs["run_id"]},
        )


@pytest.fixture(autouse=True)
def _there(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert run(words) == status
    found = capsys.readouterr()
    return found.out if status == 0 else found.err


def test_each_configuration_is_there_once_newest_first(made: Any) -> None:
    theirs, study, twice, once = ConfigurationManager(overrides=["experiment.name=kept"]).history()
    assert [use.kind for use in (theirs, study, twice, once)] == ["other", "study", "single", "single"]
    assert twice.run_ids == (made.again.run_id, made.first.run_id) and once.run_ids == (made.other.run_id,)
    assert (twice.first, twice.last) == (made.first.record.started, made.again.record.started)
    assert twice.config_sha256 == made.first.tags["config.sha256"]
    assert [(row.name, row.values) for row in twice.changes] == [(LR, ("0.005", "0.001"))]
    assert once.changes == () and theirs.result is None
    assert twice.result is not None
    assert (twice.result.metric, twice.result.value) == ("val_loss", made.first.metrics["final_loss"])
    commit = made.first.tags.get("mlflow.source.git.commit")
    assert [code.commit for code in twice.code] == ([commit] if commit else [])
    with pytest.raises(FrozenInstanceError):
        twice.kind = "x"  # type: ignore[misc]


def test_a_study_is_one_entry_with_its_trials_counted_and_its_searched_keys_named(made: Any) -> None:
    study = ConfigurationManager(overrides=["experiment.name=kept"]).history()[1]
    assert (study.study, study.run_ids) == (made.study.name, (made.study.parent_id,))
    assert (dict(study.trials or {}), study.finished_trials) == ({"complete": 2}, 2)
    assert study.searched == ("training.batch_size",)
    assert study.result is not None
    assert (study.result.value, study.result.run_id) == (made.study.best[0].value, made.trial)
    assert {"data.fingerprint", "model.input_dim"} <= {row.name for row in study.changes}


def test_the_command_says_the_same(
    made: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(said(capsys, "history", "--experiment", "kept", "--json"))
    assert [entry["runs"] for entry in found["configurations"]] == [1, 1, 2, 1]
    assert found["configurations"][2]["changes"] == {LR: {"before": "0.005", "after": "0.001"}}
    assert found["configurations"][1]["trials"] == {"complete": 2}
    assert found["runs_without_configuration"] == [made.bare]
    monkeypatch.setenv("COLUMNS", "60")
    text = said(capsys, "history")
    assert "4 configurations, 5 runs" in text and f"{LR}: 0.005 -> 0.001" in text.replace("\n            ", " ")
    assert "the best of 2 trials" in text and "1 run recorded no configuration" in text
    longest = max(text.splitlines(), key=len)
    assert len(longest) <= 60 or " " not in longest.strip()


def test_an_unknown_experiment_is_answered_with_the_near_name(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "history", "--experiment", "keptt", status=1)
    assert "There is no experiment 'keptt'" in text and "Did you mean 'kept'?" in text


def test_an_empty_store_and_none_are_told_apart(
    tmp_path: Path, store_template: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no tracking store" in said(capsys, "history", status=1) and not list(tmp_path.iterdir())
    shutil.copy(store_template, tmp_path / "mlflow.db")
    assert "There are no runs in" in said(capsys, "history")
    assert json.loads(said(capsys, "history", "--json"))["configurations"] == []
    assert "no configuration has been used" in said(capsys, "history", "--experiment", "Default")


def test_runs_of_one_configuration_are_identical_and_said_to_be(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = ConfigurationManager(overrides=["experiment.name=kept"]).diff(made.first.run_id, made.again.run_id[:20])
    assert found.identical and not found.missing
    text = said(capsys, "diff", made.first.run_id, made.again.run_id)
    assert "identical: configuration, code, data, packages, hardware and metrics are the same." in text
    assert "same run" in said(capsys, "diff", made.first.run_id, made.first.run_id)


def test_what_differs_is_named_key_by_key(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "diff", made.first.run_id, made.other.run_id, "--json"))
    assert not found["identical"]
    assert found["config"] == {LR: {"a": "0.001", "b": "0.005"}}
    assert found["names"] == {"experiment.run_name": {"a": "None", "b": "other"}}
    assert (found["code"], found["data"], found["packages"], found["hardware"]) == ({}, {}, {}, {})
    assert found["metrics"]["final_loss"] == {
        "a": made.first.metrics["final_loss"],
        "b": made.other.metrics["final_loss"],
    }
    text = said(capsys, "diff", made.first.run_id, made.other.run_id)
    assert "data: the same" in text and "0.001 -> 0.005" in text and "identical" not in text


def test_a_trial_is_compared_with_what_its_study_has_for_it(made: Any) -> None:
    found = ConfigurationManager().diff(made.first.run_id, made.trial)
    assert found.missing == () and found.packages == found.hardware == found.code == ()
    assert "model.input_dim" in {row.name for row in found.config}
    rows = {row.name: row.values for row in found.data}
    assert rows["rows"] == ("2000", "120") and rows["period"][1] is None


def test_of_another_programs_run_what_is_there_is_compared_and_the_rest_named(
    made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ConfigurationManager().diff(made.theirs, made.first.run_id)
    assert {text.partition(":")[0] for text in found.missing} == {
        *("configuration", "code", "data", "packages", "hardware")
    }
    assert found.patch == "" and not found.identical
    assert next(row for row in found.metrics if row.name == "accuracy").b is None
    text = said(capsys, "diff", made.theirs, made.first.run_id)
    assert "packages: not recorded by run A" in text and "no key in common" in text
    both = mlflow.MlflowClient(made.uri)
    twin = both.create_run(both.get_run(made.theirs).info.experiment_id).info.run_id
    both.log_param(twin, "lr", 0.2)
    both.log_metric(twin, "accuracy", 0.5)
    assert [row.values for row in ConfigurationManager().diff(made.theirs, twin).config] == [("0.1", "0.2")]
    both.delete_run(twin)


def test_a_run_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no run 'zzzz'" in said(capsys, "diff", "latest", "zzzz", status=1)
