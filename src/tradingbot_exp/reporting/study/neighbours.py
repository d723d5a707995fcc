"""How flat it is around the winner: whether trials that resemble it do as well, or it stands alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tradingbot_exp.plots.numbers import count, significant
from tradingbot_exp.plots.style import ACTUAL, FORECAST, MARK, add_dots, evenly, new_figure, rounded
from tradingbot_exp.reporting.page.page import Block, Figure, Notice, Paragraph
from tradingbot_exp.reporting.study.axes import tick_text
from tradingbot_exp.reporting.study.layout import sized, value_axis
from tradingbot_exp.reporting.study.numbers import FEW, Study, metric_label, scale_of

MAX_POINTS = 800
"""Trials drawn."""
_SHARE, _LEAST = 0.1, 3  # the nearest tenth of the trials, and at least three
_FLAT, _LONELY = 0.5, 1.0


def neighbour_blocks(study: Study) -> list[Block]:
    """Draw the trials by their distance from the winner, or say why that means nothing."""
    found = neighbours_of(study)
    if isinstance(found, str):
        return [Notice(found, "muted")]
    best = study.best[0]
    text = f"The value of each complete trial against its distance from trial {best.number}, the best."
    return [Paragraph(neighbour_words(found, best.values[0])), Figure(neighbourhood(study, found), text)]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The complete trials by their distance from the winner, which is not among them; the nearest first."""

    numbers: NDArray[np.int64]
    # Root mean square over the parameters of the difference as a share of the range, which is 0 or 1 for choices
    # without an order: 0 at the winner, 1 in the opposite corner.
    distances: NDArray[np.float64]
    gaps: NDArray[np.float64]  # by how much each value is worse than the winner's
    nearest: int  # how many of them are called near

    @property
    def near_gap(self) -> float:
        """Median gap of the nearest."""
        return float(np.median(self.gaps[: self.nearest]))

    @property
    def all_gap(self) -> float:
        """Median gap of all."""
        return float(np.median(self.gaps))


def neighbours_of(study: Study) -> Neighbours | str:
    """Measure how far the trials are from the winner, or say why that means nothing."""
    winner = study.winner
    if study.several:
        return "With several objectives there is no single winner whose neighbourhood could be flat."
    trials = [trial for trial in study.distinct if trial is not winner]
    if winner is None or len(trials) < FEW:
        return f"How flat the winner's neighbourhood is takes {FEW + 1} different complete trials to tell."
    axes = [axis for axis in study.axes if not axis.single]
    squares, known = np.zeros(len(trials)), np.zeros(len(trials))
    for axis in axes:
        here = axis.share(winner.params.get(axis.key))
        there = np.array([axis.share(trial.params.get(axis.key)) for trial in trials])
        apart = np.abs(there - here) if axis.ordered else np.where(np.isnan(there), np.nan, (there != here) * 1.0)
        known += np.isfinite(apart)
        squares += np.nan_to_num(apart) ** 2
    if not known.any():
        return "No parameter has two values, so that no trial is nearer to the winner than another."
    with np.errstate(invalid="ignore"):
        distances = np.sqrt(squares / known)
    gaps = study.costs(trials) - study.costs([winner])[0]
    keep = np.flatnonzero(np.isfinite(distances))
    if keep.size < FEW:
        return "Too few trials have the parameters on record that would tell how near they are to the winner."
    order = keep[np.argsort(distances[keep], kind="stable")]
    numbers = np.array([trial.number for trial in trials])[order]
    nearest = min(max(round(_SHARE * order.size), _LEAST), order.size)
    return Neighbours(numbers, distances[order], gaps[order], nearest)


def neighbour_words(found: Neighbours, value: float) -> str:
    """Say how far the nearest trials' values are from the winner's, against those of all trials."""
    near, far = found.near_gap, found.all_gap

    def amount(gap: float) -> str:
        text = significant(gap, 2)
        return f"{text} ({tick_text(100 * gap / abs(value), 2)}\u00a0%)" if value else text

    words = (
        f"Of the {count(found.nearest, 'trial')} nearest to the winner, half are within {amount(near)} of its value; "
        f"of all {found.gaps.size:,} others, half are within {amount(far)}. "
    )
    few = " Of so few trials the nearest are not near: more would tell." if found.gaps.size < 3 * found.nearest else ""
    if far <= 0:
        return words + "Most trials are as good as the winner: what was searched makes little difference."
    share = near / far
    if share <= _FLAT:
        return f"{words}Nearby settings do much better than most: the winner does not stand alone.{few}"
    if share < _LONELY:
        return f"{words}Nearby settings do only a little better than others do.{few}"
    return f"{words}Nearby settings do no better than any others: the winner stands alone, as a lucky trial would.{few}"


def neighbourhood(study: Study, found: Neighbours) -> go.Figure:
    """Draw each trial's value against how far it is from the winner."""
    winner, objective = study.best[0], study.objectives[0]
    by_number = {trial.number: trial for trial in study.distinct}
    keep = {*range(found.nearest), *evenly(0, len(found.numbers) - 1, MAX_POINTS)}
    values = np.array([by_number[int(number)].values[0] for number in found.numbers])
    scale = scale_of([*values, winner.values[0]], winner.values[0])
    figure = new_figure(
        "How flat it is around the winner",
        f"distance over all parameters: 0 at the winner, 1 in the opposite corner{scale.note()}",
    )
    for near, label, color in ((False, "all others", ACTUAL), (True, f"the nearest {found.nearest}", FORECAST)):
        chosen = [i for i in sorted(keep) if (i < found.nearest) is near]
        look = {"color": color, "size": 8 if len(values) <= 60 else 6, "opacity": 0.75}
        hover, numbers = "trial %{customdata}: distance %{x:.2f}, value %{y:.5g}", found.numbers[chosen].tolist()
        at = rounded(found.distances[chosen], 4), rounded(values[chosen])
        add_dots(figure, *at, label, look, hover, customdata=numbers)
    look, best = {"symbol": "star", "size": 15, "color": MARK}, rounded([winner.values[0]])
    add_dots(figure, [0], best, f"trial {winner.number}, the best", look, "%{y:.5g}")
    figure.add_hline(y=winner.values[0], line={"color": MARK, "width": 1.2, "dash": "dash"})
    figure.update_xaxes(title_text="distance from the winner (share of the space)", rangemode="tozero", zeroline=False)
    value_axis(figure, scale, metric_label(objective.metric, study.run))
    return sized(figure, 320)
