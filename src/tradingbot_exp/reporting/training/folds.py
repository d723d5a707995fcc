"""A run over several folds: which bars each had, and how each did by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tradingbot_exp.plots.numbers import MISSING
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell, text_cell
from tradingbot_exp.reporting.page.metrics import JUDGED, TRAINING
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Paragraph, Table
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.runtime.text import day

_LOGGED = re.compile(r"fold_(\d+)_(.+)")


def fold_blocks(trained: Trained) -> list[Block]:
    """Say that a run has several folds, and which bars each trains on and is validated on; nothing for one fold."""
    if trained.folds < 2:
        return []
    scheme = trained.run.params.get("evaluation.scheme", "several folds")
    text = (
        f"Trained and validated on {trained.folds} folds ({scheme}), each with model, scaler and rivals of its own. "
        "Losses, errors, correlations and the hit rate of this report are means over the folds; what was earned is "
        "that of all forecasts in a row."
    )
    described = (trained.record.artifacts.card or {}).get("folds")
    rows = [_bars(each) for each in described if isinstance(each, Mapping)] if isinstance(described, list) else []
    if not rows:
        return [Paragraph(text)]
    columns = [Column("fold", numeric=True)]
    for part in ("train", "validation"):
        columns += [Column(f"{part} rows", numeric=True), Column(f"{part} from"), Column(f"{part} to")]
    return [Paragraph(text), Table("The bars of each fold", [*columns, Column("left out of train")], rows)]


def fold_metrics(trained: Trained) -> list[Block]:
    """Lay out what each fold came to by itself, a row a fold; nothing where no fold has metrics of its own."""
    known = {f"val_{name}": kind for name, kind in JUDGED.items()} | TRAINING
    found: dict[int, dict[str, float]] = {}
    for key, value in trained.run.metrics.items():
        match = _LOGGED.fullmatch(key)
        if match and match[2] in known:
            found.setdefault(int(match[1]), {})[match[2]] = value
    if not found:
        return []
    names = [name for name in known if any(name in each for each in found.values())]
    rows = [
        [Cell(str(fold), sort=fold), *(number_cell(each.get(name), known[name].text) for name in names)]
        for fold, each in sorted(found.items())
    ]
    columns = [Column("fold", numeric=True), *(Column(known[name].label, numeric=True) for name in names)]
    return [Table("Each fold by itself, starting without a position", columns, rows)]


def _bars(fold: Mapping[str, Any]) -> list[Cell]:
    number = fold.get("fold")
    cells = [Cell(str(number), sort=number) if isinstance(number, int) else Cell(MISSING)]
    left_out = None
    for name in ("train", "val"):
        part = fold.get(name)
        part = part if isinstance(part, Mapping) else {}
        rows = part.get("rows")
        cells.append(count_cell(rows if isinstance(rows, int) else None))
        cells += [text_cell(part.get(end) and day(part[end])) for end in ("start", "end")]
        left_out = left_out or part.get("left_out")
    ends = [day(end) for end in left_out] if isinstance(left_out, list) and len(left_out) == 2 else None
    return [*cells, text_cell(" to ".join(ends) if ends else "", "nothing")]
