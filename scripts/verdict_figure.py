"""Draw docs/who_is_fooled.svg from the tables of docs/verdict.md: which rules call luck skill, and which see skill."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent.parent / "docs"
NULLS = (
    "noise, normal returns",
    "noise, 500 trials",
    "noise, market of Sharpe 3",
    "mostly long, Sharpe 3 since validation",
    "persistent, Sharpe 3 since validation",
    "against the last 250 bars",
    "with the last 250 bars, Sharpe 3 since",
    "constant, Sharpe 3 since validation",
    "networks, IBM permuted, searched by loss",
)
SKILLS = (
    "IC 0.05, 3,000 bars",
    "IC 0.1, 1,000 bars",
    "IC 0.15, 500 bars",
    "IC 0.15, 1,000 bars",
    "IC 0.2, 500 bars, bull market of Sharpe 1.5",
    "IC 0.1, 3,000 bars",
    "networks, 0.3 planted over 3,270 bars, searched by loss",
)
# Colours that stay apart for colour-blind eyes (Okabe & Ito 2008), and a mark of its own for each rule.
RULES = {
    "t": ("best Sharpe ratio, t-test", "#999999", "x"),
    "PBO": ("PBO below one half", "#CC79A7", "s"),
    "DSR": ("deflated Sharpe ratio", "#E69F00", "^"),
    "old, loss": ("this package, first version", "#56B4E9", "v"),
    "ours, returns": ("this verdict, returns", "#009E73", "D"),
    "ours, forecasts": ("this verdict, forecasts", "#0072B2", "o"),
}


def table(page: Path) -> dict[str, dict[str, float]]:
    """Read per cent by row and rule; a row's remark in brackets is no part of its name."""
    rows: dict[str, dict[str, float]] = {}
    names: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if set(RULES) <= set(cells):
            names = cells[1:]
        elif names and len(cells) == len(names) + 1 and cells[1].replace(".", "", 1).isdigit():
            rows[cells[0].partition(" (")[0]] = dict(zip(names, map(_number, cells[1:]), strict=True))
    return rows


def _number(cell: str) -> float:
    return math.nan if cell == "–" else float(cell)


def draw(rows: dict[str, dict[str, float]]) -> Figure:
    """Draw the two panels."""
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "verdict", "font.family": "sans-serif", "font.size": 10}
    figure = Figure(figsize=(9.5, 7.2), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[len(NULLS), len(SKILLS)], sharex=True)
    _panel(
        above, {name: rows[name] for name in NULLS}, "There is nothing to find: studies whose winner is called skilled"
    )
    _panel(below, {name: rows[name] for name in SKILLS}, "There is skill: studies in which it is found")
    above.axvline(5, color="#444444", linewidth=0.8, linestyle="--")
    below.set_xlabel("per cent of the studies")
    handles, labels = above.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel(axes: Axes, rows: dict[str, dict[str, float]], title: str) -> None:
    places = range(len(rows) - 1, -1, -1)
    for rule, (label, colour, mark) in RULES.items():
        ours = rule.startswith("ours")
        axes.scatter(
            [row[rule] for row in rows.values()],
            list(places),
            s=64 if ours else 42,
            c=colour,
            marker=mark,
            label=label,
            zorder=3 if ours else 2,
            clip_on=False,
        )
    axes.set_yticks(list(places), list(rows))
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(axis="both", color="#dddddd", linewidth=0.6, zorder=0)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "who_is_fooled.svg")
    given = parser.parse_args()
    draw(table(DOCS / "verdict.md")).savefig(given.output, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
