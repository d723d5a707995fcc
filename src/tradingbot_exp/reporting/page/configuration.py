"""What a run was made of, as tables: its configuration with what is new in it, and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tradingbot_exp.config.keys import BLOCKS, KEYS
from tradingbot_exp.config.redaction import mask_secrets
from tradingbot_exp.plots.numbers import count, moment
from tradingbot_exp.reporting.page.blocks import count_cell, text_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Facts, Notice, Paragraph, Table
from tradingbot_exp.runtime.text import day
from tradingbot_exp.tracking.reading.differences import Row, config_rows, described
from tradingbot_exp.tracking.reading.run_context import RunContext
from tradingbot_exp.tracking.reading.run_record import RunRecord

# What decides a training run; all else is folded away.
_DECIDING = [block for block in KEYS if block in BLOCKS and "." not in block and KEYS[block].decides == "result"]
_SYMBOLS_SHOWN = 20  # beyond it they are folded away
_PARTS = (("train", "train"), ("val", "validation"), ("test", "test"))


def configuration_blocks(made: RunContext, previous: RunRecord | None) -> list[Block]:
    """Lay a run's params out by block, and mark those that differ from the previous run of its experiment."""
    run = made.run
    if not run.params:
        return [Notice("No parameters are on record for this run.", "muted")]
    rows = [] if previous is None else changes(made, previous)
    changed = {row.name: row.values[0] for row in rows}
    groups: dict[str, dict[str, str]] = {}
    for key, value in mask_secrets(run.params).items():
        block, _, name = key.partition(".")
        groups.setdefault(block if name else "general", {})[key] = value
    tables = {block: _table(block, values, changed) for block, values in groups.items()}
    shown = [tables.pop(block) for block in _DECIDING if block in tables]
    blocks = _changes_blocks(previous, rows) if run.kind == "training" else []
    rest = list(tables.values())
    for title, found in (("data, model, training and evaluation", shown), ("everything else", rest)):
        if found:
            keys = count(sum(len(table.rows) for table in found), "key")
            blocks.append(Details(f"Configuration of {title}: {keys}", found))
    return blocks


def changes(made: RunContext, previous: RunRecord) -> list[Row]:
    """Return what differs from the previous run, whose value comes first: data and params, see `config_rows`."""
    pair = [described(previous), described(made.run, made.fingerprint)]
    deciding, harmless = config_rows(pair, [bool(previous.kind), bool(made.run.kind)])
    return [
        replace(row, values=tuple(mask_secrets({row.name: list(row.values)})[row.name]))
        for row in (*deciding, *harmless)
    ]


def shown(value: str | None) -> str:
    """Write a param as a reader expects it: ``None`` in words, a list without brackets and quotes."""
    if value is None:
        return "not there"
    if value in ("None", ""):
        return "not set"
    if value.startswith("[") and value.endswith("]"):
        return ", ".join(part.strip().strip("'\"") for part in value[1:-1].split(",")) or "none"
    return value


def data_blocks(card: Mapping[str, Any] | None, run: RunRecord) -> list[Block]:
    """Describe the data of a run by its data card: source, period, fingerprint and split."""
    fingerprint = run.tags.get("data.fingerprint")
    if not card:
        known = f"; the fingerprint of its data is {fingerprint}" if fingerprint else ""
        return [Notice(f"The data card of this run is not there{known}.", "muted")]
    period, rows, usable, names = (card.get(key) for key in ("period", "rows", "usable_rows", "features"))
    horizon, length = card.get("horizon"), card.get("sequence_length")
    usable = f", of which {usable:,} have features and a target" if isinstance(usable, int) else ""
    ahead = f", {count(horizon, 'bar')} ahead" if isinstance(horizon, int) else ""
    window = f", from the last {count(length, 'bar')}" if isinstance(length, int) and length > 1 else ""
    told = {
        "Data": _named(card),
        "Description": card.get("description"),
        "Period": " to ".join(map(day, period)) if isinstance(period, list) and len(period) == 2 else None,
        "Bars": f"{rows:,}{usable}" if isinstance(rows, int) else None,
        "Frequency": card.get("frequency"),
        "Target": f"{card['target']}{ahead}{window}" if card.get("target") else None,
        "Features": f"{len(names)}: {', '.join(map(str, names))}" if isinstance(names, list) and names else None,
        "Fingerprint": card.get("fingerprint") or fingerprint,
        "Source": card.get("source"),
        "Licence": card.get("licence"),
    }
    facts = [(name, Cell(str(value))) for name, value in told.items() if value]
    blocks: list[Block] = [Facts(facts)]
    split = card.get("split")
    if isinstance(split, Mapping):
        blocks.append(_split_table(split))
    return [*blocks, *_symbol_blocks(card)]


