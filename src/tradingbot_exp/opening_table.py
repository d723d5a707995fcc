"""What a person, or a program, reads of an opened test set."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from tradingbot_exp.summary import ROWS

if TYPE_CHECKING:
    from tradingbot_exp.opening import Opened


def as_table(opened: Opened) -> str:
    """Lay out the model's metrics with their intervals, what they were on validation, and the naive baselines."""
    bars = f"{opened.instrument}, {opened.bars:,} bars, {opened.start[:10]} to {opened.end[:10]}"
    lines = [
        "",
        f"Test set of the run {opened.name}  (id {opened.run_id})",
        f"  {bars}, opened for the {_ordinal(opened.number)} time",
        "",
        f"  {'test':<28}{'model':>12}  {'95 % interval':<26}{'validation':>12}  baseline",
    ]
    for label, name, form, baseline, baseline_name in ROWS:
        test = name.replace("val_", "test_")
        pair = opened.intervals.get(test)
        interval = "" if pair is None else f"{pair[0]:{form}} to {pair[1]:{form}}"
        line = f"  {label:<28}{_shown(opened.metrics, test, form):>12}  {interval:<26}"
        line += f"{_shown(opened.validation, name, form):>12}"
        if baseline_name:
            rival = baseline_name.replace("val_", "test_")
            pair = opened.intervals.get(rival)
            interval = "" if pair is None else f", {pair[0]:{form}} to {pair[1]:{form}}"
            line += f"  {_shown(opened.metrics, rival, form)} ({baseline or opened.naive}{interval})"
        lines.append(line.rstrip())
    lines += [""] + [f"  {name} is {reason}." for name, reason in opened.undefined.items()]
    if opened.earlier:
        lines.append(f"  Dates that overlap with these were opened {_times(len(opened.earlier))} before in this store:")
        lines += [f"    {each.at[:16]}  {each.by}  for the run {each.evaluated}" for each in opened.earlier]
        lines.append("  A test set is out of sample once: the more often it is opened, the less these numbers say.")
    return "\n".join([*lines, f"  recorded as the run {opened.evaluation_run_id}", ""])


def as_json(opened: Opened) -> str:
    """Give all of it as JSON."""
    return json.dumps({**asdict(opened), "opening": opened.number}, indent=2) + "\n"


def _shown(metrics: dict[str, float], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else "-"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
