"""The comparison report: several runs side by side, and which of their differences are more than luck.

Another section is one file beside this one, and one line in `SECTIONS`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tradingbot_exp.plots.numbers import MISSING
from tradingbot_exp.reporting.comparison.compared import Compared
from tradingbot_exp.reporting.comparison.context import context_blocks
from tradingbot_exp.reporting.comparison.differences import difference_blocks
from tradingbot_exp.reporting.comparison.equity import equity_blocks
from tradingbot_exp.reporting.comparison.forecasts import forecast_blocks
from tradingbot_exp.reporting.comparison.learning import learning_blocks
from tradingbot_exp.reporting.comparison.metrics import metric_blocks
from tradingbot_exp.reporting.comparison.runs import run_blocks
from tradingbot_exp.reporting.comparison.summary import summary_blocks
from tradingbot_exp.reporting.page.outline import Part, page_of
from tradingbot_exp.reporting.page.page import Block, Cell, Code, Page
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.records import TrainingRecord


def _command(compared: Compared) -> list[Block]:
    ids = [record.run.run_id for record in compared.records]
    return [Code(shlex.join(["python", "-m", "tradingbot_exp", "report", "compare", *ids]), "Command")]


SECTIONS = (
    Part("in-short", "In short", (summary_blocks,)),
    Part("runs", "The runs", (run_blocks,)),
    Part("metrics", "Metrics side by side", (metric_blocks,)),
    Part("differences", "How sure the differences are", (difference_blocks,)),
    Part("equity", "Equity", (equity_blocks,)),
    Part("forecasts", "Forecasts", (forecast_blocks,)),
    Part("learning", "Learning curves", (learning_blocks,)),
    Part("what-differs", "What differs between the runs", (context_blocks,)),
    Part("again", "Make this report again", (_command,)),
)


def comparison_page(records: Sequence[TrainingRecord]) -> Page:
    """Build the report on several runs.

    Parameters
    ----------
    records : sequence of TrainingRecord
        Two or more different runs, the reference first.
    """
    first, *others = (record.run.name for record in records)
    experiments = dict.fromkeys(record.run.experiment or MISSING for record in records)
    facts = [
        ("Runs", Cell(str(len(records)))),
        ("Reference", Cell(f"A, {first}")),
        ("Experiment", Cell(listed(list(experiments)))),
    ]
    title = f"{first} against {others[0] if len(others) == 1 else f'{len(others)} others'}"
    return page_of(Compared(records), SECTIONS, title, "Comparison", facts)
