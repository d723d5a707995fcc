"""Who is fooled? Let rules that tell skill from luck judge the same simulated studies.

Each row is a kind of study, from arrays to verdict: in the nulls there is nothing to find, in the others one trial has
skill, or most have. Each column is a rule, and each number the share of studies in which it says that the winner has
skill, in per cent. ``--repetitions 400`` takes hours; a run that is
stopped goes on from the file `--out`. Studies of real networks are in ``bench_pipeline_verdict.py``.

The rules, by forecasts (the winner is the trial with the highest information coefficient) and by returns (highest
Sharpe ratio of the signs of the same forecasts):

- ours: this package's verdict, by forecasts and by returns;
- old: the one of its first version, SPA of the gain in squared error over the train mean, and of returns over buy and
  hold (and, where the market fell, over its slope on the market);
- t: a plain t-test of the best Sharpe ratio at 2.5 %;
- DSR: a deflated Sharpe ratio of at least 0.95, of returns as they are (skfolio's definition);
- PBO: a probability of backtest overfitting below one half (ffn's, ml4t-diagnostic's).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.deflated import deflated_sharpe
from tradingbot_exp.evaluation.significance.evidence import Part, StudyEvidence
from tradingbot_exp.evaluation.significance.overfitting import overfitting
from tradingbot_exp.evaluation.significance.selection_bias import LEVEL
from tradingbot_exp.evaluation.significance.series import Before, sums_before
from tradingbot_exp.evaluation.significance.sharpe import moments
from tradingbot_exp.evaluation.significance.superiority import superiority
from tradingbot_exp.evaluation.significance.winner import winner_test

TRAIN, BARS, TRIALS, YEAR, DEVIATION = 2_264, 484, 50, 252, 0.01
RULES = ("ours, forecasts", "ours, returns", "old, loss", "old, returns", "t", "DSR", "PBO")
Values = np.ndarray


@dataclass(frozen=True)
class Kind:
    """Studies of one kind.

    Attributes
    ----------
    name : str
    market : callable
        From a generator and two numbers of bars, of train and of validation, to one-bar log returns.
    forecasts : callable
        From a generator, the returns that follow each bar, and a number of trials, to forecasts, shape (bars, trials).
    skill : bool
        Whether one trial has any.
    trials, bars, horizon : int
    cost : float
        Basis points.
    blocks : int
        Purged blocks that together are all bars, in place of bars after train rows; 0 for these.
    """

    name: str
    market: Callable[[np.random.Generator, int, int], Values]
    forecasts: Callable[[np.random.Generator, Values, int], Values]
    skill: bool = False
    trials: int = TRIALS
    bars: int = BARS
    horizon: int = 1
    cost: float = 0.0
    blocks: int = 0


def normal(rng: np.random.Generator, bars: int) -> Values:
    """Draw returns of one standard deviation."""
    return rng.standard_normal(bars)


def student(rng: np.random.Generator, bars: int) -> Values:
    """Draw returns with the tails of Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, bars) / np.sqrt(3.0)


def garch(rng: np.random.Generator, bars: int) -> Values:
    """Draw returns whose variance clusters: GARCH(1, 1), 0.03 + 0.07·r² + 0.90·v."""
    noise, found, variance = rng.standard_normal(bars), np.empty(bars), 1.0
    for bar in range(bars):
        found[bar] = np.sqrt(variance) * noise[bar]
        variance = 0.03 + 0.07 * found[bar] ** 2 + 0.90 * variance
    return found


def remembering(rng: np.random.Generator, bars: int, share: float = 1.0, memory: float = 0.9) -> Values:
    """Draw an outcome that remembers, such as volume: a share of its variance is an autoregression."""
    slow = autoregression(rng, bars, 1, memory)[:, 0]
    return np.asarray(np.sqrt(share) * slow + np.sqrt(1 - share) * rng.standard_normal(bars))


