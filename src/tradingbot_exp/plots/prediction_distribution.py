"""How forecasts and what came are spread."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.plots.style import ACTUAL, FORECAST, finite, left_out, new_figure, nothing_to_draw, plain, rounded


def prediction_distribution(actual: ArrayLike, forecast: ArrayLike, unit: str) -> go.Figure:
    """Draw how actual values and forecasts are spread, one above the other on one horizontal scale.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In `unit`. Each has bins and a vertical scale of its own: forecasts are mostly much narrower.
    unit : str
        Unit of both.
    """
    title = "Distribution of actuals and forecasts"
    both = {"actual": np.ravel(np.asarray(actual)), "forecast": np.ravel(np.asarray(forecast))}
    kept = {name: finite(values) for name, values in both.items()}
    if not all(values.size for values in kept.values()):
        empty = " and ".join(name for name, values in kept.items() if not values.size)
        return nothing_to_draw(title, f"there are no finite values of {empty}")
    missing = sum(map(len, both.values())) - sum(map(len, kept.values()))
    spread = " · ".join(
        f"{name}\u00a0{values.mean():.2g}\u00a0±\u00a0{values.std():.2g}" for name, values in kept.items()
    )
    fig = new_figure(title, f"mean ± std: {spread.replace('-', '−')}{left_out(missing, 'values')}")
    low, high = (float(end(np.concatenate(list(kept.values())))) for end in (np.min, np.max))
    reach = high - low or abs(low) or 1.0
    for row, (name, color) in enumerate({"actual": ACTUAL, "forecast": FORECAST}.items(), start=1):
        values = kept[name]
        counts, edges = np.histogram(values, bins=_edges(values, reach))
        axis = "" if row == 1 else "2"
        fig.add_bar(
            x=rounded((edges[:-1] + edges[1:]) / 2),
            y=rounded(100 * counts / len(values)),
            width=rounded(np.diff(edges)),
            name=name,
            marker={"color": color, "line": {"width": 0}},
            xaxis="x",
            yaxis=f"y{axis}",
            hovertemplate="%{x:.4g}: %{y:.3g} % of bars",
        )
    fig.update_layout(
        xaxis={
            "title": {"text": plain(unit)},
            "anchor": "y2",
            "range": rounded([low - reach / 50, high + reach / 50]),
        },
        yaxis={"domain": [0.54, 1], "title": {"text": "actual (% of bars)"}, "rangemode": "tozero"},
        yaxis2={"domain": [0, 0.46], "title": {"text": "forecast (% of bars)"}, "rangemode": "tozero"},
        barmode="overlay",
        bargap=0,
        showlegend=False,
    )
    return fig


def _edges(values: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Bin edges by Freedman and Diaconis (1981), 10 to 80 bins; a constant gets one bin, 1 % of `reach`."""
    low, high = values.min(), values.max()
    if low == high:
        return np.array([low - reach / 200, high + reach / 200])
    width = 2 * float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / np.cbrt(len(values))
    bins = (high - low) / width if width > 0 else 0
    return np.linspace(low, high, int(np.clip(np.ceil(bins), 10, 80)) + 1)
