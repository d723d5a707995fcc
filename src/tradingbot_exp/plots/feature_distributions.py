"""How each feature is spread in train and in validation: numbers first, then a panel of histograms each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.plots import style

TITLE = "Feature distributions"
MAX_PANELS = 50
BINS = 30
_TITLE_PX, _TICKS_PX, _BELOW_PX = 24, 28, 56  # above a panel, below a panel, below them all


@dataclass(frozen=True)
class FeatureHistogram:
    """How one feature is spread in train and in validation."""

    name: str
    # Of the bins, ascending, over the middle 99 % of the pooled values; a single one where they are all the same,
    # none where there is no finite value.
    edges: tuple[float, ...]
    # Densities, one a bin: their integral is the share of values within the edges.
    train: tuple[float, ...]
    val: tuple[float, ...]
    ks: float  # Kolmogorov-Smirnov distance max |F_train − F_validation|, 0 to 1; NaN if either is empty


def feature_histograms(names: Sequence[str], train: ArrayLike, val: ArrayLike) -> list[FeatureHistogram]:
    """Count each feature's values, as far as they are finite.

    Parameters
    ----------
    names : sequence of str, length F
    train, val : array_like, shape (rows, F)
    """
    a, b = np.asarray(train, dtype=np.float64), np.asarray(val, dtype=np.float64)
    return [_histogram(str(name), style.finite(a[:, i]), style.finite(b[:, i])) for i, name in enumerate(names)]


def histograms_record(histograms: Sequence[FeatureHistogram]) -> list[dict[str, Any]]:
    """Turn histograms into plain JSON types, rounded to five digits; NaN becomes None."""
    return [
        {
            "name": each.name,
            "edges": style.rounded(each.edges),
            "train": style.rounded(each.train),
            "val": style.rounded(each.val),
            "ks": style.rounded([each.ks])[0],
        }
        for each in histograms
    ]


def histograms_from(record: Sequence[Mapping[str, Any]]) -> list[FeatureHistogram]:
    """Read what `histograms_record` gave."""
    return [
        FeatureHistogram(
            name=str(each["name"]),
            edges=_read(each["edges"]),
            train=_read(each["train"]),
            val=_read(each["val"]),
            ks=_read([each["ks"]])[0],
        )
        for each in record
    ]


def _read(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else float(value) for value in values)


def histogram_figure(histograms: Sequence[FeatureHistogram]) -> go.Figure:
    """Draw a panel a feature, with the distance of train and validation in its title; the first 50 features.

    Values are in standard deviations of train.
    """
    count = min(len(histograms), MAX_PANELS)
    if not count:
        return style.nothing_to_draw(TITLE, "there are no features")
    subtitle = "middle 99 % of values · KS: distance of train and validation, 0 to 1"
    if count < len(histograms):
        subtitle += f" · first {count} of {len(histograms):,} features"
    fig = style.new_figure(TITLE, subtitle, narrow=_grid(count, min(2, count)))
    for i in range(count):
        _panel(fig, i, histograms[i])
    style.set_layout(fig, _grid(count, min(5, count)))
    below: dict[str, Any] = {"text": "scaled value (standard deviations of train)", "x": 0.5, "y": 0, "yshift": -46}
    beside: dict[str, Any] = {"text": "density", "x": 0, "y": 0.5, "xshift": -34, "textangle": -90}
    for title in (below, beside):
        fig.add_annotation(xref="paper", yref="paper", showarrow=False, font={"size": 13}, **title)
    fig.update_layout(margin={"l": 48, "r": 16, "b": _BELOW_PX})
    return fig


def _histogram(name: str, train: NDArray[np.float64], val: NDArray[np.float64]) -> FeatureHistogram:
    train, val = np.sort(train), np.sort(val)
    pooled, ks = np.concatenate([train, val]), _ks(train, val)
    if not pooled.size:
        return FeatureHistogram(name, (), (), (), ks)
    if pooled.min() == pooled.max():
        return FeatureHistogram(name, (float(pooled[0]),), (), (), ks)
    edges = np.linspace(*_middle(pooled), BINS + 1)
    densities = [np.histogram(part, edges)[0] / (max(part.size, 1) * np.diff(edges)) for part in (train, val)]
    first, second = (tuple(density.tolist()) for density in densities)
    return FeatureHistogram(name, tuple(edges.tolist()), first, second, ks)


def _panel(fig: go.Figure, i: int, histogram: FeatureHistogram) -> None:
    """Add panel `i`: two outlined histograms, a title, and the axes that belong to them."""
    x, y = f"x{style.suffix(i)}", f"y{style.suffix(i)}"
    edges, note = np.asarray(histogram.edges), ""
    if not edges.size:
        note = "no finite values"
    elif edges.size == 1:
        note = f"constant, {edges[0]:.3g}"
    else:
        for part, height, color in (
            ("train", histogram.train, style.TRAIN),
            ("validation", histogram.val, style.VALIDATION),
        ):
            fig.add_scatter(
                x=style.rounded(np.repeat(edges, 2), 4),
                y=[0, *style.rounded(np.repeat(height, 2), 4), 0],
                name=part,
                legendgroup=part,
                showlegend=not any(trace.name == part for trace in fig.data),
                mode="lines",
                line={"color": color, "width": 1 if part == "train" else 1.6},
                fill="tozeroy" if part == "train" else "none",
                xaxis=x,
                yaxis=y,
                hovertemplate="%{x:.3g}: %{y:.3g}",
            )
    fig.update_layout(
        {
            f"xaxis{style.suffix(i)}": {"anchor": y, "nticks": 5, "showgrid": False, "tickfont": {"size": 10}},
            f"yaxis{style.suffix(i)}": {
                "anchor": x,
                "showticklabels": False,
                "ticks": "",
                "showgrid": False,
                "rangemode": "tozero",
            },
        }
    )
    place = {"xref": f"{x} domain", "yref": f"{y} domain", "showarrow": False}
    distance = f"  KS {histogram.ks:.2f}" if np.isfinite(histogram.ks) and not note else ""
    text, brief = (f"<b>{style.short(histogram.name, width)}</b>{distance}" for width in (20, 14))
    fig.layout.meta["narrow"][f"annotations.{len(fig.layout.annotations)}.text"] = brief
    fig.add_annotation(text=text, x=0, y=1, xanchor="left", yanchor="bottom", font={"size": 12}, **place)
    if note:
        fig.add_trace(go.Scatter(x=[None], y=[None], xaxis=x, yaxis=y, showlegend=False, hoverinfo="skip"))
        fig.add_annotation(text=note, x=0.5, y=0.5, opacity=0.8, **place)
        fig.update_layout({f"{axis}axis{style.suffix(i)}": {"visible": False} for axis in "xy"})


def _grid(count: int, columns: int) -> dict[str, Any]:
    cell = 250 if count <= 2 * columns else 185
    sizes = {"plot": cell - _TITLE_PX - _TICKS_PX, "title": _TITLE_PX, "below": _TICKS_PX}
    return style.panel_grid(count, columns, **sizes, around=style.TOP_PX + _BELOW_PX, gap=0.12 / columns)


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """Range of the middle 99 %, or the whole range where those are all the same number."""
    low, high = np.quantile(values, [0.005, 0.995])
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def _ks(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sample Kolmogorov-Smirnov distance of sorted values; ``nan`` if either sample is empty."""
    if not (first.size and second.size):
        return float("nan")
    many, few = sorted((first, second), key=len, reverse=True)
    # Where the few step up, they are farthest above the many at the step, and farthest below just before it.
    at, before = (
        [np.searchsorted(part, few, side=side) / part.size for part in (many, few)] for side in ("right", "left")
    )
    return float(max(np.max(at[1] - at[0]), np.max(before[0] - before[1])))
