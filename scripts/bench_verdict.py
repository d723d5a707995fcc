"""Measure how often the verdict on a study is wrong: "real" of noise, and not "real" of a planted signal.

Each scenario simulates studies of 50 trials from start to end (arrays in, verdict out) and prints the share that is
called real, with its 95 % Clopper-Pearson interval. ``--repetitions 400`` takes some minutes on one core. The rates of
studies of real networks are measured by ``bench_pipeline_verdict.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tradingbot_exp.evaluation.metrics.backtest import strategy_returns
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence, loss_gains
from tradingbot_exp.evaluation.significance.verdict import winner_test

TRIALS, BARS, DAILY = 50, 750, 252
IBM_BARS = 484
Make = Callable[[np.random.Generator], StudyEvidence]


@dataclass(frozen=True)
class Scenario:
    """Studies of one kind.

    Attributes
    ----------
    name : str
    make : callable
        From a random generator to a study.
    real : bool
        Whether its winner is.
    """

    name: str
    make: Make
    real: bool


def returns_study(returns: np.ndarray, market: np.ndarray, *, tried: int = 0, ever: int = 0) -> StudyEvidence:
    """Make the evidence of a study that searched for the highest Sharpe ratio."""
    winner = int(np.argmax(returns.mean(axis=0) / returns.std(axis=0)))
    return StudyEvidence(
        metric="val_sharpe",
        direction="maximize",
        winner=winner,
        tried=max(tried, returns.shape[1]),
        ever=ever,
        periods_per_year=DAILY,
        returns=returns,
        market=market,
    )


def loss_study(actual: np.ndarray, forecasts: np.ndarray, horizon: int = 1) -> StudyEvidence:
    """Make the evidence of a study that searched for the lowest squared error."""
    gains = loss_gains(actual, forecasts, train_mean=0.0)
    return StudyEvidence(
        metric="val_loss",
        direction="minimize",
        winner=int(np.argmax(gains.mean(axis=0))),
        tried=gains.shape[1],
        periods_per_year=DAILY,
        horizon=horizon,
        gains=gains,
    )


def noise_returns(rng: np.random.Generator) -> StudyEvidence:
    """Strategies whose returns are t-distributed noise, against a market that stands still."""
    return returns_study(0.01 * rng.standard_t(4, (BARS, TRIALS)), np.zeros(BARS))


def pruned_returns(rng: np.random.Generator) -> StudyEvidence:
    """Noise of which the worse half was pruned: it was tried, and is not in the matrix."""
    returns = 0.01 * rng.standard_t(4, (BARS, 2 * TRIALS))
    kept = np.argsort(returns.mean(axis=0))[TRIALS:]
    return returns_study(returns[:, kept], np.zeros(BARS), tried=2 * TRIALS)


def best_of_studies(rng: np.random.Generator) -> StudyEvidence:
    """Five studies of noise on the same bars, of which the one with the best winner is shown."""
    studies = [
        returns_study(0.01 * rng.standard_t(4, (BARS, TRIALS)), np.zeros(BARS), ever=5 * TRIALS) for _ in range(5)
    ]
    return max(studies, key=lambda one: float((one.returns.mean(axis=0) / one.returns.std(axis=0)).max()))


def ibm_returns(rng: np.random.Generator, share: float = 0.1) -> StudyEvidence:
    """Strategies that are long IBM but for bars at random, at which they are short; costs would hold them back."""
    market = ibm_log_returns()
    start = int(rng.integers(market.size - IBM_BARS))
    market = market[start : start + IBM_BARS]
    positions = np.where(rng.random((IBM_BARS, TRIALS)) < share, -1.0, 1.0)
    net = np.column_stack([strategy_returns(position, market, 0.0) for position in positions.T])
    return returns_study(net, np.expm1(market))


def falling_returns(rng: np.random.Generator, sharpe: float = -2.0, share: float = 0.5) -> StudyEvidence:
    """Strategies that are short at random in a market that falls, long otherwise, at no cost."""
    market = 0.01 * (rng.standard_t(4, BARS) / np.sqrt(2.0) + sharpe / np.sqrt(DAILY))
    positions = np.where(rng.random((BARS, TRIALS)) < share, -1.0, 1.0)
    return returns_study(positions * market[:, None], market)


def timed_returns(rng: np.random.Generator, sharpe: float = 3.0, drift: float = -1.0) -> StudyEvidence:
    """Positions at random in a market that falls, and one strategy that is right often enough for a Sharpe ratio."""
    market = 0.01 * (rng.standard_t(4, BARS) / np.sqrt(2.0) + drift / np.sqrt(DAILY))
    positions = np.where(rng.random((BARS, TRIALS)) < 0.5, -1.0, 1.0)
    edge = sharpe / np.sqrt(DAILY) / np.mean(np.abs(market)) * market.std()  # of right signs over wrong ones
    positions[:, 7] = np.sign(market) * np.where(rng.random(BARS) < (1 + edge) / 2, 1.0, -1.0)
    return returns_study(positions * market[:, None], market)


def planted_returns(rng: np.random.Generator, sharpe: float = 3.0) -> StudyEvidence:
    """Noise, and one strategy with a true Sharpe ratio (a year's, over three years of daily bars)."""
    unit = rng.standard_t(4, (BARS, TRIALS)) / np.sqrt(2.0)
    unit[:, 7] += sharpe / np.sqrt(DAILY)
    return returns_study(0.01 * unit, np.zeros(BARS))


def noise_loss(rng: np.random.Generator, scale: float = 0.02) -> StudyEvidence:
    """Forecasts that have nothing to do with the t-distributed target."""
    return loss_study(rng.standard_t(4, BARS), scale * rng.standard_normal((BARS, TRIALS)))


def overlapping_loss(rng: np.random.Generator, horizon: int = 5) -> StudyEvidence:
    """Forecast overlapping targets of several bars with what has a long memory and knows nothing."""
    target = np.convolve(rng.standard_t(4, BARS + horizon - 1), np.ones(horizon), "valid")
    forecasts = np.zeros((BARS, TRIALS))
    for bar in range(1, BARS):
        forecasts[bar] = 0.95 * forecasts[bar - 1] + 0.02 * rng.standard_normal(TRIALS)
    return loss_study(target, forecasts, horizon)


def planted_loss(rng: np.random.Generator, correlation: float = 0.3) -> StudyEvidence:
    """Forecasts of which one is the best possible, with a true correlation (R² 9 %), and the rest are noise."""
    signal = rng.standard_normal(BARS)
    noise = rng.standard_t(4, BARS) / np.sqrt(2.0)
    actual = correlation * signal + np.sqrt(1 - correlation**2) * noise
    forecasts = 0.02 * rng.standard_normal((BARS, TRIALS))
    forecasts[:, 7] = correlation * signal
    return loss_study(actual, forecasts)


SCENARIOS = (
    Scenario("return: best of 50, noise, t(4), 750 bars", noise_returns, False),
    Scenario("return: the same, after 50 worse were pruned", pruned_returns, False),
    Scenario("return: the best of five such studies", best_of_studies, False),
    Scenario("return: long IBM with random flips, 484 bars", ibm_returns, False),
    Scenario("return: coins tossed in a market of Sharpe -2", falling_returns, False),
    Scenario("loss: best of 50, noise, t(4), 750 bars", noise_loss, False),
    Scenario("loss: the same, horizon 5, overlapping", overlapping_loss, False),
    Scenario("return: planted Sharpe ratio 3 among 50", planted_returns, True),
    Scenario("return: the same by timing a falling market", timed_returns, True),
    Scenario("loss: planted correlation 0.3 among 50", planted_loss, True),
)


def ibm_log_returns() -> np.ndarray:
    """Read the one-bar log returns of the bundled bars."""
    from importlib.resources import files

    import pandas as pd

    with files("tradingbot_exp.data").joinpath("bars/ibm.csv").open("rb") as file:
        bars = pd.read_csv(file)
    return np.diff(np.log(bars["adj_close"].to_numpy(dtype=np.float64)))


def share_real(make: Make, repetitions: int, *, draws: int = 1_000, seed: int = 0) -> tuple[int, float, float]:
    """Count the studies that are called real, each from a seed of its own; give the 95 % interval of their share."""
    from scipy.stats import binomtest

    studies = (make(np.random.default_rng([seed, number])) for number in range(repetitions))
    count = sum(winner_test(study, draws=draws, seed=number).word == "real" for number, study in enumerate(studies))
    interval = binomtest(count, repetitions).proportion_ci(0.95)
    return count, float(interval.low), float(interval.high)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400, help="studies a scenario")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'studies, of ' + str(arguments.repetitions) + ' each':48s} called real   95 % interval")
    for scenario in SCENARIOS:
        began = time.perf_counter()
        count, low, high = share_real(scenario.make, arguments.repetitions, seed=arguments.seed)
        wanted = "above 80 %" if scenario.real else "below 5 %"
        share = f"{100 * count / arguments.repetitions:6.1f} %"
        seconds = time.perf_counter() - began
        print(
            f"{scenario.name:48s} {share:>11s}   {100 * low:.1f} to {100 * high:.1f} % ({wanted}; {seconds:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
