"""Position rules and the portfolios that they lead to, against plain loops, and what they may and may not depend on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_exp.config.plugins import position
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.errors import ConfigError, TrainingError
from tradingbot_exp.evaluation.metrics.evaluate import Evaluation, bar_columns, validation_metrics
from tradingbot_exp.evaluation.positions import FUNCTIONS, Signals, Sizing, realised_volatility, spread_of
from tradingbot_exp.evaluation.rules import Rules

SPREAD, YEAR = 0.02, 252.0
RULES = [name for name in POSITIONS if name != "long_short"]


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of several symbols, their forecasts, and the log returns that follow."""

    layout: Layout
    forecast: np.ndarray
    returns: np.ndarray

    def judged(self, rules: Rules) -> Evaluation:
        known = realised_volatility(self.returns, rules.sizing.vol_window, YEAR, self.layout)
        f, r = self.forecast, self.returns
        return validation_metrics(r, f, r, 0.0, rules, layout=self.layout, spread=SPREAD, volatility=known)

    def until(self, date: int) -> Panel:
        """What of it is known when a date closes."""
        rows = self.layout.date <= date
        return Panel(self.layout.take(rows), self.forecast[rows], self.returns[rows])


def panel_of(bars: np.ndarray, seed: int, first: int = 0) -> Panel:
    """Make a panel of a table dates × symbols that says where there are bars; the last of each symbol is no row."""
    rng = np.random.default_rng(seed)
    rows = []
    for symbol in range(bars.shape[1]):
        dates = np.flatnonzero(bars[:, symbol])
        rows += [(date + first, symbol, after - date) for date, after in pairwise(dates)]
    table = np.array(sorted(rows), dtype=int).reshape(-1, 3)
    layout = Layout(*table.T, names=tuple(f"S{number}" for number in range(bars.shape[1])))  # type: ignore[arg-type]
    # Coarse numbers, so that there are ties.
    forecast = rng.integers(-4, 5, len(table)) / 100
    return Panel(layout, forecast, rng.normal(0, 0.02, len(table)))


@st.composite
def panels(draw: Any) -> Panel:
    """Symbols that start late, end early, miss bars, or have none."""
    dates, symbols = draw(st.integers(2, 14)), draw(st.integers(1, 6))
    cells = st.lists(st.booleans(), min_size=symbols, max_size=symbols)
    bars = np.array(draw(st.lists(cells, min_size=dates, max_size=dates)))
    bars[:2, 0] = True  # one row at least
    return panel_of(bars, draw(st.integers(0, 99)), first=draw(st.integers(0, 3)))


def wanted_slowly(panel: Panel, rules: Rules) -> tuple[list[float], list[float]]:
    """Position and weight that each row asks for, a row at a time."""
    layout, sizing, positions, weights = panel.layout, rules.sizing, [], []
    for row, (date, symbol) in enumerate(zip(layout.date, layout.symbol, strict=True)):
        score = panel.forecast[row] - rules.neutral
        side = float(score > 0) - float(score < 0)
        before = [panel.returns[i] for i in range(row) if layout.symbol[i] == symbol][-sizing.vol_window :]
        peers = [(panel.forecast[i], layout.symbol[i]) for i in range(len(layout)) if layout.date[i] == date]
        n, k = len(peers), 0
        held = side
        if sizing.rule == "long_only":
            held = float(score > 0)
        elif sizing.rule == "threshold":
            held = side if abs(score) > sizing.threshold else 0.0
        elif sizing.rule == "proportional":
            held = min(max(score / SPREAD, -sizing.max_position), sizing.max_position)
        elif sizing.rule == "vol_target":
            held = 0.0
            if len(before) == sizing.vol_window:
                year = statistics.stdev(before) * math.sqrt(YEAR)
                held = side * min(sizing.vol_target / year, sizing.max_position)
        elif sizing.rule == "long_short":
            k = max(1, int(sizing.quantile * n + 1e-9)) if n >= sizing.min_symbols else 0
            place = sorted(peers).index((panel.forecast[row], symbol))
            held = float(place >= n - k) - float(place < k)
        positions.append(held)
        weights.append(held * 0.5 / k if k else held / n)
    return positions, weights


def held_slowly(wanted: list[float], panel: Panel, rules: Rules) -> list[float]:
    found = []
    for row, symbol in enumerate(panel.layout.symbol):
        own = [wanted[i] for i in range(row + 1) if panel.layout.symbol[i] == symbol]
        own = own[: len(own) - rules.lag] if rules.lag else own
        found.append(sum(own[-rules.horizon :]) / rules.horizon)
    return found


