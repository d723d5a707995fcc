"""Commands about runs that are there already: ``python -m tradingbot_exp COMMAND``, also as ``tradingbot-exp``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from tradingbot_exp.cli.failure import FULL_ERROR, in_one_line, tell
from tradingbot_exp.config.positions import JUDGED_BY
from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.collector import collect_seldom
from tradingbot_exp.terminal.output import say, tame_warnings

_RUN = "id, the first letters of one, latest, or models:/NAME@champion"
_OF_STUDY = "of a study, its ensemble is taken, or its best trial"
_REPORTS = (
    ("training", "one training run", 1),
    ("hpo", "one study", 1),
    ("compare", "several runs side by side, the first being the reference", "+"),
)
_STORE = "else MLFLOW_TRACKING_URI, else mlflow.db in this directory"
_AS_WRITTEN = argparse.RawDescriptionHelpFormatter
_PREDICT = """\
Forecast from new bars with a recorded model: features and scaling as in its run, a row a bar, the last bar included.

columns:
  date      the bar at whose close the forecast is made
  symbol    of a run on several symbols: rows are in order of date and symbol
  forecast  in the target's unit: a log return, or the probability of a rise
  members_sd  of an ensemble: the standard deviation of its members' forecasts
  signal    the position that forecasts up to this bar ask for: the mean of the last data.horizon positions of the
            run's rule, evaluation.position
  position  what is held from this bar's close to the next one's, as in the run's backtest: the signal of
            evaluation.execution_lag bars before. The last signal is taken that many bars after the last bar.
  weight    of several symbols, the position as a share of all wealth, among the symbols that have a row on its date

Bars without enough history for the features are left out; give some hundred bars before the first that matters.
A run on several symbols forecasts all that the data hold, of a file with a column symbol, a folder or a glob; --symbol
picks the rows of one.
"""
_BACKTEST = f"""\
Judge the validation forecasts that a run recorded under other position rules and costs; nothing is trained, and the
test set stays sealed. A row a combination of the values is printed, at most 300.

  python -m tradingbot_exp backtest latest evaluation.position=sign,proportional evaluation.cost_bps=0,1,5

keys of evaluation: {", ".join(JUDGED_BY)}

