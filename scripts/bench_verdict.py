"""Who is fooled? Let rules that tell skill from luck judge the same simulated studies.

Each row is a kind of study, from arrays to verdict: in the nulls there is nothing to find, in the others one trial of
them all has skill. Each column is a rule, and each number the share of studies in which it says that the winner has
skill, in per cent. ``--repetitions 400`` takes hours; a run that is
stopped goes on from the file `--out`. Studies of real networks are in ``bench_pipeline_verdict.py``.

The rules, by forecasts (the winner is the trial with the highest information coefficient) and by returns (highest
Sharpe ratio of the signs of the same forecasts):

- ours: this package's verdict, by forecasts and by returns;
- old: the one of its first version, SPA of the gain in squared error over the train mean, and of returns over buy and
  hold (and over the winner's average share of the market, where that fell);
- t: a plain t-test of the best Sharpe ratio at 2.5 %;
- DSR: a deflated Sharpe ratio of at least 0.95, of returns as they are (ffn's definition);
- PBO: a probability of backtest overfitting below one half (ffn's, ml4t-diagnostic's).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tradingbot_exp.evaluation.metrics.backtest import positions, strategy_returns
from tradingbot_exp.evaluation.significance.deflated import deflated_sharpe, moments
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.luck import LEVEL
from tradingbot_exp.evaluation.significance.overfitting import overfitting
from tradingbot_exp.evaluation.significance.series import Before, sums_before
from tradingbot_exp.evaluation.significance.superiority import superiority
from tradingbot_exp.evaluation.significance.verdict import winner_test

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
    """

    name: str
    market: Callable[[np.random.Generator, int, int], Values]
    forecasts: Callable[[np.random.Generator, Values, int], Values]
    skill: bool = False
    trials: int = TRIALS
    bars: int = BARS
    horizon: int = 1
    cost: float = 0.0


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


