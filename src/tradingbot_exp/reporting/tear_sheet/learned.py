"""What was learned by heart: the metrics of the rows that a model was fitted to, beside those of validation."""

from __future__ import annotations

from tradingbot_exp.config.metrics import TRAIN_METRICS
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.metrics import JUDGED
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Table
from tradingbot_exp.reporting.tear_sheet.trained import Trained


def learned_blocks(trained: Trained) -> list[Block]:
    """Lay out the metrics of train rows and validation, a row each; nothing where there are none of train rows."""
    metrics, rows = trained.run.metrics, []
    for name in TRAIN_METRICS:
        kind, values = JUDGED[name], [metrics.get(f"{part}_{name}") for part in ("train", "val")]
        if values[0] is not None:
            rows.append([Cell(kind.label), *(number_cell(value, kind.text) for value in values)])
    columns = [Column("metric"), Column("train", numeric=True), Column("validation", numeric=True)]
    return [Table("Train beside validation: what was learned by heart?", columns, rows)] if rows else []
