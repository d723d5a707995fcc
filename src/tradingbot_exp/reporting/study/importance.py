"""Which parameters decide whether a trial is among the best, and how much of that luck alone would give."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tradingbot_exp.plots.numbers import count, percent
from tradingbot_exp.plots.style import ACTUAL, FORECAST, TOP_PX, WHISKER, add_dots, new_figure, rounded, short
from tradingbot_exp.reporting.page.page import Block, Figure, Notice, Paragraph
from tradingbot_exp.reporting.study.axes import Axis
from tradingbot_exp.reporting.study.layout import BELOW_PX, MOST_OBJECTIVES
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.runtime.text import listed

LEAST = 10
"""Different complete trials that it takes."""
SHUFFLES = 19
"""The largest of as many shuffles is exceeded by luck in 1 of 20 cases."""
_TOP, _TOP_TRIALS = 0.1, 10  # the best tenth; of few trials the best ten, and at most half


def importance_blocks(study: Study) -> list[Block]:
    """Draw the importances and say what they mean, for each objective."""
    if not study.axes:
        return []
    found = [importance_of(study, place) for place in range(len(study.objectives[:MOST_OBJECTIVES]))]
    if found[0].problem and all(each.problem == found[0].problem for each in found):
        return [Notice(importance_words(found[0]), "muted")]
    blocks: list[Block] = []
    for objective, each in zip(study.objectives, found, strict=False):
        words = importance_words(each)
        if study.several:
            words = f"{objective.metric}: {words}"
        if each.problem:
            blocks.append(Notice(words, "muted"))
            continue
        shares = [f"{name} {percent(share, 0)}" for name, share in zip(each.names, each.shares, strict=True)]
        figure = importances(each, objective.metric if study.several else "")
        blocks += [Paragraph(words), Figure(figure, f"Importance: {listed(shares[:6])}.")]
    return blocks


@dataclass(frozen=True)
class Importance:
    """The importance of each parameter for one objective."""

    axes: tuple[Axis, ...] = ()  # those beyond luck first, then by importance
    shares: tuple[float, ...] = ()  # PED-ANOVA importances, as shares of their sum
    luck: tuple[float, ...] = ()  # likewise, the largest importance in `SHUFFLES` shuffles of the values
    # How many of how many trials are the best that are told from the others.
    top: int = 0
    trials: int = 0
    left_out: tuple[str, ...] = ()  # parameters with a single value, or with none in some trial
    problem: str = ""  # why there is no importance

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in their order."""
        return tuple(axis.name for axis in self.axes)

    @property
    def beyond_luck(self) -> list[str]:
        """Parameters whose importance is above that of every shuffle."""
        return [name for name, share, luck in zip(self.names, self.shares, self.luck, strict=True) if share > luck]


_found: WeakKeyDictionary[Study, dict[int, Importance]] = WeakKeyDictionary()  # the space asks as well


def importance_of(study: Study, objective: int = 0) -> Importance:
    """Estimate importances by PED-ANOVA: how differently the best trials and all trials are spread over a parameter.

    Parameters
    ----------
    study : Study
    objective : int
        Which one.

    Notes
    -----
    Watanabe, Bansal & Hutter 2023, https://arxiv.org/abs/2304.10255. The shuffles give the trials' values to other
    trials, so that no parameter can matter, and keep where the search looked.
    """
    known = _found.setdefault(study, {})
    if objective not in known:
        known[objective] = _estimated(study, objective)
    return known[objective]


def _estimated(study: Study, objective: int) -> Importance:
    trials = study.distinct
    usable = []
    for axis in study.axes:
        encoded = [axis.encoded(trial.params.get(axis.key)) for trial in trials]
        if None not in encoded and len(set(encoded)) > 1:
            usable.append(axis)
    left_out = tuple(axis.name for axis in study.axes if axis not in usable)
    costs = study.costs(trials, objective)
    problem = _problem(len(study.axes), len(usable), costs)
    if problem:
        return Importance(left_out=left_out, problem=problem)
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.trial import create_trial

    quantile = max(_TOP, min(_TOP_TRIALS / len(trials), 0.5))
    distributions = {axis.key: axis.distribution() for axis in usable}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        made = optuna.create_study()
        made.add_trials(
            [
                create_trial(
                    params={axis.key: axis.encoded(trial.params[axis.key]) for axis in usable},
                    distributions=distributions,
                    value=0.0,
                )
                for trial in trials
            ]
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)

        def evaluate(values: NDArray[np.float64]) -> NDArray[np.float64]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that low targets are the good ones
                found = evaluator.evaluate(made, target=lambda trial: float(values[trial.number]))
            return np.array([found[axis.key] for axis in usable])

        raw = evaluate(costs)
        source = np.random.default_rng(0)
        shuffled = np.max([evaluate(source.permutation(costs)) for _ in range(SHUFFLES)], axis=0)
    finally:
        optuna.logging.set_verbosity(verbosity)
    total = float(raw.sum())
    if not math.isfinite(total) or total <= 0:
        return Importance(left_out=left_out, problem="the best trials are spread exactly as all others are")
    order = np.lexsort((-raw, raw <= shuffled))
    return Importance(
        axes=tuple(usable[i] for i in order),
        shares=tuple(float(raw[i] / total) for i in order),
        luck=tuple(float(shuffled[i] / total) for i in order),
        top=math.ceil(quantile * len(trials)),
        trials=len(trials),
        left_out=left_out,
    )


