"""How much each feature matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from tradingbot_exp.plots import style

MAX_FEATURES = 50
"""Features that `feature_importance` draws, the most important ones."""


def feature_importance(names: Sequence[str], mean: ArrayLike, std: ArrayLike) -> go.Figure:
    """Draw the features as bars, the most important on top.

    Parameters
    ----------
    names : sequence of str, length F
        Features.
    mean, std : array_like, shape (F,)
        Increase of the loss when the feature is shuffled, over repeats. NaN in `std` draws no error bar.
    """
    title = "Feature importance"
    m, s = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    order = [int(i) for i in np.argsort(-m, kind="stable") if np.isfinite(m[i])]  # NaN sorts last
    if not order:
        return style.nothing_to_draw(title, "no feature has a finite importance")
    missing = len(names) - len(order)
    notes = "bars: mean over shuffles; whiskers: ± 1 std"
    if len(order) > MAX_FEATURES:
        notes += f" · top {MAX_FEATURES} of {len(order):,}"
        order = order[:MAX_FEATURES]
    fig = style.new_figure(title, notes + style.left_out(missing, "features"), narrow={"xaxis.nticks": 4})
    fig.add_bar(
        x=style.rounded(m[order]),
        y=list(range(len(order))),
        customdata=[style.plain(names[i]) for i in order],
        error_x={"array": style.rounded(s[order]), "color": style.WHISKER, "thickness": 1.8, "width": 4},
        orientation="h",
        marker={"color": [style.GOOD if m[i] > 0 else style.ACTUAL for i in order], "opacity": 0.65},
        hovertemplate="%{customdata}: %{x:.4g}<extra></extra>",
    )
    if len(order) > 16:  # fewer fill the window
        fig.update_layout(height=26 * len(order) + 160)
    fig.update_layout(bargap=0.35, showlegend=False)
    fig.update_xaxes(title_text="increase of the loss when shuffled", nticks=7, tickangle=0)
    fig.update_yaxes(
        title_text="feature",
        tickvals=list(range(len(order))),
        ticktext=[style.short(names[i]) for i in order],
        range=[len(order) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    return fig
