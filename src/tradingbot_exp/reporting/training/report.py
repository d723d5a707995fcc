"""The training report: one run from what it was to how to get it again, made of its record.

Another section is one file beside this one, and one line in `SECTIONS`.
"""

from __future__ import annotations

from tradingbot_exp.reporting.page.again import again_blocks
from tradingbot_exp.reporting.page.blocks import header_facts
from tradingbot_exp.reporting.page.outline import Part, page_of
from tradingbot_exp.reporting.page.page import Block, Page
from tradingbot_exp.reporting.training.costs import cost_blocks
from tradingbot_exp.reporting.training.course import course_blocks
from tradingbot_exp.reporting.training.equity import equity_blocks
from tradingbot_exp.reporting.training.features import feature_blocks
from tradingbot_exp.reporting.training.folds import fold_blocks, fold_metrics
from tradingbot_exp.reporting.training.forecasts import forecast_blocks
from tradingbot_exp.reporting.training.months import month_blocks
from tradingbot_exp.reporting.training.quality import quality_blocks, recorded_blocks
from tradingbot_exp.reporting.training.run import run_blocks, settings_blocks
from tradingbot_exp.reporting.training.test_set import test_set_blocks
from tradingbot_exp.reporting.training.trained import Trained
from tradingbot_exp.reporting.training.years import year_blocks
from tradingbot_exp.tracking.reading.records import TrainingRecord


def _again(trained: Trained) -> list[Block]:
    return again_blocks(trained.record)


QUALITY = (
    quality_blocks,
    fold_metrics,
    recorded_blocks,
    forecast_blocks,
    equity_blocks,
    month_blocks,
    cost_blocks,
    year_blocks,
)
SECTIONS = (
    Part("run", "What was run", (run_blocks, fold_blocks, settings_blocks)),
    Part("training", "How it went", (course_blocks,)),
    Part("quality", "How good it is", QUALITY),
    Part("why", "Why", (feature_blocks,)),
    Part("again", "How to get it again", (_again,)),
    Part("test", "Test set", (test_set_blocks,)),
)


def training_page(record: TrainingRecord) -> Page:
    """Build the report of a training run, or of a trial: whatever its status, and whatever is missing.

    Parameters
    ----------
    record : TrainingRecord
    """
    return page_of(Trained(record), SECTIONS, record.run.name, "Training report", header_facts(record.run))
