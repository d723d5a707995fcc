"""Measure what a batch costs a search: the value that a study finds by how many trials it asks for at once.

A batch is asked for before any of its trials has a value, so a wide one searches blindly, and trains fast. Each
plan searches the same space with as many trials, the study's own sampler, and the default data, network and
objective (the last validation loss), over several seeds, each of which seeds both sampler and networks. The searches
are the engine's alone, asked, trained and told in memory: MLflow and Hydra change no value. Searches share stacks,
which leaves each the order in which it asks and is told, and to rounding its losses. Seconds are measured apart, in
stacks of each plan's own, one trial after another with `train_model`. ``make bench-width`` prints the differences
from the first plan, and writes ``reports/bench-width-SPACE.json`` and ``.html``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy import stats

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.finalize import vary
from tradingbot_exp.experiment.fitting import Fitting, fit_all
from tradingbot_exp.experiment.job import build
from tradingbot_exp.hpo.samplers import make_sampler
from tradingbot_exp.hpo.space.space import SearchSpace

PLANS = ("1", "4", "8", "16", "24", "32", "48", "96")
"""Widths of batches; ``8-16`` asks for 8 trials first, and from then on for 16 at a time."""
WIDEST_STACK = 128
"""Models that are trained at once, whichever searches they are of."""
_RATE = {"low": 1e-4, "high": 1e-2, "log": True}
SPACES: dict[str, dict[str, Any]] = {
    "ranges": {"learning_rate": _RATE, "weight_decay": {"low": 1e-7, "high": 1e-2, "log": True}},
    "default": {"learning_rate": _RATE, "batch_size": [16, 32, 64]},
}

Point = tuple[Any, Mapping[str, Any]]
"""A configuration, and the values of a trial in it."""
Search = Generator[list[Point], list[float], list[float]]


class Unrecorded:
    """A run that records nothing."""

    def __init__(self) -> None:
        self.delivery = self

    def training_started(self) -> None:
        """Take note of nothing."""

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Drop them."""


def train(points: Sequence[Point]) -> list[float]:
    """Train points as one batch of a study; give their last validation losses, NaN for one that diverged."""
    nowhere: Any = Unrecorded()
    ended = fit_all([Fitting(build(vary(config, values), nowhere)) for config, values in points])
    return [math.nan if isinstance(each, Exception) else float(each[0]["val_loss"][-1]) for each in ended]


def sizes(plan: str) -> Iterator[int]:
    """Give the sizes of a plan's batches, the last for ever."""
    first = [int(size) for size in plan.split("-")]
    return chain(first, repeat(first[-1]))


def search(config: Any, space: SearchSpace, plan: str) -> Search:
    """Search as a study does: yield a batch, take its values; return all values in order."""
    study = optuna.create_study(sampler=make_sampler(config.hpo.sampler, config.seed, space.distributions))
    told: list[float] = []
    for size in sizes(plan):
        trials, points = [], []
        for _ in range(min(size, config.hpo.num_trials - len(told))):
            trials.append(study.ask())
            points.append((config, space.decode(space.suggest(trials[-1]))))
        if not trials:
            break
        values = yield points
        for trial, value in zip(trials, values, strict=True):
            told.append(value)
            study.tell(trial, *([value] if math.isfinite(value) else [None, optuna.trial.TrialState.FAIL]))
    return told


def run(searches: Sequence[Search], train: Callable[[Sequence[Point]], list[float]] = train) -> list[list[float]]:
    """Bring searches to their ends in step, and give what each returned: a round trains what all of them ask for."""
    ended: dict[int, list[float]] = {}
    asked = {number: next(steps) for number, steps in enumerate(searches)}
    rounds = 0
    while asked:
        batch = [(number, place) for number, points in asked.items() for place in range(len(points))]
        # Of one batch size together, so that stacks are full.
        batch.sort(key=lambda each: asked[each[0]][each[1]][1].get("training.batch_size", 0))
        values = {number: [math.nan] * len(points) for number, points in asked.items()}
        for at in range(0, len(batch), WIDEST_STACK):
            part = batch[at : at + WIDEST_STACK]
            for (number, place), value in zip(part, train([asked[n][p] for n, p in part]), strict=True):
                values[number][place] = value
        for number in list(asked):
            try:
                asked[number] = searches[number].send(values[number])
            except StopIteration as end:
                ended[number] = end.value
                del asked[number]
        rounds += 1
        if rounds % 8 == 0:
            sys.stderr.write(f"round {rounds}: {len(asked)} of {len(searches)} searches go on\n")
    return [ended[number] for number in range(len(searches))]


