"""What all figures share: colours, fonts, grid, lines and dots, panels, and the figure that has nothing to show."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

# Okabe & Ito's palette (2008), which colour-blind readers can tell apart; grey is what the market gave. Vermilion and
# green are darker than theirs, so that text can wear them too: a contrast of 4.5 to white.
ACTUAL, FORECAST = "#8a94a0", "#0072b2"
TRAIN, VALIDATION = "#8a94a0", "#c35500"
GOOD, MARK = "#0072b2", "#00805c"
WHISKER = "#5f6b78"
GRID = "rgba(128,140,155,0.22)"
RULE = "rgba(128,140,155,0.75)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

TOP_PX = 104
"""Height kept for title, subtitle and legend."""
_NARROW_COLUMNS, _NARROW_TITLE, _LINE_PX = 50, 36, 17
MAX_BARS = 3_000
"""Points drawn of one series; a longer one is thinned evenly, and the subtitle says so."""

_AXIS = {
    "gridcolor": GRID,
    "zerolinecolor": RULE,
    "zerolinewidth": 1,
    "linecolor": RULE,
    "ticks": "outside",
    "tickcolor": RULE,
    "ticklen": 4,
    "automargin": True,
    "exponentformat": "power",
    "title": {"font": {"size": 13}, "standoff": 10},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": "#27313b"},
        "title": {
            "font": {"size": 17, "weight": 600},
            "subtitle": {"font": {"size": 12.5, "color": "#6b7785"}},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 16, "l": 20},
        },
        "colorway": [FORECAST, VALIDATION, MARK, "#cc79a7", "#b07700", "#56b4e9", ACTUAL],
        # Opaque, for images saved from the page; a dark page repaints it.
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 24, "t": TOP_PX, "b": 56},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"},
        "hoverlabel": {"font": {"family": FONT, "size": 12}},
        "hovermode": "closest",
        "bargap": 0.05,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def new_figure(title: str, subtitle: str = "", *, narrow: Mapping[str, Any] | None = None) -> go.Figure:
    """Make an empty figure in the house style.

    Parameters
    ----------
    title, subtitle : str
        Plain text: what looks like markup is shown as it is. Long ones are broken on a narrow screen.
    narrow : mapping, optional
        Layout values by dotted path (``"xaxis.domain"``) which the page sets on screens below 640 px. They
        travel in ``layout.meta``.
    """
    lines = [plain(line) for line in textwrap.wrap(subtitle, _NARROW_COLUMNS)]
    heading = [plain(line) for line in textwrap.wrap(title, _NARROW_TITLE)]
    more = max(len(lines), 1) + max(len(heading), 1) - 2
    broken = {
        "title.text": "<br>".join(heading),
        "title.subtitle.text": "<br>".join(lines),
        "margin.t": TOP_PX + _LINE_PX * more,
        "title.font.size": 15,
    }
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": plain(title), "subtitle": {"text": plain(subtitle)}},
        meta={"narrow": broken | dict(narrow or {})},
    )
    return figure


def nothing_to_draw(title: str, why: str) -> go.Figure:
    """Make the figure that says, in its middle, why there is nothing else in it."""
    figure = new_figure(title)
    figure.update_layout(
        xaxis={"visible": False},
        yaxis={"visible": False},
        annotations=[
            {
                "text": f"Nothing to draw:<br>{plain(why)}",
                "showarrow": False,
                "x": 0.5,
                "y": 0.5,
                "xref": "paper",
                "yref": "paper",
                "font": {"size": 15},
                "opacity": 0.8,
            }
        ],
    )
    return figure


def add_line(fig: go.Figure, x: Any, y: Any, name: str, look: Mapping[str, Any], hover: str, **more: Any) -> None:  # noqa: PLR0917 - where, what, how
    """Add a line, which looks as Plotly's `line` says."""
    fig.add_scatter(x=x, y=y, name=name, mode="lines", line=dict(look), hovertemplate=hover, **more)


