"""Training on panels: a panel of one is one instrument, and what comes later changes nothing before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp import train
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.synthetic import synthetic_panel
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.evaluation.positions import Sizing, realised_volatility
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.checks import check_metrics
from tradingbot_exp.hpo.space.space import SearchSpace

QUICK = ["training=smoke", "training.progress=off", "tracking.report=false"]
RULES = ("sign", "long_only", "threshold", "proportional", "vol_target", "long_short")


@pytest.mark.usefixtures("workdir")
def test_a_panel_of_one_symbol_has_the_numbers_of_the_instrument() -> None:
    alone, panel = (train([*words, *QUICK]) for words in (["data=ibm"], ["data=tech", "data.symbols=[IBM]"]))
    for name, value in alone.metrics.items():
        if name.startswith(("val_", "train_", "best_", "final_")) and not name.startswith("val_ic_"):
            assert panel.metrics[name] == pytest.approx(value, rel=1e-12), name
    mine, theirs = panel.predictions, alone.predictions
    for column in ("actual", "forecast", "position", "next_log_return", "strategy_return", "buy_hold_return"):
        np.testing.assert_array_equal(mine[column], theirs[column])
    assert (mine["weight"] == mine["position"]).all() and set(mine["symbol"]) == {"IBM"}


@pytest.mark.parametrize("symbol", ["S001", "S004"])
def test_what_comes_after_a_date_changes_no_feature_position_or_weight_before_it(tmp_path: Path, symbol: str) -> None:
    frames = synthetic_panel(SyntheticConfig(bars=300, symbols=5))
    cut = 220

    def prepared(name: str) -> pd.DataFrame:
        table = pd.concat([frame.assign(symbol=each) for each, frame in frames.items()])
        table.to_csv(tmp_path / f"{name}.csv")
        data = prepare_data(DataConfig("csv", "csv", str(tmp_path / f"{name}.csv"), symbols="all", scaling="date"))
        layout = data.layout
        assert data.next_return is not None
        score = data.scaled[:, 0].astype(float)
        found = pd.DataFrame(data.scaled, columns=list(data.feature_names))
        for rule in RULES:
            rules = Rules(horizon=3, periods=252, sizing=Sizing(rule))
            known = realised_volatility(data.next_return, 20, 252, layout)
            wanted = rules.wanted(score, layout, 1.0, known)
            found[rule] = rules.held(wanted, layout=layout)
            found[f"{rule} weight"] = rules.held(rules.weights(wanted, layout), layout=layout)
        found["date"], found["symbol"] = data.index, np.array(layout.names)[layout.symbol]
        return found[data.index < frames["S001"].index[cut]]

    before = prepared("before")
    later = frames[symbol].index >= frames[symbol].index[cut]
    frames[symbol] = frames[symbol].copy()
    frames[symbol].loc[later, ["open", "high", "low", "close"]] *= 3.0
    frames[symbol].loc[later, "volume"] += 1e6
    pd.testing.assert_frame_equal(prepared("after"), before)


def test_a_metric_across_symbols_is_not_searched_for_on_one_instrument() -> None:
    for data, fits in (("ibm", False), ("tech", True)):
        config = compose_config([f"data={data}", "hpo.metric=val_cs_ic", "hpo.direction=maximize"])
        if fits:
            check_metrics(config, SearchSpace({}), load_data(config))
        else:
            with pytest.raises(ConfigError, match=r"hpo\.metric=val_cs_ic compares the symbols of a date"):
                check_metrics(config, SearchSpace({}), load_data(config))
