"""The command ``refit RUN``: a run's configuration trained on all bars, after asking for those of the test set."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from tradingbot_exp.cli.evaluate import ask
from tradingbot_exp.cli.output import json_text
from tradingbot_exp.recorded.refit import Refitted, refit
from tradingbot_exp.runtime.text import one_line, plural
from tradingbot_exp.terminal.output import say


def run(options: argparse.Namespace) -> int:
    """Train, and print which run has the model."""
    found = refit(
        options.run,
        options.tracking_uri,
        None if options.yes else ask,
        data=options.data,
        through=options.through,
        register=options.register,
        trust=options.trust,
    )
    say(json_text(asdict(found)) if options.json else told(found))
    return 0


def told(found: Refitted) -> str:
    """Say on one screen what was trained on what."""
    lines = [
        "",
        f"Refit {one_line(found.name)}  (id {found.run_id})",
        f"  the configuration of {one_line(found.of_name)} ({found.of_run_id})",
        f"  {found.instrument}, {plural(found.rows, 'row')}, {found.start[:10]} to {found.end[:10]}, "
        f"{plural(found.epochs, 'epoch')}",
    ]
    if found.opened is not None:
        start, end = (each[:10] for each in found.opened)
        lines.append(f"  {start} to {end} are of that run's test set: this counts as an opening of them")
    if found.registered is not None:
        lines.append(f"  registered as {found.registered}, the {found.alias}")
    lines += ["", f"  forecast   python -m tradingbot_exp predict {found.run_id[:12]} --data FILE", ""]
    return "\n".join(lines)
