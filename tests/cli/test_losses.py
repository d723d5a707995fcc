"""A run that is trained by its returns, and studies by losses of returns, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import REPOSITORY, artifact_folder, in_ci, train

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data import prepare_data

QUICK = ["data=synthetic", "training.progress=off", "training.epochs=3"]


def test_a_run_trained_by_its_sharpe_ratio_counts_its_losses_in_it(workdir: Path) -> None:
    done = train(workdir, *QUICK, "training.loss=sharpe")
    assert done.status == 0, done.err
    metrics, artifacts = done.run.data.metrics, done.artifacts()
    table = pd.read_csv(artifacts / "evaluation" / "validation_returns.csv")
    data = prepare_data(DataConfig(name="synthetic", source="synthetic"))
    position = np.tanh(table["forecast"].to_numpy() / data.targets(data.train).std(ddof=1))
    earned = position * table["buy_hold_return"].to_numpy()
    assert metrics["final_loss"] == pytest.approx(-earned.mean() / earned.std(ddof=1), rel=1e-4)
    page = (artifacts / "plots" / "training_history.html").read_text(encoding="utf-8")
    assert "loss (sharpe, minus a Sharpe ratio)" in page
    importance = pd.read_csv(artifacts / "evaluation" / "feature_importance.csv")
    assert importance["mean"].max() > 0.01  # of a squared error of returns it would be about 1e-4


@in_ci
@pytest.mark.parametrize(("loss", "family"), [("sharpe", "return"), ("dear_errors", "forecast")])
def test_a_study_stacks_networks_by_a_loss_of_returns(loss: str, family: str, workdir: Path) -> None:
    shutil.copytree(REPOSITORY / "examples" / "extending" / "my_desk", workdir / "my_desk")
    space = ["+hpo.param_space.learning_rate=[0.001,0.01]", "hpo.sampler=grid", "hpo.num_trials=2", "hpo.reseeds=0"]
    words = [*QUICK, "plugins=[my_desk.losses]", f"training.loss={loss}"]
    done = train(workdir, "--multirun", "hpo=guide", *words, *space)
    assert done.status == 0, done.err
    parent, *trials = done.runs()
    assert [run.data.tags["engine"] for run in trials] == ["stacked"] * 2
    verdict = json.loads((artifact_folder(parent) / "study" / "verdict.json").read_text())
    assert (verdict["family"], verdict["metric"]) == (family, "val_loss")
