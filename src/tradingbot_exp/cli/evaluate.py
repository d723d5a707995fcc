"""The command ``evaluate RUN``: opens the sealed test set for one run, and counts it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tradingbot_exp.cli.options import RUN, add_common
from tradingbot_exp.recorded.test_result import as_json, as_table
from tradingbot_exp.recorded.test_set import open_test_set

if TYPE_CHECKING:
    from tradingbot_exp.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    evaluate = commands.add_parser("evaluate", help="open the sealed test set for one run, and count it")
    evaluate.description = (
        "Open the sealed test set for one run: forecast its test rows with the model that the run logged, log test_* "
        "metrics with baselines and 95 % intervals, and record the opening as a run of its own. A test set is out of "
        "sample once: each opening is counted, and later runs on these dates say so."
    )
    evaluate.add_argument("run", metavar="RUN", help=f"{RUN}; of a study, its best trial is taken")
    add_common(evaluate, run)


def run(options: argparse.Namespace) -> int:
    """Open the test set for a run, and print what came of it."""
    opened = open_test_set(options.run, options.tracking_uri)
    sys.stdout.write(as_json(opened) if options.json else as_table(opened))
    return 0
