"""The command ``report training|hpo|compare``: writes an HTML report and prints its path."""

from __future__ import annotations

import argparse

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.reporting.reporter import ExperimentReporter
from tradingbot_exp.terminal.output import say


def run(options: argparse.Namespace) -> int:
    """Write the report of the kind `options.kind` on `options.runs`."""
    reporter = ExperimentReporter(options.tracking_uri)
    if options.kind == "training":
        path = reporter.generate_training_report(options.runs[0], options.output, force=options.force)
    elif options.kind == "hpo":
        path = reporter.generate_hpo_report(options.runs[0], options.output, force=options.force)
    else:
        path = reporter.generate_model_comparison_report(options.runs, options.output, force=options.force)
    say(json_text({"report": str(path)}) if options.json else f"{path}\n")
    return 0
