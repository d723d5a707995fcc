"""How often whole studies of the real pipeline call a winner real: with nothing to find, and with a signal.

A few are enough to see it break; scripts/bench_pipeline_verdict.py has the rates of hundreds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bench_pipeline_verdict import KINDS, judged, studies
from mlflow import MlflowClient
from support import in_ci
from test_results import config, study

from tradingbot_exp.config.schema import Config

__all__ = ["config"]  # a fixture
MSFT = "networks, MSFT permuted, searched by Sharpe ratio"
PERMUTED = "ranks of 50 symbols permuted by date"
OURS = ("ours, forecasts", "ours, returns")
SMALL = {"trials": 8, "epochs": 3}


@pytest.fixture
def quick(config: Config) -> Config:
    config.model.name, config.model.hidden_layers = "linear", []
    config.training.batch_size, config.tracking.report = 256, False
    config.hpo.keep, config.hpo.reseeds = "none", 0
    config.hpo.param_space = {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "weight_decay": [0.0, 1e-3]}
    return config


def word(config: Config) -> str:
    return str(MlflowClient(config.tracking.uri).get_run(study(config).parent_id).data.tags["verdict"])


@in_ci
def test_where_there_is_nothing_to_find_hardly_any_study_calls_its_winner_real(quick: Config) -> None:
    quick.hpo.num_trials, quick.data.synthetic.signal, quick.data.synthetic.bars = 12, 0.0, 1500
    words = []
    for seed in range(6):
        quick.seed = quick.data.synthetic.seed = seed
        words.append(word(quick))
    assert words.count("real") <= 1, words
    assert words.count("cannot be told") == 0, words


@in_ci
@pytest.mark.parametrize(("metric", "direction"), [("val_loss", "minimize"), ("val_sharpe", "maximize")])
def test_where_there_is_a_signal_a_small_study_finds_it_and_says_so(quick: Config, metric: str, direction: str) -> None:
    quick.hpo.num_trials, quick.training.epochs, quick.data.synthetic.signal = 10, 20, 0.3
    quick.hpo.metric, quick.hpo.direction = metric, direction
    quick.evaluation.execution_lag, quick.evaluation.cost_bps = 0, 0.0
    assert word(quick) == "real"


@in_ci
def test_the_default_networks_on_permuted_targets_are_hardly_ever_called_real_and_a_signal_often() -> None:
    loss, sharpe = KINDS["networks, IBM permuted, searched by loss"], KINDS[MSFT]
    noise = [judged(study, rules=OURS) for kind in (loss, sharpe) for study in studies(kind, range(7), **SMALL)]
    assert all(sum(rule in each for each in noise) <= 2 for rule in OURS), noise
    planted = KINDS["networks, 0.3 planted over 3,270 bars, searched by loss"]
    found = [judged(study, rules=OURS) for study in studies(planted, range(6), trials=12, epochs=5)]
    assert sum(OURS[0] in each for each in found) >= 5, found


@in_ci
def test_a_signal_across_symbols_is_found_and_permuted_by_date_there_is_none() -> None:
    planted, permuted = (KINDS[f"networks, {each}"] for each in ("0.05 planted across ranks of 50 symbols", PERMUTED))
    found = [judged(study, rules=OURS) for study in studies(planted, range(3), trials=4, epochs=5)]
    assert all(OURS[0] in each for each in found), found
    noise = [judged(study, rules=OURS) for study in studies(permuted, range(6), trials=4, epochs=5)]
    assert all(sum(rule in each for each in noise) <= 1 for rule in OURS), noise


@in_ci
def test_a_centred_window_in_a_column_is_not_called_real_without_saying_that_nobody_checked_it(
    quick: Config, tmp_path: Path
) -> None:
    returns = pd.Series(0.01 * np.random.default_rng(0).standard_t(4, 3000), pd.bdate_range("2000-01-03", periods=3000))
    table = {"centred": returns.rolling(21, center=True).mean(), "y": returns.shift(-1)}  # holds the next ten returns
    pd.DataFrame(table).dropna().rename_axis("date").to_parquet(tmp_path / "table.parquet")
    quick.data.name = quick.data.source = "table"
    quick.data.path, quick.data.features, quick.data.target = str(tmp_path / "table.parquet"), ["centred"], "y"
    quick.hpo.num_trials, quick.training.epochs = 8, 10
    tags = MlflowClient(quick.tracking.uri).get_run(study(quick).parent_id).data.tags
    assert (tags["verdict"], tags["verdict.inputs"]) == ("real", "not checked")
    assert tags["verdict.headline"].startswith("Real, if its inputs know no future (not checked)")
