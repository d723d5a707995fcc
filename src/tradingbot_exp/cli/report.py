"""The command ``report training|hpo|compare``: writes an HTML report and prints its path."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from tradingbot_exp.cli.options import RUN, add_common
from tradingbot_exp.reporting.reporter import ExperimentReporter

if TYPE_CHECKING:
    from tradingbot_exp.cli.options import Commands


KINDS = (
    ("training", "one training run", 1),
    ("hpo", "one study", 1),
    ("compare", "several runs side by side, the first being the reference", "+"),
)


def add_to(commands: Commands) -> None:
    """Declare the command."""
    report = commands.add_parser("report", help="write an HTML report of a run, a study, or several runs compared")
    kinds = report.add_subparsers(required=True, metavar="KIND")
    for name, what, nargs in KINDS:
        kind = kinds.add_parser(name, help=what, description=f"Write the report of {what}; print its path.")
        kind.add_argument("runs", metavar="RUN", nargs=nargs, help=RUN)
        kind.add_argument("-o", "--output", metavar="PATH", help="where to write it; else into reports/")
        kind.set_defaults(kind=name)
        add_common(kind, run)


def run(options: argparse.Namespace) -> int:
    """Write the report of the kind `options.kind` on `options.runs`."""
    reporter = ExperimentReporter(options.tracking_uri)
    if options.kind == "training":
        path = reporter.generate_training_report(options.runs[0], options.output)
    elif options.kind == "hpo":
        path = reporter.generate_hpo_report(options.runs[0], options.output)
    else:
        path = reporter.generate_model_comparison_report(options.runs, options.output)
    sys.stdout.write(json.dumps({"report": str(path)}) + "\n" if options.json else f"{path}\n")
    return 0
