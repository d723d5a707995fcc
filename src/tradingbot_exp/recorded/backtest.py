"""A recorded run's validation forecasts, judged under other position rules and costs: nothing is trained."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.config.explain import unknown_key
from tradingbot_exp.config.finalize import tried_sha256, vary
from tradingbot_exp.config.keys import KEYS, value_of
from tradingbot_exp.config.metrics import OWN_METRICS, TABLE
from tradingbot_exp.config.positions import BUILT_IN, JUDGED_BY
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import identity_tags
from tradingbot_exp.data.splits import joined
from tradingbot_exp.errors import ConfigError, DataError, RunError
from tradingbot_exp.evaluation.metrics.evaluate import judge_rows
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.recorded.judgement import judgement_run
from tradingbot_exp.recorded.subject import configuration_of, data_of, is_of_rows
from tradingbot_exp.runtime.text import listed, one_line, plural
from tradingbot_exp.terminal.summary import metric_text, rows
from tradingbot_exp.tracking.reading.ledger import pair_tags
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.store.kinds import BACKTEST
from tradingbot_exp.tracking.store.lookup import BACKTEST_RUN

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import Block, PreparedData
    from tradingbot_exp.evaluation._arrays import Floats

MOST = 300
"""Combinations of values that one call judges."""
FILE = "evaluation/backtest.csv"
METRICS = tuple(name for name in OWN_METRICS if TABLE[name].family == "return")
"""What each combination is judged by."""
_KEYS = tuple(f"evaluation.{name}" for name in JUDGED_BY)


@dataclass(frozen=True, repr=False, eq=False)
class Backtested:
    """A run's validation forecasts under several rules.

    Attributes
    ----------
    run_id, name : str
        Whose forecasts they are.
    backtest_run_id : str
        The run of kind ``backtest`` that records this.
    instrument, start, end : str
        Dates of the first and the last validation bar.
    bars : int
        Of a panel dates.
    table : pandas.DataFrame
        A row a combination: the keys that were given, dotted, and ``val_…``, NaN where a metric is not defined.
    market : dict of str to float
        Buy and hold, at no cost: ``val_buy_hold_…``.
    pairs : int
        Distinct pairs of configuration and position rule, as the ledger counts them.
    """

    run_id: str
    name: str
    backtest_run_id: str
    instrument: str
    start: str
    end: str
    bars: int
    table: pd.DataFrame
    market: dict[str, float]
    pairs: int

    def __repr__(self) -> str:
        return f"Backtested({self.name!r}, run_id={self.run_id!r}, combinations={len(self.table)})"

    def __str__(self) -> str:
        """Lay the table out as the command ``backtest`` does."""
        return as_table(self)

    def _repr_html_(self) -> str:
        """Show the result in a notebook."""
        return f"<pre>{html.escape(as_table(self))}</pre>"


def backtest(
    run: str = "latest",
    values: Mapping[str, Any] | None = None,
    tracking_uri: str | Path | None = None,
    *,
    trust: bool = False,
) -> Backtested:
    """Judge a run's recorded validation forecasts under other rules, and record which were tried.

    Every combination is, for a study that searches for returns, another try on these dates: the ledger counts it as it
    would count a run that was trained with these keys. The test set is not touched.

    Parameters
    ----------
    run : str
        See `tradingbot_exp.tracking.store.lookup.find_run`. Of a study, its ensemble, or the best trial.
    values : mapping, optional
        A value, or a sequence of them, by key: of `evaluation.position`, the keys of position rules,
        `evaluation.cost_bps`, `borrow_bps` and `execution_lag`. Every combination is judged; the run's own rules, if
        none is given.
    tracking_uri : str or Path, optional
        See `tradingbot_exp.tracking.store.store.open_store`.
    trust : bool
        See `RecordedRun`.

    Raises
    ------
    ConfigError
        A key is none of these, a value is impossible, or there are too many combinations.
    RunError, DataError, TrackingError
        The run, its forecasts or its data are not there, or not what they were; or the store cannot be used.
    """
    asked = _checked({key: _listed(given) for key, given in (values or {}).items()})
    loaded = RecordedRun.found(run, tracking_uri, BACKTEST, trust=trust)
    own = configuration_of(loaded)
    configs = [vary(own, dict(zip(asked, each, strict=True))) for each in product(*asked.values())]
    views = fold_views(data_of(loaded, own), own.evaluation)
    data, rows = views[-1], joined([view.val for view in views])
    if data.next_return is None:
        raise DataError(
            f"The data of the run {loaded.run_id} ({loaded.name}) have no one-bar returns, so that no position earns "
            "anything: with data=table, data.returns names their column."
        )
    forecast, spread = _recorded(loaded, data, rows), _spread(loaded, views, configs)
    rules = [Rules.of(each, data) for each in configs]
    identity = identity_tags(own.data, data)
    tried = list(dict.fromkeys(tried_sha256(each, data.symbols) for each in configs))
    tags = {**identity, **pair_tags(tried), "backtest.combinations": len(configs)}
    with judgement_run(
        loaded._store, loaded._run, data, kind=BACKTEST_RUN, name=f"backtest-{loaded.name}", tags=tags
    ) as record:
        judged = [judge_rows(data, rows, forecast, each, spread).metrics for each in rules]
        keys = ["evaluation.position", *(key for key in asked if key != "evaluation.position")]
        table = pd.DataFrame(
            {key: [value_of(each, key) for each in configs] for key in keys}
            | {f"val_{name}": [each.get(name, np.nan) for each in judged] for name in METRICS}
        )
        record.log_text(as_csv(table), FILE)
    market = {f"val_{name}": value for name, value in judged[0].items() if name.startswith("buy_hold_")}
    dates = identity["data.val_start"], identity["data.val_end"]
    return Backtested(
        *(loaded.run_id, loaded.name, record.run_id, identity["data.instrument"], *dates),
        *(len(data.days(rows)), table, market, len(tried)),
    )


def as_csv(table: pd.DataFrame) -> str:
    """Write the table as CSV, each number so that it is read back to the bit."""
    return str(table.to_csv(index=False, float_format="%.17g"))


def as_table(found: Backtested) -> str:
    """Lay out a row a combination, and buy and hold below."""
    keys = [name for name in found.table if name in _KEYS]
    shown = [row for row in rows() if row.name in METRICS]
    lines = [[*(key.removeprefix("evaluation.") for key in keys), *(row.label.removesuffix(", net") for row in shown)]]
    for each in found.table.to_dict("records"):
        known = {str(name): value for name, value in each.items() if name in keys or np.isfinite(value)}
        lines.append(
            [*(_value(each[key]) for key in keys), *(_text(known, f"val_{row.name}", row.form) for row in shown)]
        )
    hold = [_text(found.market, f"val_buy_hold_{row.name}", row.form, "") for row in shown]
    lines.append(["buy and hold", *[""] * (len(keys) - 1), *hold])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    laid_out = [
        "  ".join(f"{cell:{'<' if at < len(keys) else '>'}{widths[at]}}" for at, cell in enumerate(cells))
        for cells in lines
    ]
    pairs = plural(found.pairs, "pair of configuration and position rule", "pairs of configuration and position rule")
    text = [
        "",
        f"Validation forecasts of the run {one_line(found.name)}  (id {found.run_id})",
        f"  {found.instrument}, {found.bars:,} bars, {found.start[:10]} to {found.end[:10]}; net of costs",
        "",
        *(f"  {line}" for line in laid_out),
        "",
        f"  {pairs}, which count as tried where returns are judged; recorded as the run {found.backtest_run_id}",
    ]
    return "\n".join([*(line.rstrip() for line in text), ""])


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(metrics: Mapping[str, Any], name: str, form: str, missing: str = "-") -> str:
    return metric_text(metrics, name, form) if name in metrics else missing


def _listed(given: Any) -> list[Any]:
    """Return the values that were given for a key, plain ones in place of NumPy's."""
    plain = given.tolist() if hasattr(given, "tolist") else given
    return list(plain) if isinstance(plain, list | tuple | range) else [plain]