def seconds(config: Any, space: SearchSpace, plan: str) -> float:
    """Time the training of a plan's trials, drawn at random, in stacks of its own."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=config.seed))
    points = [(config, space.decode(space.suggest(study.ask()))) for _ in range(config.hpo.num_trials)]
    train(points[:1])
    batches, started = sizes(plan), time.perf_counter()
    while points:
        size = next(batches)
        train(points[:size])
        del points[:size]
    return time.perf_counter() - started


def compare(found: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """Compare the best values of plans, seed by seed, with those of the first plan.

    Parameters
    ----------
    found : mapping of str to sequence of S sequences of float
        Of each plan, the values of each seed's trials.

    Returns
    -------
    list of dict
        A plan each: the median of its best values; in percent, its mean excess over the best value that any plan
        found with the same seed, and its mean difference from the first plan with the 95 % interval of Student's t;
        the p-values of the paired t test and of Wilcoxon's signed-rank test, two-sided, NaN for the first plan.
    """
    best = {plan: np.asarray([np.nanmin(values) for values in seeds]) for plan, seeds in found.items()}
    known, base = np.min(list(best.values()), axis=0), best[next(iter(found))]
    rows = []
    for plan, values in best.items():
        change = 100 * (values / base - 1)
        row = {"plan": plan, "median": float(np.median(values)), "excess": float(np.mean(100 * (values / known - 1)))}
        row |= {"change": float(np.mean(change)), "worse": int(np.sum(change > 0)), "seeds": len(values)}
        if np.any(change):
            test = stats.ttest_1samp(change, 0.0)
            interval = test.confidence_interval(0.95)
            row |= {"low": float(interval.low), "high": float(interval.high), "t": float(test.pvalue)}
            row |= {"wilcoxon": float(stats.wilcoxon(change).pvalue)}
        else:
            row |= {"low": 0.0, "high": 0.0, "t": math.nan, "wilcoxon": math.nan}
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write what was found as text, a plan a line."""
    against = f"against {rows[0]['plan']} at once"
    lines = [f"  {'at once':>9}  median best   excess  {against:<24}     worse      t  Wilcoxon  training"]
    for row in rows:
        change = f"{row['change']:+6.2f} % [{row['low']:+.2f}, {row['high']:+.2f}]"
        worse = f"{row['worse']:>2} of {row['seeds']:<2}"
        lines.append(
            f"  {row['plan']:>9}  {row['median']:.4e}  {row['excess']:5.2f} %  {change:<24}  {worse}"
            f"  {row['t']:.3f}     {row['wilcoxon']:.3f}  {row['seconds']:6.1f} s"
        )
    return "\n".join(lines)


def write_page(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw the differences with their intervals, and the seconds below them."""
    from plotly.subplots import make_subplots

    from tradingbot_exp.plots.html import write_figure
    from tradingbot_exp.plots.style import new_figure

    plans = [str(row["plan"]) for row in rows]
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    fig.layout.update(new_figure("What a batch costs a search, and what it saves", title).layout)
    fig.add_scatter(
        x=plans,
        y=[row["change"] for row in rows],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["change"] for row in rows],
            "arrayminus": [row["change"] - row["low"] for row in rows],
        },
        mode="markers",
        name="difference, with its 95 % interval",
        row=1,
        col=1,
    )
    fig.add_bar(x=plans, y=[row["seconds"] for row in rows], name="training", row=2, col=1)
    fig.update_xaxes(type="category")
    fig.update_xaxes(title_text="trials asked for at once", row=2, col=1)
    fig.update_yaxes(title_text=f"best value, % from {plans[0]} at once", row=1, col=1)
    fig.update_yaxes(title_text="training, s (log scale)", type="log", row=2, col=1)
    write_figure(fig, path, "Batch width")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", choices=SPACES, nargs="+", default=list(SPACES))
    parser.add_argument("--plans", nargs="+", default=list(PLANS), help="widths, or 8-16: first 8, then 16 at a time")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = compose_config([f"hpo.num_trials={options.trials}", f"training.epochs={options.epochs}"])
    config = replace(config, training=replace(config.training, progress="off"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {version('torch')}, optuna {version('optuna')}"
    for name in options.space:
        space = SearchSpace.parse(SPACES[name])
        searches = [
            search(replace(config, seed=seed), space, plan) for plan in options.plans for seed in range(options.seeds)
        ]
        values = iter(run(searches))
        found = {plan: [next(values) for _ in range(options.seeds)] for plan in options.plans}
        rows = [row | {"seconds": seconds(config, space, row["plan"])} for row in compare(found)]
        title = f"space {name}: {options.trials} trials of {options.epochs} epochs, {options.seeds} seeds; {machine}"
        print(f"\n{title}\n{table(rows)}")
        path = Path("reports") / f"bench-width-{name}"
        write_page(rows, title, path.with_suffix(".html"))
        described = {"title": title, "date": time.strftime("%Y-%m-%d"), "rows": rows, "values": found}
        path.with_suffix(".json").write_text(json.dumps(described, indent=2) + "\n")
        print(f"written: {path}.json, {path}.html", flush=True)


if __name__ == "__main__":
    main()
