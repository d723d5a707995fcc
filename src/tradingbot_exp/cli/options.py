"""What all commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

RUN = "id, the first letters of one, latest, or models:/NAME@champion"
STORE = "else MLFLOW_TRACKING_URI, else mlflow.db in this directory"


def add_common(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], store: str = STORE) -> None:
    """Add the options that every command has, and what runs it."""
    command.add_argument("--tracking-uri", metavar="URI", help=store)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(command=run)