def _named(card: Mapping[str, Any]) -> str:
    """Return what the data are called, and their symbol, or how many there are."""
    symbols = card.get("symbols")
    of = count(len(symbols), "symbol") if isinstance(symbols, Mapping) else card.get("symbol")
    return " · ".join(str(each) for each in (card.get("name"), of) if each)


def _symbol_blocks(card: Mapping[str, Any]) -> list[Block]:
    """Lay out span, bars and gaps of each symbol of a panel, and name those left out with the reason."""
    found, without = card.get("symbols"), card.get("left_out")
    if not isinstance(found, Mapping) or not found:
        return []
    rows = []
    for symbol, each in found.items():
        known = each if isinstance(each, Mapping) else {}
        ends = [text_cell(known.get(end) and day(known[end])) for end in ("start", "end")]
        counts = [known.get(name) for name in ("bars", "usable_rows", "missing")]
        rows.append([Cell(str(symbol)), *ends, *(count_cell(n if isinstance(n, int) else None) for n in counts)])
    columns = [Column("symbol"), Column("first"), Column("last"), Column("bars", numeric=True)]
    columns.append(Column("usable", numeric=True, hint="with features and a target"))
    columns.append(Column("missing", numeric=True, hint="dates on which others have a bar"))
    blocks: list[Block] = [Table("The bars of each symbol", columns, rows, sortable=True)]
    if isinstance(without, Mapping) and without:
        rows = [[Cell(str(symbol)), Cell(str(why))] for symbol, why in without.items()]
        blocks.append(Table("Symbols left out", [Column("symbol"), Column("because")], rows))
    told = count(len(found), "symbol") + (f", {len(without)} left out" if without else "")
    return [Details(f"The data by symbol: {told}", blocks)] if len(found) > _SYMBOLS_SHOWN else blocks


def _changes_blocks(previous: RunRecord | None, changed: Sequence[Row]) -> list[Block]:
    if previous is None:
        return [Paragraph("No earlier training run of this experiment is on record to compare with.")]
    before = f"{previous.name}, started {moment(previous.started)}"
    if not changed:
        return [Paragraph(f"Configured exactly as the previous run of the experiment ({before}).")]
    rows = [
        [Cell(row.name), Cell(shown(row.values[1]), tone="warning"), Cell(shown(row.values[0]), tone="muted")]
        for row in changed
    ]
    columns = [Column("key"), Column("this run"), Column("previous run")]
    return [Table(f"What differs from the previous run of the experiment: {before}", columns, rows)]


def _table(block: str, values: Mapping[str, str], changed: Mapping[str, str | None]) -> Table:
    rows = []
    for key, value in values.items():
        cell = Cell(shown(value))
        if key in changed:
            cell = Cell(f"{shown(value)} (was {shown(changed[key])})", tone="warning")
        rows.append([Cell(key.partition(".")[2] if "." in key else key), cell])
    return Table(block, [Column("key"), Column("value")], rows)


def _split_table(split: Mapping[str, Any]) -> Table:
    rows = []
    for name, label in _PARTS:
        part = split.get(name)
        if isinstance(part, Mapping):
            bars = part.get("rows")
            ends = [text_cell(part.get(end) and day(part[end])) for end in ("start", "end")]
            counts = [bars, part["dates"]] if "dates" in part else [bars]
            rows.append([Cell(label), *(count_cell(n if isinstance(n, int) else None) for n in counts), *ends])
    columns = [Column("part"), Column("rows", numeric=True), Column("first"), Column("last")]
    if any("dates" in part for part in split.values() if isinstance(part, Mapping)):
        columns.insert(2, Column("dates", numeric=True))
    return Table("How the data are split, in time order", columns, rows)
