"""The command ``evaluate RUN``: opens the sealed test set for one run, and counts it."""

from __future__ import annotations

import argparse
import sys

from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.recorded.result import as_json, as_table


def run(options: argparse.Namespace) -> int:
    """Open the test set for a run, and print what came of it."""
    opened = open_test_set(options.run, options.tracking_uri)
    sys.stdout.write(as_json(opened) if options.json else as_table(opened))
    return 0
