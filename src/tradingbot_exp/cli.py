"""Commands about runs that are there already: ``python -m tradingbot_exp COMMAND``, also as ``tradingbot-exp``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    doctor = commands.add_parser("doctor", help="find records that were not sent to MLflow; --fix sends them")
    doctor.add_argument("--fix", action="store_true", help="mend what is found")
    doctor.set_defaults(command=_doctor)
    for command in (doctor,):
        command.add_argument("--tracking-uri", help="else the store that the records were meant for")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_evaluate(commands)
    return parser


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="open the sealed test set for one run, and count it",
        description="Open the sealed test set for one run: forecast its test rows with the model that the run logged, "
        "log test_* metrics with baselines and 95 % intervals, and record the opening as a run of its own. A test set "
        "is out of sample once: each opening is counted, and later runs on these dates say so.",
    )
    evaluate.add_argument(
        "run",
        metavar="RUN",
        help="a run's id, the first letters of one, or latest; of a study, its best trial is taken",
    )
    evaluate.add_argument(
        "--tracking-uri", help="the store, or its folder; else MLFLOW_TRACKING_URI, else mlflow.db here"
    )
    evaluate.add_argument("--json", action="store_true", help="print the result as JSON")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    """Open the test set for a run, and print what came of it."""
    from tradingbot_exp.opening import open_test_set
    from tradingbot_exp.opening_table import as_json, as_table

    opened = open_test_set(options.run, options.tracking_uri)
    sys.stdout.write(as_json(opened) if options.json else as_table(opened))
    return 0


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
