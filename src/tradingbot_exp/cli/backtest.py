"""The command ``backtest RUN KEY=A,B …``: recorded forecasts judged under other position rules and costs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradingbot_exp.cli.output import json_text, require_free, written
from tradingbot_exp.config.overrides import Choice, GrammarError, read_word
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.recorded.backtest import Backtested, as_csv, as_table, backtest
from tradingbot_exp.terminal.output import say

# How what this command writes begins.
_MARK = r"evaluation\.position,(evaluation\.\w+,)*val_sharpe,"


def run(options: argparse.Namespace) -> int:
    """Print a row a combination of the values, and write it to a file where one is named."""
    values = values_of(options.values)
    path = None if options.csv is None else Path(options.csv)
    if path is not None:
        require_free("--csv", path, "backtest", _MARK, force=options.force)
    found = backtest(options.run, values, options.tracking_uri, trust=options.trust)
    if path is not None:
        with written("--csv", path):
            path.write_text(as_csv(found.table), encoding="utf-8")
    say(json_text(as_json(found)) if options.json else as_table(found))
    return 0


def values_of(words: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``KEY=VALUE`` and ``KEY=A,B`` as values by key.

    Raises
    ------
    ConfigError
        A word is none of the two, or names a key a second time.
    """
    found: dict[str, list[Any]] = {}
    for text in words:
        try:
            word = read_word(text)
        except GrammarError as error:
            raise ConfigError(f"'{text}' is not KEY=VALUE, such as evaluation.cost_bps=0,1,5. {error}") from error
        if not word.is_plain or (word.is_sweep and not isinstance(word.value, Choice)):
            raise ConfigError(f"{text}: give values as KEY=A,B, such as evaluation.cost_bps=0,1,5.")
        if word.key in found:
            raise ConfigError(f"{word.key} is given twice. Write {word.key}=A,B.")
        found[word.key] = word.value.values if word.is_sweep else [word.value]
    return found


def as_json(found: Backtested) -> dict[str, Any]:
    """Return all of a backtest as plain values, without the metrics that are not defined."""
    named = ("run_id", "name", "backtest_run_id", "instrument", "start", "end", "bars", "market", "pairs")
    table = found.table.to_dict("records")
    rows = [
        {key: each for key, each in row.items() if not isinstance(each, float) or math.isfinite(each)} for row in table
    ]
    return {**{name: getattr(found, name) for name in named}, "rows": rows}
