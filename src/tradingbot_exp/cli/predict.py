"""The command ``predict``: forecasts and positions for new bars, as CSV or JSON."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.api.notebook import load_run
from tradingbot_exp.cli.output import json_text, require_free, written
from tradingbot_exp.recorded.predict import predict
from tradingbot_exp.runtime.text import day, one_line, plural
from tradingbot_exp.terminal.output import say

if TYPE_CHECKING:
    from tradingbot_exp.recorded.predict import Prediction

# How what this command writes begins.
_MARKS = (
    r"date,(symbol,)?forecast,(members_sd,)?signal,position(,weight)?\n",
    r'\{\n  "run_id": "[0-9a-f]{32}",\n  "run_name": ',
)


def run(options: argparse.Namespace) -> int:
    """Print what the model says, or write it to a file and print the file's path."""
    path = None if options.output is None else Path(options.output)
    if path is not None:
        require_free("-o", path, "forecasts", *_MARKS, force=options.force)
    found = predict(
        load_run(options.run, options.tracking_uri, trust=options.trust),
        options.data,
        options.symbol,
        keys=("--data", "--symbol"),
    )
    text = json_text(as_json(found)) if options.json else as_csv(found)
    if path is None:
        say(text)
    else:
        with written("-o", path):
            path.write_text(text, encoding="utf-8")
        say(f"{path}\n")
    say(told(found), error=True)
    return 0


def as_csv(found: Prediction) -> str:
    """Write the rows as CSV, each number so that it is read back to the bit."""
    return str(found.frame.to_csv(index=False, float_format="%.17g"))


def as_json(found: Prediction) -> dict[str, Any]:
    """Return all of a prediction as plain values."""
    dates = [moment.isoformat() for moment in found.frame["date"]]
    rows = found.frame.assign(date=dates).to_dict("records")
    named = ("run_id", "run_name", "unit", "threshold", "horizon", "execution_lag", "left_out")
    return {**{name: getattr(found, name) for name in named}, "rows": rows}


def told(found: Prediction) -> str:
    """Say on one screen what the rows are."""
    lines = [
        f"{len(found.frame)} forecasts by {one_line(found.run_name)} ({found.run_id}): {found.unit}; "
        f"above {found.threshold:g} is long.",
        f"{plural(found.left_out, 'bar')} at the start left out: not enough history for the features.",
    ]
    lag, when = found.execution_lag, found.frame["date"].iloc[-1]
    taken = "at once" if not lag else f"{plural(lag, 'bar')} later"
    signal = found.frame.loc[found.frame["date"] == when, "signal"]
    asks = f"a position of {signal.iloc[-1]:g}"
    if "symbol" in found.frame:
        asks = f"{(signal > 0).sum()} long and {(signal < 0).sum()} short of {plural(len(signal), 'symbol')}"
    lines.append(f"The last bar, {day(when)}, asks for {asks}, to be taken {taken}.")
    if found.unchecked:
        lines.append(f"Note: {found.unchecked}.")
    return "\n".join(lines) + "\n"
