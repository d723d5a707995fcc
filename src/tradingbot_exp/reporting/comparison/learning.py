"""How fast the compared runs learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from tradingbot_exp.config.losses import loss_title
from tradingbot_exp.plots.style import new_figure, plain, rounded
from tradingbot_exp.reporting.comparison.compared import LETTERS, Compared, run_name, run_style, with_legend
from tradingbot_exp.reporting.page.blocks import best_epoch
from tradingbot_exp.reporting.page.metrics import same_bars
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import Curve


def learning_blocks(compared: Compared) -> list[Block]:
    """Show the validation loss of each epoch; nothing if there are not two curves."""
    records = compared.records
    curves = {run: record.run.curves.get("val_loss", Curve()) for run, record in enumerate(records)}
    lowest = {run: epoch for run, curve in curves.items() if (epoch := best_epoch(curve)) is not None}
    if len(lowest) < 2:
        return []
    first = records[next(iter(lowest))]

    def judged(record: TrainingRecord) -> list[str | None]:
        params = record.run.params
        return [loss_title(params), params.get("data.target"), params.get("data.horizon")]

    drawn = {run: curves[run] for run in lowest if judged(records[run]) == judged(first)}
    if len(drawn) < 2:
        return [Notice("The learning curves are of different losses or targets, and cannot share an axis.", "muted")]
    alike = all(same_bars(first, records[run]) for run in drawn)
    caution = "" if alike else "different data: compare shapes, not levels"
    figure = learning_curves(drawn, compared.names, loss_title(first.run.params), caution)
    text = ", ".join(f"{LETTERS[run]} at epoch {lowest[run]}" for run in drawn)
    missing = compared.left_out(drawn, "for want of a curve of this loss")
    return [Figure(figure, f"Lowest validation loss: {text}."), *missing]


def learning_curves(curves: Mapping[int, Curve], names: Sequence[str], loss_name: str, caution: str = "") -> go.Figure:
    """Overlay the validation loss of each epoch.

    Parameters
    ----------
    curves : mapping of int to Curve
        By the run's place.
    names : sequence of str
        Of all runs.
    loss_name : str
        What the vertical axis holds, such as ``mse``.
    caution : str
        What the reader has to bear in mind, as a part of the subtitle.
    """
    subtitle = " · ".join(part for part in ("validation loss after each epoch", caution) if part)
    figure = new_figure("How fast the runs learned", subtitle)
    for run, curve in curves.items():
        figure.add_scatter(
            x=list(curve.steps),
            y=rounded(curve.values),
            name=run_name(run, names),
            mode="lines" if len(curve) > 1 else "markers",
            line=run_style(run),
            marker={"color": run_style(run)["color"]},
            hovertemplate="epoch %{x}: %{y:.5g}",
        )
    figure.update_xaxes(title_text="epoch", tickformat="d", showgrid=False)
    drawn = [value for curve in curves.values() for value in curve.values if math.isfinite(value)]
    wide = bool(drawn) and min(drawn) > 0 and max(drawn) > 20 * min(drawn)
    figure.update_yaxes(
        title_text=f"validation loss ({plain(loss_name)}{', log scale' if wide else ''})",
        type="log" if wide else "linear",
        tickformat="~g",
    )
    return with_legend(figure, len(curves))
