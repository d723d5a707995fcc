"""The training report: one run from what it was to how to get it again, made of its record.

Another section is one file beside this one, and one line in `SECTIONS`.
"""

from __future__ import annotations

from tradingbot_exp.reporting.page.again import again_blocks
from tradingbot_exp.reporting.page.blocks import header_facts
from tradingbot_exp.reporting.page.outline import Part, page_of
from tradingbot_exp.reporting.page.page import Block, Page
from tradingbot_exp.reporting.tear_sheet.learned import learned_blocks
from tradingbot_exp.reporting.tear_sheet.sheet import TEAR_SHEET
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.course import course_blocks
from tradingbot_exp.reporting.training.ensemble import ensemble_blocks
from tradingbot_exp.reporting.training.features import feature_blocks
from tradingbot_exp.reporting.training.folds import fold_blocks, fold_metrics
from tradingbot_exp.reporting.training.forecasts import forecast_blocks
from tradingbot_exp.reporting.training.ic_by_date import ic_by_date_blocks
from tradingbot_exp.reporting.training.opened import opened_blocks
from tradingbot_exp.reporting.training.quality import quality_blocks, recorded_blocks
from tradingbot_exp.reporting.training.quantiles import quantile_blocks
from tradingbot_exp.reporting.training.run import run_blocks, settings_blocks
from tradingbot_exp.reporting.training.symbols import symbol_blocks
from tradingbot_exp.reporting.training.test_set import test_set_blocks
from tradingbot_exp.runtime.text import train_command
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.store.lookup import ENSEMBLE


def _again(trained: Trained) -> list[Block]:
    record = trained.record
    if record.run.kind != ENSEMBLE:
        return again_blocks(record)
    return again_blocks(record, train_command(["--multirun", *(record.overrides or ())]))


QUALITY = (
    quality_blocks,
    learned_blocks,
    fold_metrics,
    ensemble_blocks,
    recorded_blocks,
    forecast_blocks,
    ic_by_date_blocks,
    symbol_blocks,
    quantile_blocks,
    *TEAR_SHEET,
)
SECTIONS = (
    Part("run", "Run: what was run", (run_blocks, fold_blocks, settings_blocks)),
    Part("training", "Training: how it went", (course_blocks,)),
    Part("quality", "Validation: how good it is", QUALITY),
    Part("why", "Features: why it forecasts as it does", (feature_blocks,)),
    Part("again", "Reproduction: how to get it again", (_again,)),
    Part("test", "Test set", (test_set_blocks,)),
    Part("opened", "Test set: what its forecasts earned", (opened_blocks,)),
)


def training_page(record: TrainingRecord) -> Page:
    """Build the report of a training run, or of a trial: whatever its status, and whatever is missing.

    Parameters
    ----------
    record : TrainingRecord
    """
    return page_of(Trained(record), SECTIONS, record.run.name, "Training report", header_facts(record.run))
