"""Differences in sentences: what is better than what, by how much, and whether that could be luck."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tradingbot_exp.plots.numbers import MISSING, count, ratio
from tradingbot_exp.reporting.comparison.context import LETTERS, listed
from tradingbot_exp.reporting.comparison.numbers import Difference, Measure, in_unit
from tradingbot_exp.reporting.page.metrics import MetricRow

NAMES: dict[Measure, str] = {
    "return": "mean net return a bar",
    "sharpe": "net Sharpe ratio",
    "mse": "mean squared error",
}


def amount(difference: Difference, value: float, *, signed: bool = True) -> str:
    """Write a difference, or an end of its interval: in basis points, as a ratio, or in % of A's error.

    All three get as many digits as the width of the interval makes sensible.
    """
    width = abs(in_unit(difference, difference.high - difference.low))
    digits = min(max(2 - math.floor(math.log10(width)), 0), 6) if width > 0 and math.isfinite(width) else 1
    text = ratio(in_unit(difference, value), digits, signed=signed)
    return text + {"return": "\u00a0bp", "sharpe": "", "mse": "\u00a0%"}[difference.measure]


def interval(difference: Difference) -> str:
    """Write the 95 % interval, ``−3.1 bp to +2.4 bp``; a dash where there is none."""
    if difference.problem:
        return MISSING
    return f"{amount(difference, difference.low)} to {amount(difference, difference.high)}"


def p_value(value: float) -> str:
    """Write a p-value with the digits that a bootstrap can know."""
    return "< 0.001" if value < 0.001 else ratio(value, 3)


def sentence(difference: Difference) -> str:
    """Say what one difference means."""
    who, what = LETTERS[difference.run], NAMES[difference.measure]
    if difference.problem:
        return f"{who} and A cannot be compared in {what}: {difference.problem}."
    if difference.estimate == 0 and difference.low == difference.high == 0:
        return f"{who} and A have the same {what} on every one of the {count(difference.bars, 'bar')}."
    better, worse = (who, "A") if difference.better else ("A", who)
    by = amount(difference, abs(difference.estimate), signed=False)
    claim = f"{better} is better than {worse} by {by} in {what}"
    if difference.holds:
        return (
            f"{claim}; the 95\u00a0% interval leaves 0 out and the corrected p is {p_value(difference.corrected)}: "
            "more than luck would do."
        )
    if difference.low <= 0 <= difference.high:
        return f"{claim}, but the 95\u00a0% interval includes 0: this could be luck."
    return (
        f"{claim}, and its own 95\u00a0% interval leaves 0 out, but corrected for all comparisons here "
        f"p is {p_value(difference.corrected)}: this could be luck."
    )


def verdict(difference: Difference) -> str:
    """Say in a few words whether a difference is more than luck, as `sentence` does at length."""
    if difference.problem:
        return difference.problem
    if difference.estimate == 0 and difference.low == difference.high == 0:
        return "the same on every bar"
    if difference.holds:
        return f"{LETTERS[difference.run] if difference.better else 'A'} is better, by more than luck"
    return "could be luck"


def headline(found: Sequence[Difference], runs: int, *, seeds_only: bool) -> str:
    """Say in a few sentences what comes out of the comparison.

    Parameters
    ----------
    found : sequence of Difference
    runs : int
        How many runs there are, the reference included.
    seeds_only : bool
        Whether the runs differ in nothing but their seed.
    """
    numbers = [each for each in found if not each.problem]
    if not numbers:
        return "The runs cannot be compared bar by bar; what each recorded is set side by side."
    parts = []
    if seeds_only:
        parts.append("The runs differ only in their seed: whatever differs between them is the spread of training.")
    same = [run for run in range(1, runs) if _identical([each for each in numbers if each.run == run])]
    if same:
        names = listed([LETTERS[run] for run in same])
        parts.append(f"{names} did on every bar exactly what A did.")
    real = [each for each in numbers if each.holds]
    for better in (True, False):
        parts += _claims([each for each in real if each.better is better], better=better)
    left = [run for run in sorted({each.run for each in numbers}) if run not in same]
    left = [run for run in left if not any(each.run == run for each in real)]
    if left:
        who = listed([LETTERS[run] for run in left])
        bars = sorted({each.bars for each in numbers if each.run in left})
        span = count(bars[0], "bar") if len(bars) == 1 else f"{bars[0]:,d} to {count(bars[-1], 'bar')}"
        parts.append(f"{who} cannot be told from A on the {span} that both have: every difference could be luck.")
    apart = [LETTERS[run] for run in range(1, runs) if not any(each.run == run for each in numbers)]
    if apart:
        parts.append(f"{listed(apart)} cannot be compared with A bar by bar.")
    return " ".join(parts)


def against_baselines(rows: Sequence[MetricRow], naive: str) -> str:
    """Say which runs beat the naive forecast in error, and buy and hold in Sharpe ratio; empty if it is not known."""
    named = {row.name: row for row in rows}
    parts = []
    for own, rival, single, plural, words in (
        ("val_mse", "val_zero_mse", "forecasts", "forecast", f"better than the {naive} (by MSE)"),
        ("val_sharpe", "val_buy_hold_sharpe", "has", "have", "a higher Sharpe ratio than buy and hold"),
    ):
        if own not in named or rival not in named:
            continue
        pairs = list(enumerate(zip(named[own].values, named[rival].values, strict=True)))
        known = {
            run: (a, b)
            for run, (a, b) in pairs
            if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
        }
        if not known:
            continue
        sign = named[own].metric.better
        winners = [LETTERS[run] for run, (a, b) in known.items() if sign * a > sign * b]
        of = "" if len(known) == len(pairs) else f" whose numbers are known, {listed([LETTERS[run] for run in known])}"
        verb = plural if len(winners) > 1 else single
        if not winners:
            parts.append(f"None of the runs{of}{',' * bool(of)} {single} {words}.")
        elif len(winners) == len(known):
            parts.append(f"{f'Of the runs{of}, all' if of else 'Every run'} {plural if of else single} {words}.")
        else:
            parts.append(f"Of the runs{of}, only {listed(winners)} {verb} {words}.")
    return " ".join(parts)


def _claims(real: Sequence[Difference], *, better: bool) -> list[str]:
    """Say of each run in what it is better, or worse, than A."""
    claims = []
    for run in sorted({each.run for each in real}):
        own = [each for each in real if each.run == run]
        by = [f"{NAMES[each.measure]} (by {amount(each, abs(each.estimate), signed=False)})" for each in own]
        word = "better" if better else "worse"
        claims.append(f"{LETTERS[run]} is {word} than A in {listed(by)}, by more than luck would do.")
    return claims


def _identical(numbers: Sequence[Difference]) -> bool:
    return bool(numbers) and all(each.estimate == each.low == each.high == 0 for each in numbers)
