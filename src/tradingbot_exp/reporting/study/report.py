"""The report on a study: what was found, how the search went, what it says about the space, and every trial.

Another section is one file beside this one, and one line in `SECTIONS`.
"""

from __future__ import annotations

from tradingbot_exp.reporting.page.blocks import header_facts
from tradingbot_exp.reporting.page.outline import Part, page_of
from tradingbot_exp.reporting.page.page import Page
from tradingbot_exp.reporting.study.again import again_section
from tradingbot_exp.reporting.study.curves import curve_blocks
from tradingbot_exp.reporting.study.delivered import delivered_blocks
from tradingbot_exp.reporting.study.front import front_blocks
from tradingbot_exp.reporting.study.history import history_blocks
from tradingbot_exp.reporting.study.importance import importance_blocks
from tradingbot_exp.reporting.study.numbers import study_of
from tradingbot_exp.reporting.study.robustness import robustness_blocks
from tradingbot_exp.reporting.study.searched import searched_blocks
from tradingbot_exp.reporting.study.space import space_blocks
from tradingbot_exp.reporting.study.summary import summary_blocks
from tradingbot_exp.reporting.study.timing import time_blocks
from tradingbot_exp.reporting.study.trials import trial_blocks
from tradingbot_exp.reporting.study.verdict import verdict_blocks
from tradingbot_exp.reporting.study.winner import winner_blocks
from tradingbot_exp.tracking.reading.records import StudyRecord

SECTIONS = (
    Part("in-short", "In short", (summary_blocks,)),
    Part("verdict", "Is the winner real?", (verdict_blocks, robustness_blocks, delivered_blocks)),
    Part("winner", "The winner on its validation bars", (winner_blocks,)),
    Part("history", "How the search went", (history_blocks,)),
    Part("curves", "Learning curves", (curve_blocks,)),
    Part("importance", "Which parameters matter", (importance_blocks,)),
    Part("space", "Where in the space", (space_blocks,)),
    Part("front", "The Pareto front", (front_blocks,)),
    Part("time", "Time", (time_blocks,)),
    Part("trials", "All trials", (trial_blocks,)),
    Part("searched", "What was searched", (searched_blocks,)),
    Part("again", "How to get it again", (again_section,)),
)
_KINDS = {"sweep": "Sweep report", "null_study": "Null study report"}


def study_page(record: StudyRecord) -> Page:
    """Build the report of a study, a plain sweep or a null study: whatever its state, and whatever is missing.

    Parameters
    ----------
    record : StudyRecord
    """
    kind = _KINDS.get(record.run.kind, "Study report")
    return page_of(study_of(record), SECTIONS, record.run.name, kind, header_facts(record.run))
