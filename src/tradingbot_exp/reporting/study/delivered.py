"""The ensemble that a study delivers: whose mean it is, and what that says."""

from __future__ import annotations

from tradingbot_exp.reporting.page.page import Block, Paragraph
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.runtime.text import plural
from tradingbot_exp.tracking.store.kinds import DELIVERED, MEMBERS


def delivered_blocks(study: Study) -> list[Block]:
    """Say which trials the delivered model is the mean of; nothing of a study that delivers its winner."""
    members = study.run.tags.get(MEMBERS, "").split()
    if not members or DELIVERED not in study.run.tags:
        return []
    first, _, seeds = members[0].rstrip(")").partition("(")
    with_seeds = f" with {plural(int(seeds), 'other seed')}" if seeds.isdecimal() and seeds != "0" else ""
    others = "".join(f", {each}" for each in members[1:])
    return [
        Paragraph(
            f"The model delivered is the mean of the trials {first}{with_seeds}{others}, in the run "
            f"{study.run.tags[DELIVERED]}: it is used wherever the study is evaluated, backtested or asked to "
            f"forecast. The verdict is on trial {first} alone. The mean is of trials that these bars chose, and "
            "averaging what luck chose looks better than any of it: judge it on other bars."
        )
    ]