def judged_slowly(panel: Panel, rules: Rules, weight: list[float]) -> tuple[list[float], list[float]]:
    """Net return and sum of changes of each date, a date and a symbol at a time."""
    layout = panel.layout
    dates = sorted(set(layout.date.tolist()))
    rows = {(d, s): i for i, (d, s) in enumerate(zip(layout.date.tolist(), layout.symbol.tolist(), strict=True))}
    holding, sold_on, returns, changes = {}, {}, [], []
    for date in dates:
        changed = earned = borrowed = 0.0
        for symbol in range(len(layout.names)):
            old = holding.get(symbol, 0.0)
            new = old
            if (date, symbol) in rows:
                row = rows[date, symbol]
                new, sold_on[symbol] = weight[row], date + layout.ahead[row]
            elif (
                symbol in sold_on
                and date >= sold_on[symbol]
                and not any((d, symbol) in rows for d in dates if d > date)
            ):
                new = 0.0
            changed += abs(new - old)
            borrowed += max(-new, 0.0)
            holding[symbol] = new
        for row in range(len(layout)):
            booked = layout.date[row] + layout.ahead[row] - 1
            if booked <= dates[-1] and max(each for each in dates if each <= booked) == date:
                earned += weight[row] * math.expm1(panel.returns[row])
        returns.append(earned - rules.cost_bps * 1e-4 * changed - rules.borrow_bps * 1e-4 / YEAR * borrowed)
        changes.append(changed)
    return returns, changes


def rules_of(rule: str, horizon: int = 1, lag: int = 1, **numbers: Any) -> Rules:
    sizing = Sizing(rule, threshold=0.02, max_position=1.5, vol_window=3, **numbers)
    return Rules(horizon, lag, 7.0, 0.0, YEAR, sizing, 250.0)


@given(panels(), st.sampled_from([*POSITIONS]), st.integers(1, 3), st.integers(0, 2), st.sampled_from([0.2, 0.34, 0.5]))
def test_a_panel_is_judged_as_plain_loops_judge_it(
    panel: Panel, rule: str, horizon: int, lag: int, quantile: float
) -> None:
    rules = rules_of(rule, horizon, lag, quantile=quantile)
    positions, weights = (held_slowly(each, panel, rules) for each in wanted_slowly(panel, rules))
    returns, changes = judged_slowly(panel, rules, weights)
    found = panel.judged(rules)
    assert found.position == pytest.approx(positions, abs=1e-12)
    assert found.weight == pytest.approx(weights, abs=1e-12)
    assert found.returns == pytest.approx(returns, abs=1e-12)
    assert found.own.changes == pytest.approx(changes, abs=1e-12)
    assert len(found.returns) == len(set(panel.layout.date.tolist())) == len(found.own.market)
    assert found.metrics["turnover"] == pytest.approx(statistics.fmean(changes), abs=1e-12)
    equal, _ = judged_slowly(panel, Rules(lag=0, cost_bps=0.0), wanted_slowly_all_long(panel))
    assert found.own.market == pytest.approx(equal, abs=1e-12)


def wanted_slowly_all_long(panel: Panel) -> list[float]:
    dates = panel.layout.date.tolist()
    return [1 / dates.count(date) for date in dates]


@pytest.mark.parametrize("rule", RULES)
@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 99))
def test_one_instrument_is_a_panel_of_one(rule: str, horizon: int, lag: int, seed: int) -> None:
    panel = panel_of(np.ones((30, 1), dtype=bool), seed)
    rules = rules_of(rule, horizon, lag)
    layout = Layout.of_one(len(panel.returns))
    known = realised_volatility(panel.returns, 3, YEAR, layout)
    alone = validation_metrics(
        panel.returns, panel.forecast, panel.returns, 0.0, rules, layout=layout, spread=SPREAD, volatility=known
    )
    together = panel.judged(rules)
    assert alone.position.tolist() == together.position.tolist() == together.weight.tolist() == alone.weight.tolist()
    assert alone.returns.tolist() == together.returns.tolist()
    assert alone.metrics == together.metrics
    assert bar_columns(alone, panel.returns).keys() == {
        "position",
        "next_log_return",
        "strategy_return",
        "buy_hold_return",
    }


