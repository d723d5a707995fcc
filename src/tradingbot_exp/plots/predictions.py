"""Forecasts against what came: over time, against each other, and how both are spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.evaluation.metrics.forecast import ic
from tradingbot_exp.plots.numbers import count, ratio
from tradingbot_exp.plots.style import (
    ACTUAL,
    FORECAST,
    VALIDATION,
    finite,
    left_out,
    new_figure,
    nothing_to_draw,
    plain,
    rounded,
)

MAX_BARS = 3_000
"""Points drawn of one series; a longer one is thinned evenly, and the subtitle says so."""


def prediction_vs_actual(dates: Any, actual: ArrayLike, forecast: ArrayLike, unit: str) -> go.Figure:
    """Draw forecast and actual over time, and against each other with the line of a perfect forecast.

    Parameters
    ----------
    dates : array_like, shape (n,)
        Time of each bar: datetimes, strings, or row numbers.
    actual, forecast : array_like, shape (n,)
        In `unit`.
    unit : str
        Unit of both, such as ``log return, 1 bar``.
    """
    title = "Forecast against actual"
    a, f = np.asarray(actual, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    keep = np.isfinite(a) & np.isfinite(f)
    if not keep.any():
        return nothing_to_draw(title, "no bar has both a forecast and an actual value")
    when, a, f = np.asarray(iso_times(dates))[keep], a[keep], f[keep]
    correlation = ic(a, f)
    notes = [
        count(len(a), "bar"),
        f"correlation {ratio(correlation, 3)}" if np.isfinite(correlation) else "no correlation",
    ]
    step = -(-len(a) // MAX_BARS)
    if step > 1:
        notes.append(f"1 in {step} drawn")
    subtitle = " · ".join(notes) + left_out(int((~keep).sum()), "bars")
    narrow = {
        "height": 860,
        "xaxis.domain": [0, 1],
        "yaxis.domain": [0.58, 1],
        "xaxis2.domain": [0, 1],
        "yaxis2.domain": [0, 0.42],
    }
    fig = new_figure(title, subtitle, narrow=narrow)
    times, drawn_a, drawn_f = when[::step].tolist(), rounded(a[::step]), rounded(f[::step])
    fig.add_scatter(x=times, y=drawn_a, name="actual", line={"color": ACTUAL, "width": 1}, hovertemplate="%{y:.4g}")
    fig.add_scatter(
        x=times, y=drawn_f, name="forecast", line={"color": FORECAST, "width": 1.6}, hovertemplate="%{y:.4g}"
    )
    fig.add_scatter(
        x=drawn_f,
        y=drawn_a,
        customdata=times,
        mode="markers",
        name="bars",
        showlegend=False,
        marker={"color": FORECAST, "size": 5, "opacity": 0.45},
        xaxis="x2",
        yaxis="y2",
        hovertemplate="%{customdata}<br>forecast %{x:.4g}<br>actual %{y:.4g}<extra></extra>",
    )
    low, high = f.min(), f.max()
    if low == high:  # a constant forecast has no range of its own to draw the line over
        low, high = a.min(), a.max()
    fig.add_scatter(
        x=rounded([low, high]),
        y=rounded([low, high]),
        mode="lines",
        name="actual = forecast",
        showlegend=False,
        line={"color": VALIDATION, "width": 2, "dash": "dash"},
        xaxis="x2",
        yaxis="y2",
        hoverinfo="skip",
    )
    fig.add_annotation(
        text="<b>– –</b> actual = forecast",
        xref="x2 domain",
        yref="y2 domain",
        x=0,
        y=1,
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"color": VALIDATION},
    )
    fig.update_layout(
        xaxis={"domain": [0, 0.58], "title": {"text": "time" if isinstance(times[0], str) else "bar"}},
        yaxis={"title": {"text": plain(unit)}},
        xaxis2={
            "domain": [0.68, 1],
            "anchor": "y2",
            "title": {"text": f"forecast ({plain(unit)})"},
            "nticks": 6,
        },
        yaxis2={"anchor": "x2", "title": {"text": f"actual ({plain(unit)})"}},
    )
    return fig


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


def iso_times(dates: Any) -> list[Any]:
    """Write times as short ISO strings, and leave row numbers as they are."""
    array = np.asarray(dates)
    if array.dtype.kind == "M":
        days = array.astype("datetime64[D]")
        whole = bool(np.all((array == days) | np.isnat(array)))
        return [str(time) for time in (days if whole else array.astype("datetime64[s]"))]
    return [item if isinstance(item, int | float) else str(item) for item in array.tolist()]