def importance_words(found: Importance) -> str:
    """Say what the importances mean."""
    if found.problem:
        return f"Which parameters matter cannot be told: {found.problem}."
    sure = found.beyond_luck
    words = (
        f"By PED-ANOVA (Optuna): how differently the best {count(found.top, 'trial')} and all "
        f"{count(found.trials, 'trial')} are spread over a parameter, where the search looked; the shares add up to 1. "
    )
    if not sure:
        words += "No parameter rises above what shuffled values give: which one matters is not known from these trials."
    elif len(sure) == len(found.names):
        words += "Every one is above what shuffled values give."
    else:
        words += f"Above what shuffled values give: {', '.join(sure)}; the others may be luck."
    if sure:
        words += f" A parameter without any effect gets above {SHUFFLES} shuffles in 1 of {SHUFFLES + 1} cases."
    if found.left_out:
        words += f" Left out, as it has one value or not every trial has it: {', '.join(found.left_out)}."
    return words


def _problem(axes: int, usable: int, costs: NDArray[np.float64]) -> str:
    if costs.size < LEAST:
        found = "is 1" if costs.size == 1 else f"are {costs.size or 'none'}"
        return f"it takes {LEAST} different complete trials, and there {found}"
    if axes == 1:
        return "only one parameter was searched, so that all of the difference is its own or luck"
    if not usable:
        return "no parameter has two values among the complete trials"
    if usable == 1:
        return "only one parameter has two values among the complete trials"
    if costs.min() == costs.max():
        return "all trials have the same value"
    return ""


def importances(found: Importance, objective: str = "") -> go.Figure:
    """Draw each parameter's importance as a bar, with what luck alone would give as a mark."""
    names = [short(name, 30) for name in found.names]
    colors = [FORECAST if share > luck else ACTUAL for share, luck in zip(found.shares, found.luck, strict=True)]
    title = f"Importance for {objective}" if objective else "Which parameters matter"
    figure = new_figure(title, f"PED-ANOVA · grey bars are within luck, by {SHUFFLES} shuffles of the values")
    places = list(range(len(names)))
    figure.add_bar(
        x=rounded(100 * np.array(found.shares), 4),
        y=places,
        orientation="h",
        width=0.62,
        marker={"color": colors},
        name="importance",
        customdata=names,
        hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
        showlegend=False,
    )
    look = {"symbol": "line-ns-open", "size": 20, "color": WHISKER, "line": {"width": 2.5}}
    luck, label = rounded(100 * np.array(found.luck), 4), f"largest of {SHUFFLES} shuffles"
    hover = "%{customdata}, shuffled: up to %{x:.1f} %<extra></extra>"
    add_dots(figure, luck, places, label, look, hover, customdata=names)
    end = max(*found.shares, min(max(found.luck), 1.0))
    figure.update_xaxes(title_text="share of all importance (%)", range=[0, 104 * end], ticksuffix=" %")
    shares = [f"  <b>{100 * share:.0f} %</b>" for share in found.shares]
    labels, brief = (
        [short(name, width) + share for name, share in zip(found.names, shares, strict=True)] for width in (30, 14)
    )
    figure.update_yaxes(
        tickvals=places, ticktext=labels, range=[len(names) - 0.4, -0.6], showgrid=False, ticks="", zeroline=False
    )
    figure.layout.meta["narrow"] |= {"yaxis.ticktext": brief, "xaxis.nticks": 4}
    figure.update_layout(height=TOP_PX + BELOW_PX + 34 * max(len(names), 3))
    return figure
