"""A run over several folds, as its report tells it: how many there were, which bars each had, and how each did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tradingbot_exp.plots.numbers import MISSING
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.metrics import JUDGED, TRAINING
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Notice, Paragraph, Table
from tradingbot_exp.tracking.reading.records import TrainingRecord

_LOGGED = re.compile(r"fold_(\d+)_(.+)")
_ENDS = ("start", "end")


def folds_of(record: TrainingRecord) -> int:
    """Give the number of folds that a run was trained on; 1 for the plain split."""
    table, params = record.artifacts.predictions, record.run.params
    if table is not None and "fold" in table:
        return max(int(table["fold"].nunique()), 1)
    folds = params.get("evaluation.folds", "")
    return (
        int(folds) if params.get("evaluation.scheme", "chronological") != "chronological" and folds.isdecimal() else 1
    )


def fold_blocks(record: TrainingRecord) -> list[Block]:
    """Say that a run has several folds, and which bars each trains on and is validated on; nothing for one fold."""
    folds = folds_of(record)
    if folds < 2:
        return []
    scheme = record.run.params.get("evaluation.scheme", "several folds")
    text = (
        f"Trained and validated on {folds} folds ({scheme}), each with model, scaler and rivals of its own. Losses, "
        "errors, correlations and the hit rate of this report are means over the folds; what was earned is that of all "
        "forecasts in a row."
    )
    described = (record.artifacts.card or {}).get("folds")
    rows = [_bars(each) for each in described if isinstance(each, Mapping)] if isinstance(described, list) else []
    if not rows:
        return [Paragraph(text)]
    columns = [Column("fold", numeric=True)]
    for part in ("train", "validation"):
        columns += [Column(f"{part} rows", numeric=True), Column(f"{part} from"), Column(f"{part} to")]
    return [Paragraph(text), Table("The bars of each fold", [*columns, Column("left out of train")], rows)]


def fold_table(metrics: Mapping[str, float]) -> Table | None:
    """Lay out what each fold came to by itself, a row a fold; None where no fold has metrics of its own."""
    known = {f"val_{name}": kind for name, kind in JUDGED.items()} | TRAINING
    found: dict[int, dict[str, float]] = {}
    for key, value in metrics.items():
        match = _LOGGED.fullmatch(key)
        if match and match[2] in known:
            found.setdefault(int(match[1]), {})[match[2]] = value
    if not found:
        return None
    names = [name for name in known if any(name in each for each in found.values())]
    rows = [
        [Cell(str(fold), sort=fold), *(number_cell(each.get(name), known[name].text) for name in names)]
        for fold, each in sorted(found.items())
    ]
    columns = [Column("fold", numeric=True), *(Column(known[name].label, numeric=True) for name in names)]
    return Table("Each fold by itself, starting without a position", columns, rows)


def last_fold_notice(folds: int) -> list[Block]:
    """Say that features are told of for the last fold alone; nothing for one fold."""
    text = (
        f"Of the last of {folds} folds: its model, which is the one that was kept, and its train and validation rows."
    )
    return [Notice(text, "muted")] if folds > 1 else []


def _bars(fold: Mapping[str, Any]) -> list[Cell]:
    number = fold.get("fold")
    cells = [Cell(str(number), sort=number) if isinstance(number, int) else Cell(MISSING)]
    left_out = None
    for name in ("train", "val"):
        part = fold.get(name)
        part = part if isinstance(part, Mapping) else {}
        rows = part.get("rows")
        cells.append(Cell(f"{rows:,}", sort=rows) if isinstance(rows, int) else Cell(MISSING, tone="muted"))
        cells += [_when(part.get(end)) for end in _ENDS]
        left_out = left_out or part.get("left_out")
    ends = left_out if isinstance(left_out, list) and len(left_out) == 2 else None
    return [*cells, Cell(f"{_when(ends[0]).text} to {_when(ends[1]).text}") if ends else Cell("nothing", tone="muted")]


def _when(time: Any) -> Cell:
    """Show a time of the card, without the hour where that is midnight."""
    if time is None:
        return Cell(MISSING, tone="muted")
    return Cell(str(time).removesuffix("T00:00:00").replace("T", " "))
