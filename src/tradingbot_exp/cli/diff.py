"""The command ``diff RUN RUN``: what differs between two runs, in words or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tradingbot_exp.cli.output import json_text
from tradingbot_exp.plots.numbers import moment
from tradingbot_exp.runtime.text import one_line, plural
from tradingbot_exp.terminal.output import say
from tradingbot_exp.terminal.text import value, wrapped_line
from tradingbot_exp.tracking.reading.differences import diff_runs
from tradingbot_exp.tracking.store.store import open_store

if TYPE_CHECKING:
    from tradingbot_exp.tracking.reading.differences import MetricDifference, Row, RunDifferences
    from tradingbot_exp.tracking.reading.run_record import RunRecord

MAX_PATCH_LINES = 60


def run(options: argparse.Namespace) -> int:
    """Compare the two runs and print what differs; status 0 whether anything does or not."""
    found = diff_runs(open_store(options.tracking_uri), options.run_a, options.run_b)
    say(json_text(as_json(found)) if options.json else shown(found))
    return 0


def as_json(found: RunDifferences) -> dict[str, Any]:
    """Return the differences as plain values."""

    def rows(given: Sequence[Row]) -> dict[str, Any]:
        return {row.name: dict(zip("ab", row.values, strict=True)) for row in given}

    blocks = {name: rows(getattr(found, name)) for name in ("config", "names", "code", "data", "packages", "hardware")}
    files = dict(zip("ab", map(list, found.patch_files), strict=True))
    return {
        "identical": found.identical,
        "a": _named(found.a),
        "b": _named(found.b),
        **blocks,
        "patch": {"diff": found.patch, "files": files},
        "metrics": {row.name: {"a": row.a, "b": row.b} for row in found.metrics},
        "missing": list(found.missing),
    }


def shown(found: RunDifferences) -> str:
    """Write the differences for a person, a block a subject."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: RunDifferences) -> Iterator[str]:
    for letter, record in (("A", found.a), ("B", found.b)):
        kind = record.kind or "not of this package"
        yield wrapped_line(
            letter, f"{record.name} ({record.run_id}), {kind}, {record.status}, {moment(record.started)}", 0, 3
        )
    yield ""
    if found.a.run_id == found.b.run_id:
        yield "identical: A and B are the same run."
        return
    if found.identical:
        yield "identical: configuration, code, data, packages, hardware and metrics are the same" + (
            ", as far as they were recorded." if found.missing else "."
        )
    lacking = {text.partition(":")[0] for text in found.missing}
    for title, rows in (("configuration", found.config), ("names, which decide nothing", found.names)):
        yield from _block(title, rows, title == "configuration" and title not in lacking and not found.identical)
    yield from _block("code", found.code, not (found.identical or found.patch or "code" in lacking))
    yield from _patch(found)
    for title, rows in (("data", found.data), ("packages", found.packages), ("hardware", found.hardware)):
        yield from _block(title, rows, not (found.identical or title in lacking))
    yield from _metrics(found.metrics, not found.identical)
    for text in found.missing:
        yield wrapped_line("", text, 0, 0)


def _block(title: str, rows: Sequence[Row], say_same: bool) -> Iterator[str]:
    if not rows:
        if say_same:
            yield f"{title}: the same"
        return
    yield f"{title} ({plural(len(rows), 'difference')}, A -> B)"
    for row in rows:
        yield wrapped_line(row.name, " -> ".join(value(each) for each in row.values), 2, 32)


def _patch(found: RunDifferences) -> Iterator[str]:
    if not found.patch:
        return
    yield "uncommitted changes"
    for letter, files in zip("AB", found.patch_files, strict=True):
        yield wrapped_line(f"{letter} touches", ", ".join(files) or "no file", 2, 32)
    lines = found.patch.splitlines()
    yield from (f"    {line}" for line in lines[:MAX_PATCH_LINES])
    if len(lines) > MAX_PATCH_LINES:
        yield f"    … {plural(len(lines) - MAX_PATCH_LINES, 'line')} more, with --json"


def _metrics(rows: Sequence[MetricDifference], say_same: bool) -> Iterator[str]:
    if not rows:
        if say_same:
            yield "metrics: the same"
        return
    yield f"metrics ({plural(len(rows), 'difference')})"
    yield f"  {'':<30}{'A':>16}{'B':>16}{'B - A':>16}"
    for row in rows:
        change = "" if row.a is None or row.b is None else f"{row.b - row.a:+.6g}"
        cells = ("-" if each is None else f"{each:.8g}" for each in (row.a, row.b))
        yield f"  {one_line(row.name):<30}" + "".join(f"{cell:>16}" for cell in (*cells, change)).rstrip()


def _named(record: RunRecord) -> dict[str, str]:
    keys = ("run_id", "name", "experiment", "kind", "status")
    return {key: text for key, text in asdict(record).items() if key in keys} | {"started": record.started.isoformat()}
