"""The winner of a study on its validation bars: what was learned by heart, and the tear sheet."""

from __future__ import annotations

from tradingbot_exp.reporting.page.page import Block, Paragraph
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.reporting.tear_sheet.learned import learned_blocks
from tradingbot_exp.reporting.tear_sheet.sheet import TEAR_SHEET
from tradingbot_exp.reporting.tear_sheet.trained import Trained


def winner_blocks(study: Study) -> list[Block]:
    """Lay out what the best trial's forecasts earned; nothing where its run keeps none."""
    record = study.record.winner
    if record is None or study.run.kind == "null_study":
        return []
    text = (
        f"Of trial {study.best[0].number} ({record.run.run_id}), the best of many on these very bars, and so flattered "
        "by them."
    )
    trained = Trained(record)
    return [Paragraph(text), *(block for topic in (learned_blocks, *TEAR_SHEET) for block in topic(trained))]