def test_each_rule_on_one_instrument_worked_by_hand() -> None:
    forecast = [0.01, -0.03, 0.0, 0.05]
    volatility = [np.nan, 0.3, 0.3, 0.05]

    def wanted(rule: str, **numbers: float) -> list[float]:
        sizing = Sizing(rule, **numbers)  # type: ignore[arg-type]
        return Rules(sizing=sizing).wanted(forecast, Layout.of_one(4), 0.02, volatility).tolist()

    assert wanted("sign") == [1, -1, 0, 1]
    assert wanted("long_only") == [1, 0, 0, 1]
    assert wanted("threshold", threshold=0.01) == [0, -1, 0, 1]
    assert wanted("proportional") == pytest.approx([0.5, -1, 0, 1])
    assert wanted("proportional", max_position=2) == pytest.approx([0.5, -1.5, 0, 2])
    assert wanted("vol_target") == pytest.approx([0, -0.5, 0, 1])
    assert wanted("vol_target", vol_target=0.06, max_position=1.1) == pytest.approx([0, -0.2, 0, 1.1])
    # Of a probability the distance from a half counts.
    half = Rules(neutral=0.5, sizing=Sizing("threshold", threshold=0.1))
    assert half.wanted([0.55, 0.65, 0.35], Layout.of_one(3)).tolist() == [0, 1, -1]


def test_what_a_rule_goes_by_and_does_not_have_is_said() -> None:
    one = Layout.of_one(1)
    assert Rules(sizing=Sizing("proportional")).wanted([0.1], one, spread=0.0).tolist() == [0]
    with pytest.raises(ValueError, match="spread is not known"):
        Rules(sizing=Sizing("proportional")).wanted([0.1], one)
    with pytest.raises(ValueError, match="borrow_bps is 5"):
        Rules(borrow_bps=5.0)
    with pytest.raises(ValueError, match="borrow_bps is -1"):
        Rules(borrow_bps=-1.0, periods=YEAR)


def test_volatility_is_that_of_the_last_returns_known_at_the_close() -> None:
    returns = np.log([1.01, 0.98, 1.03, 1.0])
    layout = Layout.of_one(4)
    found = realised_volatility(returns, 2, YEAR, layout)
    assert np.isnan(found[:2]).all()
    assert found[2:] == pytest.approx([np.std(returns[at : at + 2], ddof=1) * math.sqrt(YEAR) for at in (0, 1)])
    assert np.isnan(realised_volatility(returns, 9, YEAR, layout)).all()
    assert realised_volatility([], 2, YEAR, Layout.of_one(0)).size == 0
    assert spread_of(np.array([1.0, 3.0])) == pytest.approx(math.sqrt(2)) and spread_of(np.array([0.1] * 3)) == 0


@given(panels(), st.sampled_from([*POSITIONS]), st.integers(1, 3), st.integers(0, 2), st.data())
def test_no_position_sees_the_future(panel: Panel, rule: str, horizon: int, lag: int, data: Any) -> None:
    rules = rules_of(rule, horizon, lag)
    now = data.draw(st.sampled_from(sorted(set(panel.layout.date.tolist()))))
    later = panel.layout.date > now
    # A row's own return comes after it.
    forecast, returns = panel.forecast.copy(), panel.returns.copy()
    forecast[later] *= -3
    returns[panel.layout.date >= now] *= -3
    changed = Panel(panel.layout, forecast, returns).judged(rules)
    before = panel.judged(rules)
    for other in (changed.position[~later], panel.until(now).judged(rules).position):
        assert other.tolist() == before.position[~later].tolist()
    assert changed.weight[~later].tolist() == before.weight[~later].tolist()


@given(st.integers(3, 12), st.integers(1, 3), st.integers(0, 2), st.integers(0, 99))
def test_a_panel_without_gaps_weighs_longs_and_shorts_alike(symbols: int, horizon: int, lag: int, seed: int) -> None:
    panel = panel_of(np.ones((9, symbols), dtype=bool), seed)
    weight = panel.judged(rules_of("long_short", horizon, lag)).weight.reshape(-1, symbols)
    assert weight.sum(axis=1) == pytest.approx(0, abs=1e-12)
    gross = np.abs(weight).sum(axis=1)
    assert np.all(gross <= 1 + 1e-12)
    if horizon == 1:
        assert gross[lag:] == pytest.approx(1) and not gross[:lag].any()


