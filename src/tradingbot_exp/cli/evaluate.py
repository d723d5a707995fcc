"""The command ``evaluate RUN``: opens the sealed test set for one run, after asking once, and counts it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.errors import RunError
from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.recorded.result import Opened, as_table, looks_in_lines
from tradingbot_exp.terminal.output import say


def run(options: argparse.Namespace) -> int:
    """Open the test set for a run, and print what came of it."""
    opened = open_test_set(options.run, options.tracking_uri, None if options.yes else ask, trust=options.trust)
    say(json_text({**asdict(opened), "opening": opened.number}) if options.json else as_table(opened))
    return 0


def ask(opened: Opened) -> None:
    """Ask the person at the terminal, before dates are opened for the first time; elsewhere, refuse."""
    what = f"The {opened.counted('test bars')} of {opened.instrument}, {opened.start[:10]} to {opened.end[:10]}, have "
    what += (
        "never been opened in this store"
        if not opened.earlier
        else "never all been opened in this store, only some of them"
    )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RunError(f"{what}. Opening them is counted and cannot be undone: where nobody can be asked, give --yes.")
    told = "\n".join(looks_in_lines(opened))
    say(
        f"{told}\n{what}. A test set is out of sample once: choose first, then "
        f"look. Open it for the run {opened.name}? [y/N] ",
        error=True,
    )
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RunError("Nothing was opened, and nothing was counted.")
