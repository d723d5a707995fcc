"""The tear sheet of the test set, once it was opened: of the first opening, as only that is out of sample."""

from __future__ import annotations

from dataclasses import replace

from tradingbot_exp.reporting.page.page import Block
from tradingbot_exp.reporting.tear_sheet.sheet import TEAR_SHEET
from tradingbot_exp.reporting.tear_sheet.trained import Trained


def opened_blocks(trained: Trained) -> list[Block]:
    """Lay out what the forecasts of the test bars earned; nothing while they are sealed."""
    record = trained.record
    if record.test_returns is None:
        return []
    artifacts = replace(record.artifacts, predictions=record.test_returns)
    opened = Trained(replace(record, artifacts=artifacts))
    return [block for topic in TEAR_SHEET for block in topic(opened)]
