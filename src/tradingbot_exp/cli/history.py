"""The command ``history``: every configuration that an experiment has used, newest first."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.plots.numbers import moment
from tradingbot_exp.runtime.text import at_most, one_line, plural
from tradingbot_exp.terminal.output import say
from tradingbot_exp.terminal.text import value, wrapped_line
from tradingbot_exp.tracking.reading.history import experiment_history, newest_experiment
from tradingbot_exp.tracking.store.store import open_store

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.differences import Row
    from tradingbot_exp.tracking.reading.history import Commit, ConfigurationUse, ExperimentHistory
    from tradingbot_exp.tracking.store.store import Store

MAX_CHANGES = 12
_SHORT = 12


def run(options: argparse.Namespace) -> int:
    """Print the history of the experiment that is named, else of the one that was used last."""
    store = open_store(options.tracking_uri)
    name = options.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or newest_experiment(store)
    found = None if name is None else experiment_history(store, name)
    if options.json:
        say(json_text(as_json(store, found)))
    else:
        say(shown(store, found))
    return 0


def as_json(store: Store, found: ExperimentHistory | None) -> dict[str, Any]:
    """Return a history as plain values."""
    return {
        "tracking_uri": store.shown,
        "experiment": None if found is None else found.experiment,
        "configurations": [] if found is None else [_entry(use) for use in found.uses],
        "runs_without_configuration": [] if found is None else [record.run_id for record in found.without_config],
    }


def _entry(use: ConfigurationUse) -> dict[str, Any]:
    result = use.result
    entry: dict[str, Any] = {
        "kind": use.kind,
        "config_sha256": use.config_sha256,
        "first": use.first.isoformat(),
        "last": use.last.isoformat(),
        "runs": len(use.run_ids),
        "run_ids": list(use.run_ids),
        "code": [{"commit": code.commit, "dirty": code.dirty} for code in use.code],
        "changes": {row.name: {"before": row.values[0], "after": row.values[1]} for row in use.changes},
        "result": None if result is None else {"metric": result.metric, "value": result.value, "run_id": result.run_id},
    }
    if use.kind == "study":
        entry |= {"study": use.study, "trials": dict(use.trials or {}), "searched": list(use.searched)}
    return entry


def shown(store: Store, found: ExperimentHistory | None) -> str:
    """Write a history for a person."""
    if found is None:
        return f"There are no runs in {store.shown} yet.\n"
    lines = list(_lines(found))
    others = sorted(name for name in store.experiments().values() if name not in {found.experiment, "Default"})
    if others:
        lines += [wrapped_line("", f"Other experiments here: {', '.join(others)}; --experiment NAME shows one.", 0, 0)]
    return "\n".join(lines) + "\n"


def _lines(found: ExperimentHistory) -> Iterator[str]:
    runs = sum(len(use.run_ids) for use in found.uses)
    if not found.uses:
        yield f"Experiment {one_line(found.experiment)}: no configuration has been used yet."
    else:
        yield (
            f"Experiment {one_line(found.experiment)}: {plural(len(found.uses), 'configuration')}, "
            f"{plural(runs, 'run')}, newest first"
        )
    for position, use in enumerate(found.uses):
        oldest = position == len(found.uses) - 1
        yield ""
        yield wrapped_line(use.config_sha256[:_SHORT], _when(use), 0, _SHORT + 2)
        yield wrapped_line("used by", _runs(use))
        yield wrapped_line("commit", _commits(use.code))
        yield wrapped_line("changed", "nothing: the first configuration" if oldest else _changes(use.changes))
        yield wrapped_line("result", _result(use))
    if found.without_config:
        yield ""
        ids = ", ".join(record.run_id[:_SHORT] for record in found.without_config[:5])
        more = ", …" if len(found.without_config) > 5 else ""
        yield wrapped_line(
            "", f"{plural(len(found.without_config), 'run')} recorded no configuration: {ids}{more}", 0, 0
        )


def _when(use: ConfigurationUse) -> str:
    if use.first == use.last:
        return moment(use.last)
    return f"last {moment(use.last)}, first {moment(use.first)}"


def _runs(use: ConfigurationUse) -> str:
    ids = ", ".join(run_id[:_SHORT] for run_id in use.run_ids[:4]) + (", …" if len(use.run_ids) > 4 else "")
    if use.kind == "study":
        states = ", ".join(f"{count} {state}" for state, count in sorted((use.trials or {}).items()))
        searched = f"; searched {', '.join(use.searched)}" if use.searched else ""
        trials = plural(sum((use.trials or {}).values()), "trial")
        return f"study {use.study} ({ids}), {trials}{f' ({states})' if states else ''}{searched}"
    kind = {"single": "training run", "sweep": "job of a sweep", "other": "run of another program"}[use.kind]
    many = {"job of a sweep": "jobs of a sweep", "run of another program": "runs of other programs"}
    return f"{plural(len(use.run_ids), kind, many.get(kind, ''))} ({ids})"


def _commits(code: tuple[Commit, ...]) -> str:
    if not code:
        return "none recorded: outside git"
    words = [f"{each.commit[:_SHORT]}{' with uncommitted changes' if each.dirty else ''}" for each in code]
    return at_most(words, 3)


def _changes(rows: tuple[Row, ...]) -> str:
    if not rows:
        return "nothing that is a param"
    words = [f"{row.name}: {_short(row.values[0])} -> {_short(row.values[1])}" for row in rows]
    return at_most(words, MAX_CHANGES, "; ", "more keys")


def _short(text: str | None) -> str:
    shown = value(text)
    return f"{shown[:57]}…" if len(shown) > 58 else shown


def _result(use: ConfigurationUse) -> str:
    if use.result is None:
        return "none yet"
    of = f", the best of {use.finished_trials} trials" if use.kind == "study" else ""
    of = f", the best of {len(use.run_ids)} runs" if len(use.run_ids) > 1 else of
    return f"{use.result.metric} {use.result.value:.6g}{of}: {use.result.run_name} ({use.result.run_id[:_SHORT]})"