def noise(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast at random."""
    return rng.standard_normal((returns.size, trials))


def persistent(rng: np.random.Generator, returns: Values, trials: int, memory: float = 0.98) -> Values:
    """Forecast at random, with a long memory: an autoregression."""
    steps = np.sqrt(1 - memory**2) * rng.standard_normal((returns.size, trials))
    steps[0] /= np.sqrt(1 - memory**2)
    for bar in range(1, returns.size):
        steps[bar] += memory * steps[bar - 1]
    return steps


def leaning(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast at random, up on most bars."""
    return noise(rng, returns, trials) + 1.0


def constant(rng: np.random.Generator, returns: Values, trials: int) -> Values:
    """Forecast the same on every bar, each trial another value near the mean of the train rows."""
    return np.repeat(rng.normal(returns[:TRAIN].mean(), 0.3 * DEVIATION, trials)[None], returns.size, axis=0)


def follow(rng: np.random.Generator, returns: Values, trials: int, span: int, sign: int = 1) -> Values:
    """Forecast by the sum of about `span` past returns, or against it: each trial by another span, with some noise."""
    total = np.concatenate([[0.0], np.cumsum(returns)])[: returns.size]
    found = DEVIATION * 0.2 * rng.standard_normal((returns.size, trials))
    for trial, own in enumerate(np.maximum(span * np.exp(rng.normal(0, 0.25, trials)), 2).astype(int)):
        past = np.concatenate([np.zeros(own), total])[: returns.size]
        found[:, trial] += sign * (total - past) / np.sqrt(own)
    return found


def skilled(rng: np.random.Generator, returns: Values, trials: int, ic: float) -> Values:
    """Forecast at random, but for one trial whose forecasts have a correlation with what follows."""
    found = noise(rng, returns, trials)
    unit = (returns - returns.mean()) / returns.std()
    found[:, trials // 7] = ic * unit + np.sqrt(1 - ic**2) * found[:, trials // 7]
    return found


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
    Kind("persistent, Sharpe 3 since validation", partial(market, sharpe=3.0), persistent),
    Kind("persistent, Sharpe -3 since validation", partial(market, sharpe=-3.0), persistent),
    *(Kind(f"against the last {span} bars", market, partial(follow, span=span, sign=-1)) for span in SPANS),
    *(Kind(f"with the last {span} bars", market, partial(follow, span=span)) for span in SPANS),
    *(
        Kind(f"with the last {span} bars, Sharpe 3 since", partial(market, sharpe=3.0), partial(follow, span=span))
        for span in SPANS
    ),
    *(
        Kind(f"constant, Sharpe {sharpe:g} since validation", partial(market, sharpe=sharpe), constant)
        for sharpe in (-3.0, -1.5, 0.0, 1.5, 3.0)
    ),
)
SKILLS = (
    *(
        Kind(f"IC {ic:g}, {bars:,} bars", market, partial(skilled, ic=ic), skill=True, bars=bars)
        for ic in (0.05, 0.10, 0.15, 0.20, 0.30)
        for bars in (500, 1_000, 3_000)
    ),
    Kind(
        "IC 0.2, 500 bars, bull market of Sharpe 1.5",
        partial(market, sharpe=1.5, before=1.5),
        partial(skilled, ic=0.2),
        skill=True,
        bars=500,
    ),
)


@dataclass(frozen=True)
class Simulated:
    """A study as arrays of the validation bars, and what its trials knew before."""

    actual: Values
    forecasts: Values
    market: Values
    returns: Values
    before: Before
    train_mean: float
    horizon: int

    def evidence(self, metric: str) -> StudyEvidence:
        """Give the study as the verdict sees it, its winner by that metric."""
        if metric == "val_ic":
            moves = self.forecasts - self.forecasts.mean(axis=0)
            spread = np.where(np.ptp(self.forecasts, axis=0) > 0, self.forecasts.std(axis=0), np.inf)
            scores = (self.actual - self.actual.mean()) @ moves / spread
        else:
            spread = self.returns.std(axis=0)
            scores = self.returns.mean(axis=0) / np.where(spread > 0, spread, np.inf)
        return StudyEvidence(
            metric=metric,
            direction="maximize",
            winner=int(scores.argmax()),
            tried=self.forecasts.shape[1],
            periods_per_year=YEAR,
            horizon=self.horizon,
            actual=self.actual,
            forecasts=self.forecasts,
            market=self.market,
            returns=self.returns,
            before=self.before,
        )


def simulate(kind: Kind, number: int, seed: int = 0) -> Simulated:
    """Make a study of a kind, by its number."""
    rng = np.random.default_rng([seed, number])
    log_returns = kind.market(rng, TRAIN, kind.bars + kind.horizon - 1)
    forecasts = kind.forecasts(rng, log_returns, kind.trials).astype(np.float32).astype(np.float64)
    target = np.convolve(log_returns, np.ones(kind.horizon), "valid")
    rows = target.size
    forecasts, log_returns = forecasts[:rows], log_returns[:rows]
    held = (positions(each, kind.horizon, 0) for each in forecasts.T)
    returns = np.column_stack([strategy_returns(each, log_returns, kind.cost) for each in held])
    moves = np.expm1(log_returns)
    known, bars = slice(0, TRAIN - kind.horizon), slice(TRAIN, None)
    sums = [
        sums_before(target[known], forecasts[known, k], moves[known], returns[known, k]) for k in range(kind.trials)
    ]
    return Simulated(
        target[bars],
        forecasts[bars],
        moves[bars],
        returns[bars],
        Before(*np.array(sums).T[:, None, :]),
        float(target[known].mean()),
        kind.horizon,
    )


def judged(kind: Kind, number: int, *, seed: int = 0, draws: int = 1_000, rules: tuple[str, ...] = RULES) -> list[str]:
    """Give the rules that call the winner of a study skilled."""
    study = simulate(kind, number, seed)
    by_ic, by_sharpe = study.evidence("val_ic"), study.evidence("val_sharpe")
    best = study.returns[:, by_sharpe.winner]
    made: dict[str, Callable[[], bool]] = {
        "ours, forecasts": lambda: winner_test(by_ic, draws=draws, seed=number).word == "real",
        "ours, returns": lambda: winner_test(by_sharpe, draws=draws, seed=number).word == "real",
        "old, loss": lambda: _old_loss(study, draws, number),
        "old, returns": lambda: _old_returns(study, by_sharpe.winner, draws, number),
        "t": lambda: bool(best.std() > 0 and best.mean() / best.std(ddof=1) * np.sqrt(best.size) > 1.96),
        "DSR": lambda: _deflated(study, best),
        "PBO": lambda: best.mean() > 0 and overfitting(study.returns, "sharpe").probability < 0.5,
    }
    return [rule for rule in rules if made[rule]()]


def _old_loss(study: Simulated, draws: int, seed: int) -> bool:
    """Test the gains of the best in squared error over the train mean, its forecasts a tenth as wide as the outcome."""
    scale = DEVIATION * 0.1 / np.maximum(study.forecasts.std(axis=0), 1e-12)
    scaled = np.where(np.ptp(study.forecasts, axis=0) > 1e-9, study.forecasts * scale, study.forecasts)
    gains = (study.actual - study.train_mean)[:, None] ** 2 - (study.actual[:, None] - scaled) ** 2
    spa = superiority(gains, draws=draws, seed=seed, horizon=study.horizon)
    return bool(not spa.problem and spa.p_each[gains.mean(axis=0).argmax()] < LEVEL)


def _old_returns(study: Simulated, winner: int, draws: int, seed: int) -> bool:
    """Test returns over buy and hold, and, where the market fell, over the average share of the market."""
    held = {"draws": draws, "seed": seed, "held": study.horizon}
    spa = superiority(study.returns - study.market[:, None], **held)
    if spa.problem or spa.p_each[winner] >= LEVEL:
        return False
    if study.market.mean() >= 0:
        return True
    moves = study.market - study.market.mean()
    alone = study.returns - np.outer(study.market, moves @ study.returns / (moves @ moves))
    spa = superiority(alone, **held)
    return bool(not spa.problem and spa.p_each[winner] < LEVEL)


def _deflated(study: Simulated, best: Values) -> bool:
    found = moments(best)
    if isinstance(found, str):
        return False
    varying = study.returns[:, np.ptp(study.returns, axis=0) > 0]
    variance = float((varying.mean(axis=0) / varying.std(axis=0, ddof=1)).var(ddof=1))
    trials = float(study.returns.shape[1])
    value = deflated_sharpe(found.sharpe, found.bars, trials, variance, skew=found.skew, kurtosis=found.kurtosis).value
    return value is not None and value >= 0.95


def judge_each(
    kind: Kind, numbers: range, *, seed: int = 0, draws: int = 1_000, rules: tuple[str, ...] = RULES
) -> Iterator[list[str]]:
    """Judge studies of a kind, one after the other, in this process."""
    return (judged(kind, number, seed=seed, draws=draws, rules=rules) for number in numbers)


def interval(count: int, of: int) -> tuple[float, float]:
    """Give the 95 % Clopper-Pearson interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(0.95)
    return float(found.low), float(found.high)


def _line(kind: Kind, found: list[list[str]]) -> str:
    cells = []
    for rule in RULES:
        count = sum(rule in each for each in found)
        low, high = interval(count, len(found))
        cells.append(f"{100 * count / len(found):.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    return f"| {kind.name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400, help="studies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name holds this text")
    parser.add_argument("--out", type=Path, default=Path("bench_verdict.jsonl"), help="what was judged; gone on from")
    given = parser.parse_args()
    done: dict[str, dict[int, list[str]]] = {}
    if given.out.exists():
        for line in given.out.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["seed"] == given.seed:
                done.setdefault(record["kind"], {})[record["number"]] = record["fooled"]
    print(f"| studies, {given.repetitions} each | {' | '.join(RULES)} |\n|{'---|' * (len(RULES) + 1)}", flush=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool, given.out.open("a", encoding="utf-8") as out:
        for position, kind in enumerate((*NULLS, *SKILLS)):
            if given.only not in kind.name:
                continue
            found = done.setdefault(kind.name, {})
            missing = [number for number in range(given.repetitions) if number not in found]
            for number, fooled in zip(
                missing, pool.map(partial(_numbered, position, given.seed), missing, chunksize=4), strict=True
            ):
                found[number] = fooled
                record = {"kind": kind.name, "seed": given.seed, "number": number, "fooled": fooled}
                out.write(json.dumps(record) + "\n")
            out.flush()
            print(_line(kind, [found[number] for number in range(given.repetitions)]), flush=True)


def _numbered(position: int, seed: int, number: int) -> list[str]:
    return judged((*NULLS, *SKILLS)[position], number, seed=seed)


if __name__ == "__main__":
    main()