What was tried is recorded: where returns are judged, the ledger counts each combination as another configuration.
"""
# Imported when it is run, so that --help and a wrong word are answered at once.
_MODULES = {
    "report": "tradingbot_exp.cli.report",
    "predict": "tradingbot_exp.cli.predict",
    "evaluate": "tradingbot_exp.cli.evaluate",
    "backtest": "tradingbot_exp.cli.backtest",
    "refit": "tradingbot_exp.cli.refit",
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
    tame_warnings()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Parse arguments, run the command, and turn an error into one message on standard error."""
    options = _parsed(arguments)
    try:
        status = int(options.command(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `history | head`: whoever reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end of the process
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        say("Interrupted.\n", error=True)
        return 128 + (interrupt.received() or 2)
    except Exception as error:
        told = str(error) if isinstance(error, TradingBotError) else in_one_line(error)
        is_expected = isinstance(error, TradingBotError | OSError)
        tell(error, told, is_expected=is_expected, traceback_wanted=os.environ.get(FULL_ERROR) == "1")
        return 1


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; argparse leaves out the values of ``backtest`` that stand behind one of its options."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and ("values" not in options or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.values += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tradingbot-exp", description="Look after runs recorded in MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    report = commands.add_parser("report", help="write an HTML report of a run, a study, or several runs compared")
    kinds = report.add_subparsers(required=True, metavar="KIND")
    for name, what, nargs in _REPORTS:
        kind = kinds.add_parser(name, help=what, description=f"Write the report of {what}; print its path.")
        kind.add_argument("runs", metavar="RUN", nargs=nargs, help=_RUN)
        kind.add_argument("-o", "--output", metavar="PATH", help="where to write it; else into reports/")
        _force(kind, "a file that is no report")
        kind.set_defaults(kind=name)
        _common(kind, "report")

    forecasts = "forecasts and positions for new bars"
    predict = commands.add_parser("predict", help=forecasts, description=_PREDICT, formatter_class=_AS_WRITTEN)
    predict.add_argument("run", metavar="RUN", help=f"{_RUN}; {_OF_STUDY}")
    predict.add_argument(
        "--data",
        metavar="FILE",
        required=True,
        help="new bars, or a table's features: CSV, Parquet, …; or a folder or a glob of such files, one a symbol",
    )
    predict.add_argument("--symbol", help="instrument, of data that hold several")
    predict.add_argument("-o", "--output", metavar="PATH", help="write to a file; else to standard output")
    _force(predict, "a file that holds no forecasts of this command")
    _trust(predict, "the model's own loader, pickles, plugins, and resolvers in its configuration")
    _common(predict, "predict")

    _add_evaluate(commands)
    _add_backtest(commands)
    _add_refit(commands)

    verdict = commands.add_parser("verdict", help="say whether a study's winner is real; --require real is a gate")
    verdict.description = (
        "Say what a study found of its winner. With --require real the exit status is 0 if it is real, 3 if that is "
        "not shown or its inputs are not checked, and 4 if it cannot be told."
    )
    verdict.add_argument("run", metavar="RUN", nargs="?", default="latest", help=f"{_RUN}; of a trial, its study's")
    verdict.add_argument("--require", choices=["real"], help="what the exit status is to demand")
    verdict.add_argument("--allow-unchecked", action="store_true", help="take inputs that the leak gate cannot check")
    verdict.add_argument("--junit", metavar="FILE", help="write a JUnit file with one test case too")
    _force(verdict, "a file that holds no verdict of this command")
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
    _trust(reproduce, "with --verify its uncommitted changes, plugins, and the folder and repository that it names")
    _common(reproduce, "reproduce")

    doctor = commands.add_parser("doctor", help="find what crashes and outages left behind; --fix mends it")
    doctor.add_argument("--fix", action="store_true", help="mend what can be mended")
    _common(doctor, "doctor")
    return parser


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = commands.add_parser("evaluate", help="open the sealed test set for one run, and count it")
    evaluate.description = (
        "Open the sealed test set for one run: forecast its test rows with the model that the run logged, log test_* "
        "metrics with baselines and 95 % intervals, and record the opening as a run of its own. A test set is out of "
        "sample once: each opening is counted, and later runs on these dates say so."
    )
    evaluate.add_argument("run", metavar="RUN", help=f"{_RUN}; {_OF_STUDY}")
    evaluate.add_argument("--yes", action="store_true", help="open them for the first time without asking")
    _trust(evaluate, "the model's own loader, pickles, plugins, and resolvers in its configuration")
    _common(evaluate, "evaluate")


def _add_backtest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    judging = "judge a run's validation forecasts under other position rules and costs"
    backtest = commands.add_parser("backtest", help=judging, description=_BACKTEST, formatter_class=_AS_WRITTEN)
    backtest.add_argument("run", metavar="RUN", help=f"{_RUN}; {_OF_STUDY}")
    backtest.add_argument("values", metavar="KEY=VALUE", nargs="*", help="a value, or several: KEY=A,B")
    backtest.add_argument("--csv", metavar="FILE", help="write the table to a file too")
    _force(backtest, "a file that holds no backtest of this command")
    _trust(backtest, "plugins, and resolvers in its configuration")
    _common(backtest, "backtest")


def _add_refit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    refit = commands.add_parser("refit", help="train a run's configuration on all bars, for forecasts of bars to come")
    refit.description = (
        "Train the configuration of a run on all its bars up to a date, for as many epochs as its best one, and keep "
        "the model as a run of kind refit, without validation numbers. What it uses of the run's test set counts as an "
        "opening; see docs/every_day.md."
    )
    refit.add_argument("run", metavar="RUN", help=f"{_RUN}; of a study, its best trial is taken")
    refit.add_argument("--data", metavar="FILE", help="the run's own bars with later ones; else the run's own file")
    refit.add_argument("--through", metavar="DATE", help="use no target that was not known by then; else all")
    refit.add_argument("--register", metavar="NAME", help="register the model under this name")
    refit.add_argument("--yes", action="store_true", help="use dates of the test set for the first time without asking")
    _trust(refit, "plugins, and resolvers in its configuration")
    _common(refit, "refit")


def _force(command: argparse.ArgumentParser, what: str) -> None:
    """Add the option without which only earlier output of the same kind is written over."""
    command.add_argument("--force", action="store_true", help=f"write over {what}")


def _trust(command: argparse.ArgumentParser, what: str) -> None:
    """Add the option without which nothing that a store says is run."""
    command.add_argument("--trust", action="store_true", help=f"run what the store says of this run: {what}")


def _common(command: argparse.ArgumentParser, name: str) -> None:
    """Add what all commands take, and what runs the command."""
    command.add_argument("--tracking-uri", metavar="URI", help=_STORE)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(command=_run_of(name))


def _run_of(name: str) -> Callable[[argparse.Namespace], int]:
    """Import a command's module when it is run."""
    return lambda options: int(import_module(_MODULES[name]).run(options))
