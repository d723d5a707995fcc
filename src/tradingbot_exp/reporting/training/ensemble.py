"""An ensemble: what its networks came to by themselves, beside what they forecast together."""

from __future__ import annotations

import re

import numpy as np

from tradingbot_exp.config.metrics import MEMBERS_SD
from tradingbot_exp.evaluation.metrics.forecast import rank_ic
from tradingbot_exp.plots.numbers import percent, ratio, significant
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.metrics import JUDGED, TRAINING
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Notice, Paragraph, Table
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.tracking.store.kinds import MEMBERS

_LOGGED = re.compile(r"seed_(\d+)/(final_loss|val_ic)")
_SHOWN = {"final_loss": TRAINING["final_loss"], "val_ic": JUDGED["ic"]}


def ensemble_blocks(trained: Trained) -> list[Block]:
    """Lay out each network beside their mean, and say how far apart they are; nothing of a single network.

    Of the ensemble of a study, say what its numbers are worth.
    """
    members = trained.run.tags.get(MEMBERS)
    if members is not None:
        return [
            Notice(
                f"The mean of trials that these bars chose ({members}). Averaging what luck chose looks better than "
                "any of it, so that its numbers on these bars say little: judge it on others."
            )
        ]
    found: dict[int, dict[str, float]] = {}
    for key, value in trained.run.metrics.items():
        if match := _LOGGED.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    table = trained.forecasts
    if not found or table is None or MEMBERS_SD not in table:
        return []
    rows = [
        [Cell(label), *(number_cell(values.get(name), kind.text) for name, kind in _SHOWN.items())]
        for label, values in (
            ("their mean, which is the model", trained.run.metrics),
            *((f"seed {seed}", each) for seed, each in sorted(found.items())),
        )
    ]
    columns = [Column("network"), *(Column(kind.label, numeric=True) for kind in _SHOWN.values())]
    apart, forecast = table[MEMBERS_SD].to_numpy(), table["forecast"].to_numpy()
    missed = rank_ic(np.abs(table["actual"].to_numpy() - forecast), apart)
    tells = f" Rank correlation with the size of the error: {ratio(missed, 2)}." if np.isfinite(missed) else ""
    share = f", {percent(apart.mean() / forecast.std())} of the forecast's own" if forecast.std() else ""
    text = (
        f"{len(found)} networks, trained with seeds of their own, forecast their mean. On a bar the standard deviation "
        f"among them is {significant(float(apart.mean()))} on average{share}.{tells}"
    )
    return [Paragraph(text), Table("Ensemble: each network by itself", columns, rows)]