def add_dots(fig: go.Figure, x: Any, y: Any, name: str, look: Mapping[str, Any], hover: str, **more: Any) -> None:  # noqa: PLR0917 - where, what, how
    """Add points, which look as Plotly's `marker` says."""
    fig.add_scatter(x=x, y=y, name=name, marker=dict(look), hovertemplate=hover, **{"mode": "markers", **more})


def add_luck(fig: go.Figure, reach: float, axis: str = "y") -> None:
    """Add the band around 0 that luck alone fills."""
    look = {"fillcolor": "rgba(128,140,155,0.12)", "line": {"width": 0}, "layer": "below"}
    fig.add_shape(type="rect", xref="paper", x0=0, x1=1, yref=axis, y0=-reach, y1=reach, **look)


def suffix(panel: int) -> str:
    """Return what Plotly adds to the name of an axis of that panel, counted from 0."""
    return "" if panel == 0 else str(panel + 1)


def panel_grid(
    panels: int, columns: int, *, plot: float, title: float, below: float, around: float, gap: float
) -> dict[str, Any]:
    """Place panels in columns: the axes' domains and the figure's height, by dotted path.

    Parameters
    ----------
    panels, columns : int
    plot, title, below : float
        Heights in pixels of a panel's plot, and of what stands above and below it.
    around : float
        Pixels above the first and below the last row.
    gap : float
        Between columns, as a share of the width.
    """
    rows = -(-panels // columns)
    cell = title + plot + below
    inner = rows * cell - below
    layout: dict[str, Any] = {"height": inner + around}
    width = (1 - gap * (columns - 1)) / columns
    for panel in range(panels):
        row, column = divmod(panel, columns)
        left, top = column * (width + gap), 1 - (row * cell + title) / inner
        layout[f"xaxis{suffix(panel)}.domain"] = [round(left, 4), round(min(left + width, 1), 4)]
        layout[f"yaxis{suffix(panel)}.domain"] = [round(max(top - plot / inner, 0), 4), round(top, 4)]
    return layout


def set_layout(fig: go.Figure, layout: Mapping[str, Any]) -> None:
    """Set layout values by dotted path."""
    fig.update_layout({path.replace(".", "_"): value for path, value in layout.items()})


def thinned(points: int, most: int, *keep: int) -> NDArray[np.intp]:
    """Choose every n-th of so many points, at most about `most`, with the last one and those that must be seen."""
    return np.unique([*range(0, points, -(-points // most)), *keep, points - 1]).astype(np.intp)


def evenly(first: int, last: int, most: int) -> list[int]:
    """Choose at most so many of the whole numbers from `first` to `last`, both ends among them."""
    return np.unique(np.linspace(first, last, min(most, last - first + 1)).astype(int)).tolist()  # type: ignore[no-any-return]


def plain(text: object) -> str:
    """Escape a text so that Plotly, which reads a little HTML, shows it as it is."""
    return html.escape(str(text), quote=False)


def short(text: object, width: int = 26) -> str:
    """Cut a long name in the middle, where names differ least, and escape it."""
    name = str(text)
    if len(name) > width:
        name = f"{name[: width - 9]}…{name[-8:]}"
    return plain(name)


def rounded(values: ArrayLike | Iterable[float], digits: int = 5) -> list[float | None]:
    """Round to significant digits, to keep files small; what is not finite becomes None, a gap."""
    numbers = np.asarray(values, dtype=np.float64).tolist()
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in numbers]


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Keep the finite values of an array, as a float64 vector."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[np.isfinite(array)]


def left_out(count: int, what: str) -> str:
    """Say how many values are missing from a figure; an empty string for none."""
    return f" · {count:,} {what} left out: not finite" if count else ""


def iso_times(dates: Any) -> list[Any]:
    """Write times as short ISO strings, and leave row numbers as they are."""
    array = np.asarray(dates)
    if array.dtype.kind == "M":
        days = array.astype("datetime64[D]")
        whole = bool(np.all((array == days) | np.isnat(array)))
        return [str(time) for time in (days if whole else array.astype("datetime64[s]"))]
    return [item if isinstance(item, int | float) else str(item) for item in array.tolist()]
