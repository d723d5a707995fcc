"""The command ``report training|hpo|compare``: writes an HTML report and prints its path."""

from __future__ import annotations

import argparse
import sys

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.reporting.reporter import ExperimentReporter


def run(options: argparse.Namespace) -> int:
    """Write the report of the kind `options.kind` on `options.runs`."""
    reporter = ExperimentReporter(options.tracking_uri)
    if options.kind == "training":
        path = reporter.generate_training_report(options.runs[0], options.output)
    elif options.kind == "hpo":
        path = reporter.generate_hpo_report(options.runs[0], options.output)
    else:
        path = reporter.generate_model_comparison_report(options.runs, options.output)
    sys.stdout.write(json_text({"report": str(path)}) if options.json else f"{path}\n")
    return 0