def autoregression(rng: np.random.Generator, bars: int, columns: int, memory: float) -> Values:
    """Draw autoregressions of one standard deviation."""
    steps = np.sqrt(1 - memory**2) * rng.standard_normal((bars, columns))
    steps[0] /= np.sqrt(1 - memory**2)
    for bar in range(1, bars):
        steps[bar] += memory * steps[bar - 1]
    return steps


def market(
    rng: np.random.Generator,
    train: int,
    bars: int,
    *,
    draw: Callable[[np.random.Generator, int], Values] = normal,
    sharpe: float = 0.0,
    before: float = 0.0,
) -> Values:
    """Draw a market with a Sharpe ratio a year over the validation bars, and another over the train rows before."""
    drift = np.repeat([before, sharpe], [train, bars]) / np.sqrt(YEAR)
    return DEVIATION * (draw(rng, train + bars) + drift)


def rare(rng: np.random.Generator, bars: int) -> Values:
    """Draw returns that are nothing but a rare event, on one bar of twenty."""
    return np.asarray(rng.random(bars) < 0.05, np.float64)


def noise(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast at random."""
    return rng.standard_normal((returns.size, trials))


def persistent(rng: np.random.Generator, returns: Values, trials: int, memory: float = 0.98) -> Values:
    """Forecast at random, with a long memory: an autoregression."""
    return autoregression(rng, returns.size, trials, memory)


def some_persistent(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast at random, two trials of five with a long memory."""
    found = noise(rng, returns, trials)
    found[:, : 2 * trials // 5] = autoregression(rng, returns.size, 2 * trials // 5, 0.95)
    return found


def leaning(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast at random, up on most bars."""
    return noise(rng, returns, trials) + 1.0


def constant(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast the same on every bar, each trial another value near the mean of the train rows."""
    return np.repeat(rng.normal(returns[:TRAIN].mean(), 0.3 * DEVIATION, trials)[None], returns.size, axis=0)


def unlikely(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast much less than else on one bar of twenty, at random."""
    return noise(rng, returns, trials) / 40 - (rng.random((returns.size, trials)) < 0.05)


def level(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast against the level of prices, with some noise."""
    prices = np.concatenate([[0.0], np.cumsum(returns)])[: returns.size, None]
    return -prices + DEVIATION * 0.1 * np.sqrt(returns.size) * noise(rng, returns, trials)


def follow(rng: np.random.Generator, returns: Values, trials: int, span: int, sign: int = 1) -> Values:
    """Forecast by the sum of about `span` past returns, or against it: each trial by another span, with some noise."""
    total = np.concatenate([[0.0], np.cumsum(returns)])[: returns.size]
    found = DEVIATION * 0.2 * rng.standard_normal((returns.size, trials))
    for trial, own in enumerate(np.maximum(span * np.exp(rng.normal(0, 0.25, trials)), 2).astype(int)):
        past = np.concatenate([np.zeros(own), total])[: returns.size]
        found[:, trial] += sign * (total - past) / np.sqrt(own)
    return found


def skilled(
    rng: np.random.Generator, returns: Values, trials: int, *, ic: float, alike: float = 0.0, most: bool = False
) -> Values:
    """Forecast at random, but for one trial whose forecasts have a correlation with what follows.

    `alike` is the correlation of the random forecasts of two trials. With `most`, all trials have skill, from none to
    that correlation.
    """
    found = np.sqrt(1 - alike) * noise(rng, returns, trials) + np.sqrt(alike) * noise(rng, returns, 1)
    unit = (returns - returns.mean()) / returns.std()
    skill = np.linspace(0, ic, trials) if most else np.where(np.arange(trials) == trials // 7, ic, 0.0)
    return np.asarray(skill * unit[:, None] + np.sqrt(1 - skill**2) * found)


SLOW = partial(remembering, share=0.05, memory=0.98)
SPANS = (20, 60, 120, 250)
NULLS = (
    Kind("noise, normal returns", market, noise),
    Kind("noise, Student's t3", partial(market, draw=student), noise),
    Kind("noise, GARCH", partial(market, draw=garch), noise),
    Kind("noise, 5 trials", partial(market, draw=student), noise, trials=5),
    Kind("noise, 500 trials", partial(market, draw=student), noise, trials=500),
    Kind("noise, costs of 10 bp", market, noise, cost=10.0),
    Kind("noise, market of Sharpe 3", partial(market, sharpe=3.0, before=3.0), noise),
    Kind("noise, market of Sharpe -3", partial(market, sharpe=-3.0, before=-3.0), noise),
    Kind("mostly long, Sharpe 3 since validation", partial(market, sharpe=3.0), leaning),
    Kind("mostly long, Sharpe -3 since validation", partial(market, sharpe=-3.0), leaning),
    Kind("horizon 5", market, noise, horizon=5),
    Kind("horizon 5, persistent", market, persistent, horizon=5),
    Kind("persistent", market, persistent),
    Kind("persistent, GARCH", partial(market, draw=garch), persistent),
    Kind("outcome that remembers, some trials persistent", partial(market, draw=remembering), some_persistent),
    Kind("outcome with a slow part, persistent", partial(market, draw=SLOW), persistent),
    Kind("persistent, Sharpe 3 since validation", partial(market, sharpe=3.0), persistent),
    Kind("persistent, Sharpe -3 since validation", partial(market, sharpe=-3.0), persistent),
    *(Kind(f"against the last {span} bars", market, partial(follow, span=span, sign=-1)) for span in SPANS),
    *(Kind(f"with the last {span} bars", market, partial(follow, span=span)) for span in SPANS),
    *(
        Kind(f"with the last {span} bars, Sharpe 3 since", partial(market, sharpe=3.0), partial(follow, span=span))
        for span in SPANS
    ),
    Kind("against the level of prices, 5 purged blocks", market, level, bars=1_000, blocks=5),
    Kind("against the level of prices, 10 purged blocks", market, level, bars=2_748, blocks=10),
    Kind("a rare outcome, forecast not to come", partial(market, draw=rare), unlikely),
    *(
        Kind(f"constant, Sharpe {sharpe:g} since validation", partial(market, sharpe=sharpe), constant)
        for sharpe in (-3.0, -1.5, 0.0, 1.5, 3.0)
    ),
)
RISING = partial(market, sharpe=1.5, before=1.5)
ALIKE = 0.55  # the mean correlation of two trials' forecasts in searches of bench_pipeline_verdict.py
SKILLS = (
    *(
        Kind(f"IC {ic:g}, {bars:,} bars", market, partial(skilled, ic=ic), skill=True, bars=bars)
        for ic in (0.05, 0.10, 0.15, 0.20, 0.30)
        for bars in (500, 1_000, 3_000)
    ),
    Kind("IC 0.2, 500 bars, bull market of Sharpe 1.5", RISING, partial(skilled, ic=0.2), skill=True, bars=500),
    *(
        Kind(
            f"{name.format(ic)}, {bars:,} bars",
            market,
            partial(skilled, ic=ic, alike=ALIKE, most=most),
            skill=True,
            bars=bars,
        )
        for name, most in (("IC {:g}, trials alike", False), ("IC 0 to {:g}, trials alike", True))
        for ic, bars in ((0.15, 500), (0.15, 1_000), (0.10, 3_000))
    ),
)
KINDS = {kind.name: kind for kind in (*NULLS, *SKILLS)}


def simulate(kind: Kind, number: int, seed: int = 0) -> StudyEvidence:
    """Make a study of a kind, by its number. Forecasts that move are a tenth as wide as the outcome."""
    rng = np.random.default_rng([seed, number])
    start = 0 if kind.blocks else TRAIN
    log_returns = kind.market(rng, start, kind.bars + kind.horizon - 1)
    forecasts = kind.forecasts(rng, log_returns, kind.trials).astype(np.float32).astype(np.float64)
    target = np.convolve(log_returns, np.ones(kind.horizon), "valid")
    rows = np.arange(target.size)
    forecasts, log_returns = forecasts[rows], log_returns[rows]
    bars = slice(start, None)
    moves = np.ptp(forecasts[bars], axis=0) > 1e-9
    forecasts *= np.where(moves, 0.1 * DEVIATION / np.maximum(forecasts[bars].std(axis=0), 1e-12), 1.0)
    rules = Rules(kind.horizon, 0, kind.cost, periods=YEAR)
    layout = Layout.of_one(len(log_returns))
    held = (rules.positions(each, layout) for each in forecasts.T)
    returns = np.column_stack([rules.earned(each, log_returns, layout).net for each in held])
    simple = np.expm1(log_returns)
    blocks, before = np.array_split(rows[bars], max(kind.blocks, 1)), []
    for block in blocks:
        train = (rows < block[0] - kind.horizon) | (rows > block[-1] + kind.horizon)
        known = target[train], simple[train], rows[train] < block[0]
        sums = [
            sums_before(known[0], forecasts[train, k], known[1], returns[train, k], known[2])
            for k in range(kind.trials)
        ]
        before.append(np.stack(sums, axis=1))
    return StudyEvidence(
        metric="val_ic",
        direction="maximize",
        winner=0,
        tried=kind.trials,
        rules=rules,
        actual=target[bars],
        forecasts=forecasts[bars],
        market=simple[bars],
        returns=returns[bars],
        folds=np.repeat(np.arange(len(blocks)), [len(block) for block in blocks]),
        before=Before(*np.stack(before, axis=1)),
    )


def best_by(study: StudyEvidence, metric: str) -> StudyEvidence:
    """Give the study as if it had been searched for the information coefficient (``val_ic``), or ``val_sharpe``."""
    study = replace(study, metric=metric, direction="maximize")
    part = study.part
    if part is None:
        return study
    values = part.series.within if metric == "val_ic" else part.values
    spread = 1.0 if metric == "val_ic" else values.std(axis=0)  # a series is scaled already
    scores = values.mean(axis=0) / np.where(np.ptp(values, axis=0) > 0, spread, np.inf)
    return replace(study, winner=int(part.columns[scores.argmax()]))


def rules_taken_in(
    by_forecast: StudyEvidence,
    by_return: StudyEvidence,
    *,
    draws: int = 1_000,
    seed: int = 0,
    rules: tuple[str, ...] = RULES,
) -> list[str]:
    """Give the rules that call the winner skilled, of a study searched by forecasts, and of one by returns."""
    forecasts, returns = by_forecast.forecast_part, by_return.return_part
    if forecasts is None or returns is None:
        raise ValueError("The study has no forecasts or no returns.")
    best = returns.values[:, returns.winner]
    made: dict[str, Callable[[], bool]] = {
        "ours, forecasts": lambda: winner_test(by_forecast, draws=draws, seed=seed).word == "real",
        "ours, returns": lambda: winner_test(by_return, draws=draws, seed=seed).word == "real",
        "old, loss": lambda: _old_loss(forecasts, by_forecast.rules.horizon, draws, seed),
        "old, returns": lambda: _old_returns(returns, by_forecast.rules.horizon, draws, seed),
        "t": lambda: bool(best.std() > 0 and best.mean() / best.std(ddof=1) * np.sqrt(best.size) > 1.96),
        "DSR": lambda: _deflated(returns.values, best),
        "PBO": lambda: best.mean() > 0 and pbo is not None and pbo.value is not None and pbo.value < 0.5,
    }
    pbo = overfitting(returns.values, "sharpe").pbo if "PBO" in rules else None
    undefined = ["PBO undefined"] if pbo is not None and pbo.problem else []
    return [rule for rule in rules if made[rule]()] + undefined


def _old_loss(part: Part, horizon: int, draws: int, seed: int) -> bool:
    """Test the gains of the best in squared error over the mean of the rows before."""
    actual, level = part.outcomes, part.before.level[part.folds]
    gains = (actual[:, None] - level) ** 2 - (actual[:, None] - part.values) ** 2
    spa = superiority(gains, draws=draws, seed=seed, horizon=horizon)
    return bool(not spa.problem and spa.p_each[gains.mean(axis=0).argmax()] < LEVEL)


def _old_returns(part: Part, horizon: int, draws: int, seed: int) -> bool:
    """Test returns over buy and hold, and, where the market fell, over the average share of the market."""
    market, returns = part.outcomes, part.values
    spa = superiority(returns - market[:, None], draws=draws, seed=seed, held=horizon)
    if spa.problem or spa.p_each[part.winner] >= LEVEL:
        return False
    if market.mean() >= 0:
        return True
    moves = market - market.mean()
    alone = returns - np.outer(market, moves @ returns / (moves @ moves))
    spa = superiority(alone, draws=draws, seed=seed, held=horizon)
    return bool(not spa.problem and spa.p_each[part.winner] < LEVEL)


def _deflated(returns: Values, best: Values) -> bool:
    found = moments(best)
    if isinstance(found, str):
        return False
    varying = returns[:, np.ptp(returns, axis=0) > 0]
    variance = float((varying.mean(axis=0) / varying.std(axis=0, ddof=1)).var(ddof=1))
    value = deflated_sharpe(found, float(returns.shape[1]), variance).value
    return value is not None and value >= 0.95


def judged(kind: Kind, number: int, *, seed: int = 0, draws: int = 1_000, rules: tuple[str, ...] = RULES) -> list[str]:
    """Give the rules that call the winner of a study of a kind skilled."""
    study = simulate(kind, number, seed)
    return rules_taken_in(best_by(study, "val_ic"), best_by(study, "val_sharpe"), draws=draws, seed=number, rules=rules)


def interval(count: int, of: int) -> tuple[float, float]:
    """Give the 95 % Clopper-Pearson interval of a share."""
    found = binomtest(count, of).proportion_ci(0.95)
    return float(found.low), float(found.high)


def print_table(
    kinds: Sequence[str],
    judge: Callable[[str, int], list[str]],
    *,
    repetitions: int,
    out: Path,
    chunk: int,
    rules: Sequence[str] = RULES,
) -> None:
    """Judge so many studies of each kind, and print a row as soon as it is there; go on from the file `out`."""
    done: dict[str, dict[int, list[str]]] = {}
    if out.exists():
        for line in out.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            done.setdefault(record["kind"], {})[record["number"]] = record["fooled"]
    print(f"| {repetitions} studies each | {' | '.join(rules)} |\n|{'---|' * (len(rules) + 1)}", flush=True)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool, out.open("a", encoding="utf-8") as file:
        for kind in kinds:
            found = done.setdefault(kind, {})
            missing = [number for number in range(repetitions) if number not in found]
            for number, fooled in zip(missing, pool.map(partial(judge, kind), missing, chunksize=chunk), strict=True):
                found[number] = fooled
                file.write(json.dumps({"kind": kind, "number": number, "fooled": fooled}) + "\n")
                file.flush()
            print(_line(kind, [found[number] for number in range(repetitions)], rules), flush=True)


def _line(kind: str, found: list[list[str]], rules: Sequence[str]) -> str:
    cells = []
    for rule in rules:
        if all(f"{rule} undefined" in each for each in found):
            cells.append("–")
            continue
        count = sum(rule in each for each in found)
        low, high = interval(count, len(found))
        cells.append(f"{100 * count / len(found):.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    return f"| {kind} | {' | '.join(cells)} |"


def _judge(name: str, number: int, rules: tuple[str, ...]) -> list[str]:
    return judged(KINDS[name], number, rules=rules)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400, help="studies of each kind")
    parser.add_argument("--only", default="", help="kinds whose name holds this text")
    parser.add_argument("--out", type=Path, default=Path("bench_verdict.jsonl"), help="what was judged; gone on from")
    parser.add_argument("--rules", default="", help="rules whose name holds this text")
    given = parser.parse_args()
    kinds = [name for name in KINDS if given.only in name]
    rules = tuple(rule for rule in RULES if given.rules in rule)
    judge = partial(_judge, rules=rules)
    print_table(kinds, judge, repetitions=given.repetitions, out=given.out, chunk=4, rules=rules)


if __name__ == "__main__":
    main()
