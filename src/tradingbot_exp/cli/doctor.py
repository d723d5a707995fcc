"""The command ``doctor``: finds what crashes and outages left behind, and mends it with ``--fix``."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError, TradingBotError
from tradingbot_exp.recorded.reproduction.worktree import left_behind, remove
from tradingbot_exp.runtime.package import FOLDER
from tradingbot_exp.runtime.text import one_line, own_command
from tradingbot_exp.terminal.output import say
from tradingbot_exp.terminal.text import wrapped_line
from tradingbot_exp.tracking.reading.health import Finding, examine
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.errors import quiet, wrapped
from tradingbot_exp.tracking.store.places import is_same_store, sqlite_path
from tradingbot_exp.tracking.store.store import default_uri, open_store, store_address
from tradingbot_exp.tracking.writing.outbox.journal import HEADER
from tradingbot_exp.tracking.writing.outbox.unsent import (
    closes_run,
    send_unsent,
    stored_uri,
    unsent_runs,
    waiting_run_id,
)


def run(options: argparse.Namespace) -> int:
    """Find, and with ``--fix`` mend, in the order in which one makes the next possible.

    Returns
    -------
    int
        0 if all is well or was mended, else 1.
    """
    visit = Visit(options.tracking_uri, options.fix)
    visit.see_records(unsent_runs(Path.cwd()))
    visit.see_runs()
    visit.see_worktrees()
    say(json_text(visit.as_json()) if options.json else visit.shown())
    for problem in dict.fromkeys(visit.errors):
        say(f"Error: {problem}\n", error=True)
    return int(visit.is_something_left)


class Visit:
    """One round of doctor's.

    Parameters
    ----------
    given : str or None
        The store that is named on the command line.
    fix : bool
        Whether to mend; if not, nothing is changed.
    """

    def __init__(self, given: str | None, fix: bool) -> None:
        self.given, self.fix = given, fix
        self.left: list[Finding] = []
        self.mended: list[str] = []
        self.sent: list[dict[str, object]] = []
        self.unsent: list[Path] = []
        self.errors: list[str] = []
        self.looked_into: list[str] = []
        self._sent_to: list[str] = []

    @property
    def is_something_left(self) -> bool:
        """Whether anything is wrong that was not mended."""
        return bool(self.unsent or self.errors or any(found.is_problem for found in self.left))

    def see_records(self, waiting: Sequence[Path]) -> None:
        """Send what waits on disk."""
        for folder in waiting:
            if self.fix:
                try:
                    uri, sent = _send(folder, self.given)
                    self._sent_to.append(uri)
                    self.sent.append(sent)
                except (TradingBotError, FileNotFoundError) as error:
                    if (folder / HEADER).exists():  # else another process has sent them meanwhile
                        self.errors.append(str(error))
            if (folder / HEADER).exists():
                self.unsent.append(folder)

    def see_runs(self) -> None:
        """Look through the runs of the store, and of those that records were just sent to."""
        waiting = {str(waiting_run_id(folder)) for folder in self.unsent if closes_run(folder)}
        own = self._uri()
        for uri in dict.fromkeys([*([own] if own else []), *self._sent_to]):
            try:
                store = open_store(uri)
                with quiet("tradingbot_exp.tracking.store.moved", level=logging.ERROR):  # it is among what is found
                    found = examine(store, waiting)
                    if self.fix and [each for each in found if each.mend is not None and self._mend(each)]:
                        found = examine(store, waiting)
                self.left += found
                self.looked_into.append(store.shown)
            except TradingBotError as error:
                self.errors.append(str(error))

    def see_worktrees(self) -> None:
        """Look for what a killed ``reproduce --verify`` left in the repositories here and of this package."""
        with suppress(TradingBotError):  # no git, and so no worktree
            for repository, tree in left_behind([Path.cwd(), FOLDER]):
                found = _worktree(repository, tree)
                if not (self.fix and self._mend(found)):
                    self.left.append(found)

    def _mend(self, finding: Finding) -> bool:
        """Mend a finding; return whether that went well."""
        try:
            done = "" if finding.mend is None else finding.mend()
        except TradingBotError as error:
            self.errors.append(str(error))
            return False
        if done:
            self.mended.append(done)
        return True

    def _uri(self) -> str | None:
        """Return the store to look into; None if none is named and there is none here."""
        try:
            address = store_address(self.given or default_uri())
        except TrackingError:
            if self.given is not None:
                raise
            return None
        path = sqlite_path(address)
        is_named = self.given is not None or "MLFLOW_TRACKING_URI" in os.environ
        return None if path is not None and not path.is_file() and not is_named else address

    def as_json(self) -> dict[str, Any]:
        """Return the round as plain values."""
        found = [
            {
                "kind": each.kind,
                "what": each.what,
                "advice": each.advice,
                "run_id": each.run_id,
                "is_problem": each.is_problem,
                "mendable": each.mend is not None,
            }
            for each in self.left
        ]
        return {
            "stores": self.looked_into,
            "sent": self.sent,
            "unsent": [str(path) for path in self.unsent],
            "mended": self.mended,
            "found": found,
        }

    def shown(self) -> str:
        """Write the round for a person."""
        lines = [
            f"sent {each['records']} records of run {one_line(str(each['run_id']))} to {one_line(str(each['uri']))}"
            for each in self.sent
        ]
        for text in self.mended:
            first, *commands = text.split("\n")
            lines += [wrapped_line("mended", first, 0, 10), *(f"{'':10}{command}" for command in commands)]
        lines += [f"records are waiting in {folder}; send them with: doctor --fix" for folder in self.unsent]
        for found in self.left:
            lines.append(wrapped_line("found", found.what, 0, 10))
            mendable = "doctor --fix mends this." if found.mend is not None and not self.fix else ""
            # Each on one line, to be copied.
            lines += [f"{'':10}{text}" for text in (found.advice, mendable) if text]
        if not (self.sent or self.unsent):
            lines.append("No records are waiting to be sent.")
        if not self.looked_into:
            if not (self.left or self.errors or self.sent or self.unsent):
                lines.append("There is no tracking store here to look into; name one with --tracking-uri.")
        elif not any(found.is_problem for found in self.left):
            lines.append(f"The runs in {' and in '.join(self.looked_into)} are in order.")
        return "\n".join(lines) + "\n"


def _worktree(repository: Path, tree: Path) -> Finding:
    def prune() -> str:
        remove(repository, tree)
        return f"The worktree {tree} is no longer registered in {repository}."

    what = f"The worktree {tree} of {repository} was left by `reproduce --verify`, whose process is gone."
    return Finding("left_worktree", what, mend=prune)


def _send(folder: Path, given: str | None) -> tuple[str, dict[str, object]]:
    """Send what waits in a folder to `given`, else to the user's store if it was meant for that; say what was sent.

    A folder may have been prepared by somebody else, so that where it says that it is to be sent does not count.
    """
    uri = store_address(given) if given else default_uri()
    if not given and not is_same_store(uri, meant := stored_uri(folder)):
        raise TradingBotError(
            f"The records in {folder} are meant for {meant}, which is not the store of this command, {redact(uri)}. If "
            f"they are yours, say where they go: {own_command('doctor', '--fix', '--tracking-uri', 'URI')}"
        )
    # A store that had the run and is gone is not made again.
    client = open_client(uri) if waiting_run_id(folder) is None else open_store(uri).client
    with wrapped(f"The records in {folder} were not all sent, and stay there"):
        run_id, records = send_unsent(folder, client)
    return uri, {"run_id": run_id, "records": records, "uri": redact(uri)}
