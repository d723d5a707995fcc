"""Commands about runs that are there already: ``python -m tradingbot_exp COMMAND``, also as ``tradingbot-exp``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TradingBotError


def main() -> None:
    """Run the command line; end the process with status 0, 1 (an error, or something left to mend) or 2 (usage)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Parse arguments, run the command, and turn an error into one message on standard error."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except TradingBotError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.stderr.write(f"Error: {redact(str(error))}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tradingbot-exp", description="Look after runs recorded in MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    doctor = commands.add_parser("doctor", help="find records that were not sent to MLflow; --fix sends them")
    doctor.add_argument("--fix", action="store_true", help="mend what is found")
    doctor.set_defaults(command=_doctor)
    for command in (doctor,):
        command.add_argument("--tracking-uri", help="else the store that the records were meant for")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _doctor(options: argparse.Namespace) -> int:
    """Find records that wait on disk, and send them with ``--fix``; status 1 if some still wait."""
    from tradingbot_exp.tracking.delivery import unsent_runs

    waiting = unsent_runs(Path.cwd())
    sent, problems = _send(waiting, options.tracking_uri) if options.fix else ([], [])
    left = [str(folder) for folder in waiting if (folder / "run.json").exists()]
    for problem in problems:
        sys.stderr.write(f"Error: {redact(problem)}\n")
    if options.json:
        sys.stdout.write(json.dumps({"sent": sent, "unsent": left}, indent=2) + "\n")
    elif not waiting:
        sys.stdout.write("No records are waiting to be sent.\n")
    else:
        for entry in sent:
            sys.stdout.write(f"sent {entry['records']} records of run {entry['run_id']} to {entry['uri']}\n")
        for folder in left:
            sys.stdout.write(f"records are waiting in {folder}; send them with: doctor --fix\n")
    return int(bool(left))


def _send(waiting: Sequence[Path], given: str | None) -> tuple[list[dict[str, object]], list[str]]:
    """Send what waits in each folder to `given`, else to the store that it was meant for; give what went wrong."""
    from tradingbot_exp.tracking.delivery import send_unsent, stored_uri
    from tradingbot_exp.tracking.store import open_client, open_experiment, wrapped

    sent: list[dict[str, object]] = []
    problems: list[str] = []
    for folder in waiting:
        try:
            uri = given or stored_uri(folder) or os.environ.get("MLFLOW_TRACKING_URI")
            if uri is None:
                raise TradingBotError(
                    f"The address of the store for {folder} held a password, which is not kept: name it with "
                    "--tracking-uri URI."
                )
            client = open_client(uri)
            with wrapped(f"The records in {folder} were not all sent, and stay there"):
                run_id, records = send_unsent(folder, client, lambda name: open_experiment(client, uri, name))  # noqa: B023
            sent.append({"run_id": run_id, "records": records, "uri": redact(uri)})
        except TradingBotError as error:
            problems.append(str(error))
    return sent, problems


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from tradingbot_exp.commands.predict import DESCRIPTION, run

    what, raw = "forecasts and positions for new bars", argparse.RawDescriptionHelpFormatter
    predict = commands.add_parser("predict", help=what, description=DESCRIPTION, formatter_class=raw)
    predict.add_argument("run", metavar="RUN", help="id, unique beginning, latest, a study, or models:/NAME@champion")
    predict.add_argument("--data", metavar="FILE", required=True, help="new bars (or a table's features): CSV, Parquet")
    predict.add_argument("--symbol", help="instrument, of a file that holds several")
    predict.add_argument("-o", "--output", metavar="PATH", help="write to a file; else to standard output")
    predict.add_argument(
        "--tracking-uri", metavar="URI", help="else MLFLOW_TRACKING_URI, else mlflow.db in this directory"
    )
    predict.add_argument("--json", action="store_true", help="print the result as JSON")
    predict.set_defaults(command=run)