@given(panels(), st.sampled_from([*POSITIONS]))
def test_with_positions_of_at_most_1_no_date_asks_for_more_than_all_of_wealth(panel: Panel, rule: str) -> None:
    rules = rules_of(rule)
    rules = replace(rules, sizing=replace(rules.sizing, max_position=1.0))
    known = realised_volatility(panel.returns, rules.sizing.vol_window, YEAR, panel.layout)
    wanted = rules.wanted(panel.forecast, panel.layout, SPREAD, known)
    by_date = np.bincount(panel.layout.date, np.abs(rules.weights(wanted, panel.layout)))
    assert np.all(by_date <= 1 + 1e-12)


@pytest.mark.parametrize("rule", ["sign", "long_only", "proportional", "vol_target", "long_short"])
@given(panels(), st.sampled_from([0.25, 4.0, 1024.0]))
def test_the_unit_of_the_forecasts_does_not_matter(rule: str, panel: Panel, unit: float) -> None:
    rules = rules_of(rule)
    known = realised_volatility(panel.returns, 3, YEAR, panel.layout)
    before, after = (rules.wanted(scale * panel.forecast, panel.layout, scale * SPREAD, known) for scale in (1.0, unit))
    assert before.tolist() == after.tolist()


def test_a_symbol_that_misses_a_bar_keeps_its_weight_and_is_sold_at_its_next_one() -> None:
    # A has bars on dates 0 to 4; B on 0, 1, 3; C on 0 and 3. The last of each is no row.
    layout = Layout(
        np.array([0, 0, 0, 1, 1, 2, 3]),
        np.array([0, 1, 2, 0, 1, 0, 0]),
        np.array([1, 1, 3, 1, 2, 1, 1]),
        ("A", "B", "C"),
    )
    simple = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
    rules = Rules(lag=0, cost_bps=100.0)
    judged = validation_metrics(simple, np.ones(7), np.log1p(simple), 0.0, rules, layout=layout)
    third, half = 1 / 3, 1 / 2
    assert judged.weight == pytest.approx([third, third, third, half, half, 1, 1])
    # On date 2 B and C are still held, and cannot be traded; on date 3 both are sold.
    assert judged.own.changes == pytest.approx([1, 2 * (half - third), half, half + third])
    earned = [0.01 * third + 0.02 * third, 0.04 * half, 0.06 + 0.05 * half + 0.03 * third, 0.07]
    assert judged.own.market == pytest.approx(earned)
    assert judged.returns == pytest.approx([a - 0.01 * b for a, b in zip(earned, judged.own.changes, strict=True)])
    columns = bar_columns(judged, np.log1p(simple))
    assert columns["weight"].tolist() == judged.weight.tolist()
    assert columns["strategy_return"].tolist() == judged.returns[[0, 0, 0, 1, 1, 2, 3]].tolist()
    # What is earned beyond the last date is left out.
    early = validation_metrics(simple[:5], np.ones(5), np.log1p(simple[:5]), 0.0, rules, layout=layout.take(slice(5)))
    assert early.own.market == pytest.approx(earned[:2])


def test_a_rule_of_ones_own_sees_what_those_of_this_package_see() -> None:
    @position("contrarian", invested=True)
    def contrarian(signals: Signals) -> np.ndarray:
        assert signals.layout is not None and signals.sizing.max_position == 1.5
        return np.where(signals.volatility > 0.1, -signals.score / signals.spread, 0.0)

    panel = panel_of(np.ones((9, 4), dtype=bool), 3)
    judged = panel.judged(rules_of("contrarian", lag=0))
    by_date = np.abs(judged.weight.reshape(-1, 4)).sum(axis=1)
    assert not by_date[:3].any() and by_date[3:] == pytest.approx(1)
    assert np.all(judged.weight * panel.forecast <= 0)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda: [1.0], r"gave the shape \(1,\); expected a finite number for each of 2 rows"),
        (lambda: [1.0, math.nan], "gave NaN or infinity"),
    ],
)
def test_a_rule_that_raises_or_gives_no_positions_is_named(given: Callable[[], Any], text: str) -> None:
    position("odd")(lambda signals: given())
    with pytest.raises(TrainingError, match=rf"The position rule odd \(.*\) {text}"):
        Rules(sizing=Sizing("odd")).positions([0.1, 0.2], Layout.of_one(2))


def test_the_name_of_a_rule_has_to_be_free() -> None:
    with pytest.raises(ConfigError, match="'sign' is a rule of this package"):
        position("sign")
    with pytest.raises(ConfigError, match="'Mine!' is not a name for a position rule"):
        position("Mine!")
    position("mine")(FUNCTIONS["sign"])
    with pytest.raises(ConfigError, match=r"evaluation.position: 'mine' is .* already"):
        position("mine")(spread_of)
