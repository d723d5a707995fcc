"""A panel of three symbols from its file to its costs, against formulas in plain Python that share no code with it.

A starts late, B misses bars at the end of the train part and among the validated dates, and C ends among them. Bars are
lists, a date is its number among all dates of the file, and whatever is compared agrees to 1e-12.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from tradingbot_exp.config.schema import Config, DataConfig, EvaluationConfig, TrainingConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.evaluation.metrics.evaluate import judge_rows
from tradingbot_exp.evaluation.rules import Rules

SYMBOLS, DATES = "ABC", 260
PRESENT = {
    "A": range(60, DATES),
    "B": [day for day in range(DATES) if day not in {100, 188, 189, 190, 200, 201}],
    "C": range(212),
}
NAMES = ["ret_1", "ret_5", "ret_20", "vol_20", "rsi_14", "macd_hist", "atr_14", "boll_z_20", "volume_z_20", "clv"]
WARMUP = 33
TARGETS = ["return", "direction", "excess_return", "rank"]
RULES = ["sign", "long_only", "threshold", "proportional", "vol_target", "long_short"]
HORIZONS = [1, 3]
COST, BORROW, LAG, SPREAD, YEAR = 7e-4, 250e-4, 1, 0.3, 252
THRESHOLD, MOST, VOLATILITY, WINDOW, LEAST = 0.1, 1.2, 0.2, 10, 2


class Bar(NamedTuple):
    day: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Row(NamedTuple):
    """A row, with the days on which its target is known and its symbol has its next bar."""

    day: int
    symbol: str
    known: int
    following: int
    features: list[float]
    target: float
    next_return: float


def bars_of(symbol: str) -> list[Bar]:
    draw = np.random.default_rng(ord(symbol))
    close, bars = 100.0, []
    for day in PRESENT[symbol]:
        start, close = close, close * math.exp(draw.normal(0, 0.02))
        high, low = max(start, close) * (1 + draw.random() / 50), min(start, close) * (1 - draw.random() / 50)
        bars.append(Bar(day, start, high, low, close, float(draw.integers(1_000, 9_000))))
    return bars


BARS = {symbol: bars_of(symbol) for symbol in SYMBOLS}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("golden") / "bars.csv"
    lines = [
        f"{date(2020, 1, 1) + timedelta(bar.day)},{symbol},{','.join(map(repr, bar[1:]))}"
        for symbol, bars in BARS.items()
        for bar in bars
    ]
    file.write_text("\n".join(["date,symbol,open,high,low,close,volume", *lines]))
    return str(file)


def ema(values: list[float], span: int) -> list[float]:
    found = values[:1]
    for value in values[1:]:
        found.append(found[-1] + 2 / (span + 1) * (value - found[-1]))
    return found


def wilder(values: list[float], period: int) -> list[float]:
    """Of values from the second bar on, smoothed; the first is at bar `period`."""
    found = [math.nan] * period + [math.fsum(values[:period]) / period]
    for value in values[period:]:
        found.append((found[-1] * (period - 1) + value) / period)
    return found


def z_score(values: list[float]) -> float:
    return (values[-1] - math.fsum(values) / len(values)) / statistics.stdev(values)


def features_of(bars: list[Bar]) -> list[list[float]]:
    """The features of each bar, those of the first `WARMUP` left out."""
    close = [bar.close for bar in bars]
    steps = [after - before for before, after in pairwise(close)]
    gain, loss = wilder([max(step, 0) for step in steps], 14), wilder([max(-step, 0) for step in steps], 14)
    reach = [max(bar.high, before.close) - min(bar.low, before.close) for before, bar in pairwise(bars)]
    atr = wilder(reach, 14)
    macd = [fast - slow for fast, slow in zip(ema(close, 12), ema(close, 26), strict=True)]
    signal = ema(macd, 9)
    found = []
    for t in range(WARMUP, len(bars)):
        bar = bars[t]
        found.append(
            [
                *(math.log(close[t] / close[t - span]) for span in (1, 5, 20)),
                statistics.stdev(math.log(close[i] / close[i - 1]) for i in range(t - 19, t + 1)),
                gain[t] / (gain[t] + loss[t]),
                (macd[t] - signal[t]) / close[t],
                atr[t] / close[t],
                z_score(close[t - 19 : t + 1]),
                z_score([math.log(each.volume) for each in bars[t - 19 : t + 1]]),
                (2 * bar.close - bar.high - bar.low) / (bar.high - bar.low),
            ]
        )
    return found


def ranks(values: list[float]) -> list[float]:
    """From 0 up; equal ones share the mean."""
    return [sum(a < b for a in values) + (sum(a == b for a in values) - 1) / 2 for b in values]


@cache
def rows_of(target: str, horizon: int) -> list[Row]:
    """The rows of all symbols in order of date and symbol."""
    rows = []
    for symbol, bars in BARS.items():
        for t, features in enumerate(features_of(bars), WARMUP):
            if t + horizon < len(bars):
                ahead, after = bars[t + horizon], bars[t + 1]
                change = math.log(ahead.close / bars[t].close)
                step = math.log(after.close / bars[t].close)
                label = float(change > 0) if target == "direction" else change
                rows.append(Row(bars[t].day, symbol, ahead.day, after.day, features, label, step))
    rows.sort()
    if target not in {"excess_return", "rank"}:
        return rows
    found = []
    for row in rows:
        peers = [each for each in rows if each.day == row.day]
        labels, place = [each.target for each in peers], peers.index(row)
        label = row.target - math.fsum(labels) / len(labels)
        if target == "rank":
            label = ranks(labels)[place] / (len(labels) - 1) - 0.5 if len(labels) > 1 else 0.0
        found.append(row._replace(target=label, known=max(each.known for each in peers)))
    return found


def blocks_of(rows: list[Row], horizon: int) -> list[list[int]]:
    """The rows of the train, validation and test part: 70, 15 and 15 % of the dates."""
    days = sorted({row.day for row in rows})
    seams = [days[0], days[len(days) * 70 // 100], days[len(days) * 85 // 100]]
    blocks = []
    for start, end in zip(seams, [*seams[1:], None], strict=True):
        kept = [at for at, row in enumerate(rows) if row.day >= start]
        if end is not None:  # `horizon` dates are dropped, and what is known only when the next part has begun
            last = days[days.index(end) - horizon]
            kept = [at for at in kept if rows[at].day < last and rows[at].known < end]
        blocks.append(kept)
    return blocks


def scaled_slowly(rows: list[Row], train: list[int], scaling: str) -> list[list[float]]:
    """Every feature less its mean, over its standard deviation (ddof 0): of which rows, `scaling` says.

    Fitted are all rows of the train dates: the features of one whose target is known too late are known in time.
    """
    seen = [row for row in rows if row.day <= rows[train[-1]].day]
    found = []
    for row in rows:
        if scaling == "date":
            peers = [each for each in rows if each.day == row.day]
        else:
            peers = [each for each in seen if scaling == "pooled" or each.symbol == row.symbol]
        columns = list(zip(*(each.features for each in peers), strict=True))
        spreads = [statistics.pstdev(column) for column in columns]
        centred = [value - statistics.fmean(column) for value, column in zip(row.features, columns, strict=True)]
        found.append([move / spread if spread else 0.0 for move, spread in zip(centred, spreads, strict=True)])
    return found


@cache
def prepared(path: str, target: str, horizon: int, scaling: str = "pooled") -> PreparedData:
    config = DataConfig("csv", "csv", path, symbols="all", target=target, horizon=horizon, scaling=scaling)
    return prepare_data(config, "float64")


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("target", TARGETS)
def test_features_targets_and_parts(path: str, target: str, horizon: int) -> None:
    data, rows = prepared(path, target, horizon), rows_of(target, horizon)
    assert [data.layout.names[code] for code in data.layout.symbol] == [row.symbol for row in rows]
    assert [(day.date() - date(2020, 1, 1)).days for day in data.index] == [row.day for row in rows]
    assert list(data.feature_names) == NAMES
    np.testing.assert_allclose(data.raw, [row.features for row in rows], rtol=0, atol=1e-12)
    assert data.target == pytest.approx([row.target for row in rows], abs=1e-12)
    assert data.next_return == pytest.approx([row.next_return for row in rows], abs=1e-12)
    assert [block.numbers.tolist() for block in (data.train, data.val, data.test)] == blocks_of(rows, horizon)
    assert data.train.without  # rows of B, whose next bar comes after the train dates


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("scaling", ["pooled", "symbol", "date"])
def test_scaling(path: str, scaling: str, horizon: int) -> None:
    rows = rows_of("return", horizon)
    expected = scaled_slowly(rows, blocks_of(rows, horizon)[0], scaling)
    np.testing.assert_allclose(prepared(path, "return", horizon, scaling).scaled, expected, rtol=0, atol=1e-12)


@dataclass
class Judged:
    """What forecasts of some rows lead to: lists have a value a row, or a value a date."""

    position: list[float]
    weight: list[float]
    returns: list[float]
    changes: list[float]
    market: list[float]


def wanted_slowly(all_rows: list[Row], rows: list[Row], scores: list[float], rule: str) -> tuple[list[float], ...]:
    """Position and weight that each row's forecast asks for."""
    positions, weights = [], []
    for row, score in zip(rows, scores, strict=True):
        side = math.copysign(1, score) if score else 0.0
        peers = [(each, other.symbol) for each, other in zip(scores, rows, strict=True) if other.day == row.day]
        n, tails = len(peers), 0
        position = side
        if rule == "long_only":
            position = max(side, 0.0)
        elif rule == "threshold" and abs(score) <= THRESHOLD:
            position = 0.0
        elif rule == "proportional":
            position = max(min(score / SPREAD, MOST), -MOST)
        elif rule == "vol_target":
            past = [each.next_return for each in all_rows if each.symbol == row.symbol and each.following <= row.day]
            position = side * min(VOLATILITY / (statistics.stdev(past[-WINDOW:]) * math.sqrt(YEAR)), MOST)
        elif rule == "long_short":
            tails = max(1, n // 5) if n >= LEAST else 0
            place = sorted(peers).index((score, row.symbol))
            position = float(place >= n - tails) - float(place < tails)
        positions.append(position)
        weights.append(position / 2 / tails if tails else position / n)
    return positions, weights


def held_slowly(wanted: list[float], rows: list[Row], horizon: int) -> list[float]:
    found = []
    for at, row in enumerate(rows):
        own = [value for value, each in zip(wanted[: at + 1], rows, strict=False) if each.symbol == row.symbol]
        found.append(math.fsum(own[:-LAG][-horizon:]) / horizon)
    return found


def booked_slowly(weight: list[float], rows: list[Row]) -> tuple[list[float], list[float], list[float]]:
    """Gross return, sum of weights' changes, and sum of short weights of each date."""
    days = sorted({row.day for row in rows})
    gross, changes, short = [], [], []
    held = dict.fromkeys(SYMBOLS, 0.0)
    for place, day in enumerate(days):
        # A return is booked on the last date before its symbol's next bar; beyond the last date it is not.
        until = days[place + 1] if place + 1 < len(days) else day + 1
        booked = [at for at, row in enumerate(rows) if day < row.following <= until]
        gross.append(math.fsum(weight[at] * math.expm1(rows[at].next_return) for at in booked))
        before = dict(held)
        for symbol in SYMBOLS:
            past = [at for at, row in enumerate(rows) if row.symbol == symbol and row.day <= day]
            ended = past and not any(row.symbol == symbol and row.day > day for row in rows)
            if past and rows[past[-1]].day == day:
                held[symbol] = weight[past[-1]]
            elif ended and rows[past[-1]].following <= day:  # sold at its next bar, the last that counts
                held[symbol] = 0.0
        changes.append(math.fsum(abs(held[symbol] - before[symbol]) for symbol in SYMBOLS))
        short.append(math.fsum(max(-each, 0.0) for each in held.values()))
    return gross, changes, short


def judged_slowly(target: str, horizon: int, rule: str, scores: list[float]) -> Judged:
    all_rows = rows_of(target, horizon)
    rows = [all_rows[at] for at in blocks_of(all_rows, horizon)[1]]
    positions, weights = wanted_slowly(all_rows, rows, scores, rule)
    weight = held_slowly(weights, rows, horizon)
    gross, changes, short = booked_slowly(weight, rows)
    net = [a - COST * b - BORROW / YEAR * c for a, b, c in zip(gross, changes, short, strict=True)]
    equal = [1 / sum(each.day == row.day for each in rows) for row in rows]
    return Judged(held_slowly(positions, rows, horizon), weight, net, changes, booked_slowly(equal, rows)[0])


def correlation(a: list[float], b: list[float]) -> float | None:
    """Pearson's; None where there are too few, or one of them is constant."""
    if len(a) < LEAST or len(set(a)) == 1 or len(set(b)) == 1:
        return None
    return statistics.correlation(a, b)


def across_slowly(target: str, horizon: int, forecast: list[float]) -> dict[str, float]:
    all_rows = rows_of(target, horizon)
    rows = [all_rows[at] for at in blocks_of(all_rows, horizon)[1]]
    pearson, spearman = [], []
    for day in sorted({row.day for row in rows}):
        actual = [row.target for row in rows if row.day == day]
        given = [each for each, row in zip(forecast, rows, strict=True) if row.day == day]
        pearson.append(correlation(actual, given))
        spearman.append(correlation(ranks(actual), ranks(given)))
    series = [each for each in pearson if each is not None]
    mean, n = statistics.fmean(series), len(series)
    moves = [each - mean for each in series]
    variance = math.fsum(move**2 for move in moves) / n
    lags = max(5, horizon - 1)
    for lag in range(1, lags + 1):
        shared = math.fsum(a * b for a, b in zip(moves[lag:], moves, strict=False)) / n
        variance += 2 * (1 - lag / (lags + 1)) * shared
    return {
        "cs_ic": mean,
        "cs_rank_ic": statistics.fmean(each for each in spearman if each is not None),
        "cs_icir": mean / statistics.stdev(series),
        "cs_ic_t": mean / math.sqrt(variance / n),
    }


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", TARGETS)
def test_positions_weights_returns_costs_and_metrics_of_dates(path: str, target: str, rule: str, horizon: int) -> None:
    data = prepared(path, target, horizon)
    loss, neutral = ("bce", 0.5) if target == "direction" else ("mse", 0.0)
    numbers = {"threshold": THRESHOLD, "max_position": MOST, "vol_target": VOLATILITY, "vol_window": WINDOW}
    costs = {"cost_bps": COST * 1e4, "borrow_bps": BORROW * 1e4, "execution_lag": LAG, "periods_per_year": YEAR}
    evaluation = EvaluationConfig(position=rule, min_symbols=LEAST, **numbers, **costs)  # type: ignore[arg-type]
    config = Config(data=DataConfig(target=target), training=TrainingConfig(loss=loss), evaluation=evaluation)
    draw = np.random.default_rng(5)
    scores = draw.choice([-0.4, -0.3, -0.05, 0.0, 0.05, 0.2, 0.45], len(data.val)).tolist()
    forecast = [score + neutral for score in scores]
    scores = [each - neutral for each in forecast]
    found = judge_rows(data, data.val, forecast, Rules.of(config, data), SPREAD)
    expected = judged_slowly(target, horizon, rule, scores)
    assert found.position == pytest.approx(expected.position, abs=1e-12)
    assert found.weight == pytest.approx(expected.weight, abs=1e-12)
    assert found.returns == pytest.approx(expected.returns, abs=1e-12)
    assert found.own.changes == pytest.approx(expected.changes, abs=1e-12)
    assert found.own.market == pytest.approx(expected.market, abs=1e-12)
    across = across_slowly(target, horizon, forecast)
    assert {name: found.metrics[name] for name in across} == pytest.approx(across, abs=1e-12)