def _checked(values: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the values by key, `evaluation.position` first; refuse other keys, and too many combinations."""
    for key in values:
        if key not in KEYS:
            raise ConfigError(unknown_key(key))
        if key not in _KEYS:
            raise ConfigError(
                f"{key} makes other forecasts or other rows: train for that. backtest takes {listed(_KEYS)}."
            )
    count = prod(len(each) for each in values.values())
    if not 1 <= count <= MOST:
        raise ConfigError(f"{listed(list(values))} make {plural(count, 'combination')}; expected 1 to {MOST}.")
    return {key: values[key] for key in _KEYS if key in values}


def _recorded(loaded: RecordedRun, data: PreparedData, rows: Block) -> Floats:
    """Return the forecasts of the validation rows that the run recorded.

    Raises
    ------
    RunError
        There are none, or they are of other rows than the run's configuration makes now.
    """
    table = loaded.predictions
    if not is_of_rows(table, data, rows):
        raise RunError(
            f"The run {loaded.run_id} ({loaded.name}) recorded forecasts of other rows than its validation has now: "
            "the code that splits its data has changed. Check out the code of the run, or train it again."
        )
    return table["forecast"].to_numpy(dtype=np.float64)


def _spread(loaded: RecordedRun, views: Sequence[PreparedData], configs: Sequence[Config]) -> Floats | float:
    """Return how far the forecasts of the train rows spread, for each validation row.

    Raises
    ------
    RunError
        It is not on record, and a rule goes by it.
    """
    known = loaded.record.train_spread
    if len(known) == len(views):
        return np.repeat(known, [len(view.val) for view in views])
    for position in dict.fromkeys(each.evaluation.position for each in configs):
        if position == "proportional" or position not in BUILT_IN:
            raise RunError(
                f"The run {loaded.run_id} ({loaded.name}) does not say how far its forecasts of the train rows spread, "
                f"which evaluation.position={position} goes by: an earlier version recorded it. Train it again."
            )
    return np.nan
