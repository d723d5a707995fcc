"""Commands about runs that are there already: ``python -m tradingbot_exp COMMAND``, also as ``tradingbot-exp``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from tradingbot_exp.cli.failure import in_one_line
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.collector import collect_seldom

_RUN = "id, the first letters of one, latest, or models:/NAME@champion"
_REPORTS = (
    ("training", "one training run", 1),
    ("hpo", "one study", 1),
    ("compare", "several runs side by side, the first being the reference", "+"),
)
_STORE = "else MLFLOW_TRACKING_URI, else mlflow.db in this directory"
_PREDICT = """\
Forecast from new bars with a recorded model: features and scaling as in its run, a row a bar, the last bar included.

columns:
  date      the bar at whose close the forecast is made
  forecast  in the target's unit: a log return, or the probability of a rise
  signal    the position that forecasts up to this bar ask for: the mean of the last data.horizon signs (of a
            probability, the sign of what it is above 0.5)
  position  what is held from this bar's close to the next one's, as in the run's backtest: the signal of
            evaluation.execution_lag bars before. The last signal is taken that many bars after the last bar.

Bars without enough history for the features are left out; give some hundred bars before the first that matters.
"""
# Imported when it is run, so that --help and a wrong word are answered at once.
_MODULES = {
    "report": "tradingbot_exp.cli.report",
    "predict": "tradingbot_exp.cli.predict",
    "evaluate": "tradingbot_exp.cli.evaluate",
    "verdict": "tradingbot_exp.cli.verdict",
    "history": "tradingbot_exp.cli.history",
    "diff": "tradingbot_exp.cli.diff",
    "reproduce": "tradingbot_exp.cli.reproduce",
    "doctor": "tradingbot_exp.cli.doctor",
}


def main() -> None:
    """Run the command line; end the process with status 0, 1 (an error, or something left to mend) or 2 (usage).

    `verdict` has two more.
    """
    collect_seldom()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Parse arguments, run the command, and turn an error into one message on standard error."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status = int(options.command(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `history | head`: whoever reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end of the process
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 128 + (interrupt.received() or 2)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        told = str(error) if isinstance(error, TradingBotError) else in_one_line(error)
        sys.stderr.write(f"Error: {redact(told)}\n")
        if not isinstance(error, TradingBotError | OSError):
            sys.stderr.write("Set HYDRA_FULL_ERROR=1 for the whole traceback.\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tradingbot-exp", description="Look after runs recorded in MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    report = commands.add_parser("report", help="write an HTML report of a run, a study, or several runs compared")
    kinds = report.add_subparsers(required=True, metavar="KIND")
    for name, what, nargs in _REPORTS:
        kind = kinds.add_parser(name, help=what, description=f"Write the report of {what}; print its path.")
        kind.add_argument("runs", metavar="RUN", nargs=nargs, help=_RUN)
        kind.add_argument("-o", "--output", metavar="PATH", help="where to write it; else into reports/")
        kind.set_defaults(kind=name)
        _common(kind, "report")

    raw = argparse.RawDescriptionHelpFormatter
    forecasts = "forecasts and positions for new bars"
    predict = commands.add_parser("predict", help=forecasts, description=_PREDICT, formatter_class=raw)
    predict.add_argument("run", metavar="RUN", help=f"{_RUN}; of a study, its best trial is taken")
    predict.add_argument("--data", metavar="FILE", required=True, help="new bars (or a table's features): CSV, Parquet")
    predict.add_argument("--symbol", help="instrument, of a file that holds several")
    predict.add_argument("-o", "--output", metavar="PATH", help="write to a file; else to standard output")
    _common(predict, "predict")

    evaluate = commands.add_parser("evaluate", help="open the sealed test set for one run, and count it")
    evaluate.description = (
        "Open the sealed test set for one run: forecast its test rows with the model that the run logged, log test_* "
        "metrics with baselines and 95 % intervals, and record the opening as a run of its own. A test set is out of "
        "sample once: each opening is counted, and later runs on these dates say so."
    )
    evaluate.add_argument("run", metavar="RUN", help=f"{_RUN}; of a study, its best trial is taken")
    evaluate.add_argument("--yes", action="store_true", help="open them for the first time without asking")
    _common(evaluate, "evaluate")

    verdict = commands.add_parser("verdict", help="say whether a study's winner is real; --require real is a gate")
    verdict.description = (
        "Say what a study found of its winner. With --require real the exit status is 0 if it is real, 3 if that is "
        "not shown or its inputs are not checked, and 4 if it cannot be told."
    )
    verdict.add_argument("run", metavar="RUN", nargs="?", default="latest", help=f"{_RUN}; of a trial, its study's")
    verdict.add_argument("--require", choices=["real"], help="what the exit status is to demand")
    verdict.add_argument("--allow-unchecked", action="store_true", help="take inputs that the leak gate cannot check")
    verdict.add_argument("--junit", metavar="FILE", help="write a JUnit file with one test case too")
    _common(verdict, "verdict")

    history = commands.add_parser("history", help="list every configuration that an experiment has used, newest first")
    history.add_argument("--experiment", metavar="NAME", help="else MLFLOW_EXPERIMENT_NAME, else the one used last")
    _common(history, "history")

    diff = commands.add_parser("diff", help="say what differs between two runs: config, code, data, packages, metrics")
    diff.add_argument("run_a", metavar="RUN", help=_RUN)
    diff.add_argument("run_b", metavar="RUN", help="the other one")
    _common(diff, "diff")

    reproduce = commands.add_parser("reproduce", help="print what it takes to make a run again; --verify does it")
    reproduce.add_argument("run", metavar="RUN", help=_RUN)
    reproduce.add_argument("--verify", action="store_true", help="train again, in a worktree, and compare the metrics")
    reproduce.add_argument("--data", metavar="FILE", help="where the run's own data file is now, if it was moved")
    _common(reproduce, "reproduce")

    doctor = commands.add_parser("doctor", help="find what crashes and outages left behind; --fix mends it")
    doctor.add_argument("--fix", action="store_true", help="mend what can be mended")
    _common(doctor, "doctor", "else where the records were meant to go, and the store of this directory")
    return parser


def _common(command: argparse.ArgumentParser, name: str, store: str = _STORE) -> None:
    """Add what all commands take, and what runs the command."""
    command.add_argument("--tracking-uri", metavar="URI", help=store)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(command=_run_of(name))


def _run_of(name: str) -> Callable[[argparse.Namespace], int]:
    """Import a command's module when it is run."""
    return lambda options: int(import_module(_MODULES[name]).run(options))
