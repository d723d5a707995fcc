"""What a verdict tests of a panel: a value a date, from means over symbols, against plain loops over rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from tradingbot_exp.data.panel import layout_of
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.across import Across, date_means, memory_of
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.scale import Scale
from tradingbot_exp.evaluation.significance.series import Before, forecast_series, sums_before
from tradingbot_exp.evaluation.significance.verdict import judge
from tradingbot_exp.evaluation.significance.winner import winner_test

TRAIN, DATES, SYMBOLS, TRIALS = 80, 120, 6, 4


def made(skill: float = 0.0, seed: int = 0, dates: int = DATES) -> pd.DataFrame:
    """Rows of train and validation dates: a market that all symbols share, and forecasts of a few trials."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2020", periods=TRAIN + dates)
    grid = pd.MultiIndex.from_product([days, list("ABCDEF")], names=["date", "symbol"])
    market = np.repeat(rng.standard_normal(len(days)), SYMBOLS)
    table = pd.DataFrame({"y": 0.1 + market + rng.standard_normal(len(grid))}, index=grid)
    for trial in range(TRIALS):
        table[f"f{trial}"] = skill * table["y"] + rng.standard_normal(len(grid)) + 0.3 * trial
    return table[rng.random(len(grid)) > 0.1].reset_index()


def moments(table: pd.DataFrame, trial: int, *, own: bool) -> Any:
    layout, _ = layout_of(table["date"], table["symbol"])
    return date_means(table["y"], table[f"f{trial}"], layout, own=own)


def split(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    start = np.sort(table["date"].unique())[TRAIN]
    return table[table["date"] < start], table[table["date"] >= start]


def evidence_of(table: pd.DataFrame, *, own: bool) -> StudyEvidence:
    train, val = split(table)
    known = [moments(train, trial, own=own) for trial in range(TRIALS)]
    seen = [moments(val, trial, own=own) for trial in range(TRIALS)]
    sums = np.array([sums_before(each.actual, each.forecast, square=each.square) for each in known])
    return StudyEvidence(
        metric="val_ic",
        direction="maximize",
        winner=1,
        tried=TRIALS,
        rules=Rules(),
        actual=seen[0].actual,
        forecasts=np.stack([each.forecast for each in seen], axis=1),
        before=Before(*sums.T[:, None, :]),
        across=Across(
            seen[0].squares,
            np.stack([each.product for each in seen], axis=1),
            np.stack([each.square for each in seen], axis=1),
        ),
    )


@pytest.mark.parametrize("own", [False, True])
def test_the_series_is_the_mean_over_symbols_of_centred_products(own: bool) -> None:
    table = made(0.2)
    if own:
        plain = table.copy()
        for name in ("y", *(f"f{trial}" for trial in range(TRIALS))):
            table[name] -= table.groupby("date")[name].transform("mean")
        given = evidence_of(plain, own=True)
    else:
        given = evidence_of(table, own=False)
    part = given.forecast_part
    assert part is not None
    train, val = split(table)
    y_mean = val.groupby("date")["y"].mean().mean()  # each date counts once
    for trial in range(TRIALS):
        name = f"f{trial}"
        middle = val.groupby("date")[name].mean().mean()
        spread = np.sqrt(val.groupby("date")[name].apply(lambda f: (f**2).mean()).mean() - middle**2)
        wanted = ((val["y"] - y_mean) * (val[name] - middle)).groupby(val["date"]).mean() / spread
        np.testing.assert_allclose(part.series.within[:, trial], wanted, atol=1e-9)
        level = train.groupby("date")["y"].mean().mean()
        means = table.groupby("date")[name].mean().to_numpy()
        first = train.groupby("date")[name]
        known = np.sqrt(first.apply(lambda f: (f**2).mean()).mean() - first.mean().mean() ** 2)
        for day, (_, rows) in enumerate(val.groupby("date")):
            product = ((rows["y"] - level) * (rows[name] - means[: TRAIN + day].mean())).mean() / known
            assert part.series.before[day, trial] == pytest.approx(product, abs=1e-9)
    squares = (val["y"] ** 2).groupby(val["date"]).mean().mean() - y_mean**2
    np.testing.assert_allclose(part.spread, np.sqrt(squares))


def test_one_symbol_has_the_series_of_one_instrument() -> None:
    table = made(0.2)
    table = table[table["symbol"] == "A"]
    train, val = split(made(0.2))
    train, val = (each[each["symbol"] == "A"] for each in (train, val))
    given = []
    for trial in range(TRIALS):
        seen, known = (moments(each, trial, own=False) for each in (val, train))
        sums = sums_before(known.actual, known.forecast, square=known.square)[:, None, None]
        across = Across(seen.squares, seen.product[:, None], seen.square[:, None])
        given.append(forecast_series(seen.actual, seen.forecast[:, None], Before(*sums), across=across))
        name = f"f{trial}"
        plain = forecast_series(val["y"], val[[name]], Before(*sums_before(train["y"], train[name])[:, None, None]))
        for kind in range(2):
            np.testing.assert_allclose(given[-1][kind], plain[kind], atol=1e-9)


def test_scale_and_error_are_those_of_all_rows_with_each_date_counted_once() -> None:
    table = made(0.3)
    found, (_, val) = Scale.of(evidence_of(table, own=False)), split(table)

    def mean(values: pd.Series) -> float:
        return float(values.groupby(val["date"]).mean().mean())

    error, zero = mean((val["y"] - val["f1"]) ** 2), mean(val["y"] ** 2)
    assert found.gain_on_neutral.value == pytest.approx(1 - error / zero)
    y, f = val["y"] - mean(val["y"]), val["f1"] - mean(val["f1"])
    assert found.scale.value == pytest.approx(mean(y * f) / mean(f**2))


def test_blocks_are_as_long_as_the_forecasts_of_a_symbol_ask_for() -> None:
    rng = np.random.default_rng(3)
    days, symbols = pd.bdate_range("2020", periods=400), list("ABCDE")
    slow = lfilter([1.0], [1.0, -0.98], rng.standard_normal((400, 5)), axis=0)
    table = pd.DataFrame(slow, days, symbols).rename_axis("date").reset_index().melt("date", var_name="symbol")
    table = table.sort_values(["date", "symbol"], ignore_index=True)
    layout, _ = layout_of(table["date"], table["symbol"])
    lengths = np.sort([block_length(slow[:, column]) for column in range(5)])
    assert memory_of(table["value"], layout, own=False) == lengths[2] > 20
    given = evidence_of(made(seed=1), own=True)
    assert given.before is not None
    held = replace(given, before=given.before._replace(memory=np.full_like(given.before.memory, 80.0)))
    first, second = (winner_test(each, draws=50).superiority for each in (given, held))
    assert first is not None and second is not None
    assert first.block < 20 == second.block  # a quarter


@pytest.mark.parametrize("own", [False, True])
def test_noise_is_hardly_ever_real_and_a_weak_skill_of_many_symbols_is(own: bool) -> None:
    nulls = [winner_test(evidence_of(made(seed=seed), own=own), draws=300).word for seed in range(40)]
    assert nulls.count("real") <= 3  # 2.5 % of 40 is 1
    skills = [winner_test(evidence_of(made(0.25, seed), own=own), draws=300).word for seed in range(10)]
    assert skills.count("real") == 10
    verdict = judge(evidence_of(made(0.25), own=own))
    shown, needed = verdict.numbers["ic"], verdict.numbers["needed_ic"]
    assert verdict.word == "real" and shown.value is not None and needed.value is not None
    assert shown.value > needed.value
