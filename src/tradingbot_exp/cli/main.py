"""Commands about runs that are there already: ``python -m tradingbot_exp COMMAND``, also as ``tradingbot-exp``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from tradingbot_exp.cli import diff, doctor, evaluate, history, predict, report, reproduce
from tradingbot_exp.cli.failure import in_one_line
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.collector import collect_seldom

COMMANDS = (report, predict, evaluate, history, diff, reproduce, doctor)


def main() -> None:
    """Run the command line; end the process with status 0, 1 (an error, or something left to mend) or 2 (usage)."""
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
    for module in COMMANDS:
        module.add_to(commands)
    return parser
