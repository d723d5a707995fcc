"""The comparison in short: what comes out of it, and what a reader must not miss of runs and data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tradingbot_exp.config.losses import LOSS_KEYS
from tradingbot_exp.evaluation.metrics.target import naive_name
from tradingbot_exp.plots.numbers import count
from tradingbot_exp.reporting.comparison.compared import LETTERS, Compared, grouped
from tradingbot_exp.reporting.comparison.context import code_notices, only_seed_differs
from tradingbot_exp.reporting.comparison.differences import NAMES, amount
from tradingbot_exp.reporting.comparison.numbers import Difference
from tradingbot_exp.reporting.comparison.pairs import bars_of
from tradingbot_exp.reporting.page.metrics import RULES, MetricRow, read_params, validation_dates
from tradingbot_exp.reporting.page.page import Block, Notice, Paragraph, Tile, Tiles
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.differences import differing
from tradingbot_exp.tracking.reading.records import TrainingRecord

_ENDINGS = {
    "RUNNING": "is still running: its numbers will change",
    "SCHEDULED": "has not started: there are no numbers yet",
    "FAILED": "failed: its numbers are those until then",
    "KILLED": "was interrupted: its numbers are those until then",
}


def summary_blocks(compared: Compared) -> list[Block]:
    """Say what comes out of the comparison, and what makes it unlike for unlike."""
    records, rows = compared.records, compared.metrics
    naive = " or ".join(dict.fromkeys(naive_name(record.run.params) for record in records))
    outcome = headline(compared.differences, len(records), seeds_only=only_seed_differs(records))
    return [
        Paragraph(" ".join([outcome, against_baselines(rows, naive)]).strip()),
        *data_notices(records),
        *status_notices(records),
        *(each for each in code_notices(records) if each.tone != "muted"),
        *_tiles(compared),
    ]


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
    apart = {run: [each for each in numbers if each.run == run] for run in range(1, runs)}
    same = [run for run, own in apart.items() if own and all(each.is_nothing for each in own)]
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
    if alone := [LETTERS[run] for run, own in apart.items() if not own]:
        parts.append(f"{listed(alone)} cannot be compared with A bar by bar.")
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


def _tiles(compared: Compared) -> list[Block]:
    """Show the best run by error and by Sharpe ratio, and how many differences are more than luck."""
    rows = {row.name: row for row in compared.metrics}
    tiles = []
    for name, rival, label in (
        ("val_mse", "val_zero_mse", "Lowest validation MSE"),
        ("val_sharpe", "val_buy_hold_sharpe", "Highest net Sharpe ratio"),
    ):
        row = rows.get(name)
        if row is not None and row.best:
            best = row.best[0]
            run = compared.records[best].run
            beside = rows[rival].values[best] if rival in rows else None
            against = f"the {naive_name(run.params)}" if name == "val_mse" else "buy and hold"
            context = run.name + (f"; {against}: {row.metric.text(beside)}" if beside is not None else "")
            tiles.append(Tile(label, f"{LETTERS[best]}: {row.metric.text(row.values[best])}", context))
    tested = [each for each in compared.differences if not each.problem]
    if tested:
        value = f"{sum(each.holds for each in tested)} of {len(tested)}"
        tiles.append(Tile("Differences beyond luck", value, "from A, by interval and corrected p-value"))
    return [Tiles(tiles)] if tiles else []


def status_notices(records: Sequence[TrainingRecord]) -> list[Notice]:
    """Say which runs are not finished, and which lack what a comparison takes."""
    lettered = list(zip(LETTERS, records, strict=False))
    notices = []
    for letter, record in lettered:
        if record.run.status in _ENDINGS:
            error = record.run.tags.get("error")
            notices.append(Notice(f"{letter} {_ENDINGS[record.run.status]}{f' ({error})' if error else ''}."))
    foreign = [letter for letter, record in lettered if not record.run.kind]
    without = [(letter, record.run.kind) for letter, record in lettered if record.run.kind and bars_of(record) is None]
    if foreign:
        was = "were" if len(foreign) > 1 else "was"
        notices.append(
            Notice(f"{listed(foreign)} {was} logged by something else: only what is on record can be compared.")
        )
    if without:
        verb = "have" if len(without) > 1 else "has"
        trial = " A study keeps the forecasts of its best trial; hpo.keep=all keeps all."
        kept = trial if any(kind == "trial" for _, kind in without) else ""
        who = listed([letter for letter, _ in without])
        notices.append(Notice(f"{who} {verb} no forecasts on record, so only the metrics can be compared.{kept}"))
    for letter, record in lettered:
        notices += [Notice(f"{letter}: not readable: {problem}") for problem in record.artifacts.problems]
    return notices


def data_notices(records: Sequence[TrainingRecord]) -> list[Notice]:
    """Say whether the runs saw the same data, the same validation bars, and were judged by the same rules."""
    notices = []
    marks = [record.fingerprint for record in records]
    known = [mark for mark in marks if mark is not None]
    if len(set(known)) > 1:
        names = [each.run.tags.get("data.name") or each.run.params.get("data.name", "data") for each in records]
        seen = [f"{name} {mark[:8]}" if mark else None for name, mark in zip(names, marks, strict=True)]
        notices.append(
            Notice(f"These runs saw different data: their metrics are not comparable ({grouped(seen)}).", "bad")
        )
    if len(known) < len(marks):
        lost = [letter for letter, mark in zip(LETTERS, marks, strict=False) if mark is None]
        notices.append(
            Notice(f"Which data {listed(lost)} saw is not recorded, so nobody can say whether metrics are comparable.")
        )
    dates = [validation_dates(record) for record in records]
    if len({pair for pair in dates if None not in pair}) > 1:
        spans = [f"{start} to {end}" if start and end else None for start, end in dates]
        notices.append(
            Notice(
                f"The runs were validated on different bars ({grouped(spans)}): their metrics are not comparable. The "
                "paired differences, where there are any, use only bars that both runs have."
            )
        )
    for keys, what in (
        (("data.target", "data.horizon"), "forecast different things: errors and correlations are not comparable"),
        (RULES, "were judged by different rules: returns and Sharpe ratios are not like for like"),
        (LOSS_KEYS, "were trained on different losses: final and best losses are not comparable"),
    ):
        rows = [row for row in differing([read_params(record.run.params) for record in records]) if row.name in keys]
        rows = [row for row in rows if None not in row.values]
        if rows:
            notices.append(Notice(f"The runs {what} ({'; '.join(f'{r.name}: {grouped(r.values)}' for r in rows)})."))
    return notices
