"""The compared runs as the sections of their report take them, and what several sections compute from them, once.

Runs go by letters, in the order in which they were given; the first, A, is the one that others are measured against.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import plotly.graph_objects as go

from tradingbot_exp.plots.style import FORECAST, MARK, TOP_PX, VALIDATION, short
from tradingbot_exp.reporting.comparison.numbers import Difference, differences
from tradingbot_exp.reporting.page.metrics import MetricRow, metric_rows
from tradingbot_exp.reporting.page.page import Block, Column, Notice
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.records import TrainingRecord

LETTERS = string.ascii_uppercase


@dataclass(frozen=True, eq=False)
class Compared:
    """Two or more different runs, the reference first."""

    records: Sequence[TrainingRecord]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [record.run.name for record in self.records]

    @property
    def lettered(self) -> list[tuple[str, TrainingRecord]]:
        """Each with its letter."""
        return list(zip(LETTERS, self.records, strict=False))

    @cached_property
    def differences(self) -> list[Difference]:
        """How the others differ from the reference, in every measure."""
        return differences(self.records)

    @cached_property
    def metrics(self) -> list[MetricRow]:
        """Every metric that any of them has."""
        return metric_rows(self.records)

    def columns(self, *, numeric: bool = False) -> list[Column]:
        """Return a column a run: its letter, and the run's name below."""
        return [Column(letter, numeric, record.run.name) for letter, record in self.lettered]

    def left_out(self, drawn: Collection[int], why: str) -> list[Block]:
        """Name the runs that are not drawn; nothing if all are."""
        missing = [LETTERS[run] for run in range(len(self.records)) if run not in drawn]
        return [Notice(f"Not drawn, {why}: {listed(missing)}.", "muted")] if missing else []


def run_name(run: int, names: Sequence[str]) -> str:
    """Return letter and name of a run, short enough for a legend, escaped for Plotly."""
    return f"{LETTERS[run]} {short(names[run])}"


def grouped(values: Sequence[str | None]) -> str:
    """Say which runs have which value: ``A, C: ibm; B: msft``."""
    holders: dict[str | None, list[str]] = {}
    for letter, value in zip(LETTERS, values, strict=False):
        holders.setdefault(value, []).append(letter)
    return "; ".join(
        f"{', '.join(who)}: {value if value is not None else 'not recorded'}" for value, who in holders.items()
    )


COLORS = (FORECAST, VALIDATION, MARK, "#cc79a7", "#b07700")
DASHES = ("solid", "dash", "dot", "dashdot")
_LEGEND_PX, _PLOT_PX = 20, 340


def run_style(run: int) -> dict[str, Any]:
    """Return the line of the run at that place: its colour, and the dash that tells it from others of that colour.

    Each run keeps them in every figure: five colours that colour-blind readers can tell apart, in four dashes, for up
    to 20 runs.
    """
    return {"color": COLORS[run % len(COLORS)], "dash": DASHES[run // len(COLORS) % len(DASHES)], "width": 2}


def with_legend(figure: go.Figure, lines: int) -> go.Figure:
    """Put the legend where it has room: above up to three lines, else to the right; below on a narrow screen."""
    if lines > 3:
        figure.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top"})
        figure.update_layout(margin={"t": TOP_PX - _LEGEND_PX})
    figure.update_layout(height=max(TOP_PX + _PLOT_PX + 56, TOP_PX + lines * _LEGEND_PX + 60), hovermode="closest")
    below = lines * _LEGEND_PX + 80
    narrow = figure.layout.meta["narrow"]
    narrow |= {
        "xaxis.nticks": 4,
        "xaxis.tickangle": 0,
        "margin.t": narrow["margin.t"] - _LEGEND_PX,
        "legend": {"orientation": "v", "x": 0, "xanchor": "left", "y": -80 / _PLOT_PX, "yanchor": "top"},
        "margin.b": below,
        "height": TOP_PX + _PLOT_PX + below,
    }
    return figure
