"""What the best of many trials without skill shows, and what a winner has to show to stand out from that."""

from __future__ import annotations

import math
from statistics import NormalDist

from tradingbot_exp.config.metrics import Family
from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.runtime.text import plural

CONFIDENCE = 0.95
LEVEL = 0.025
"""p-value, corrected for all that was tried, below which a winner is real."""
_EULER = 0.5772156649015329


def expected_maximum(trials: float) -> float:
    """Approximate the expected largest of `trials` independent standard normal numbers.

    Parameters
    ----------
    trials : float
        At least 1; an effective number need not be whole.

    Returns
    -------
    float
        In standard deviations; 0 for 1 trial. 10 trials give 1.5746, the exact value is 1.5388.

    References
    ----------
    Bailey & López de Prado (2014), "The deflated Sharpe ratio: correcting for selection bias, backtest overfitting,
    and non-normality", Journal of Portfolio Management 40(5), equation 1 and appendix 1.
    """
    if not (math.isfinite(trials) and trials >= 1):
        raise ValueError(f"trials is {trials}; expected a number of trials, 1 or more.")
    if trials == 1:
        return 0.0
    # Between 1 and 2 the approximation dips below 0, where no expected maximum can be.
    quantile = NormalDist().inv_cdf
    largest = (1 - _EULER) * quantile(1 - 1 / trials) + _EULER * quantile(1 - 1 / (trials * math.e))
    return max(float(largest), 0.0)


def noise_maximum(trials: float, bars: int, periods_per_year: float) -> tuple[Estimate, Estimate]:
    """Return what the best of `trials` independent trials of pure noise reaches, as a Sharpe ratio a year.

    The Sharpe ratio of a trial without skill is about normal, with the variance 1 / (bars − 1) a period.

    Parameters
    ----------
    trials : float
        At least 1.
    bars : int
    periods_per_year : float

    Returns
    -------
    expected, high : Estimate
        Its expectation, and what it stays below in 95 % of searches. Not defined for fewer than 3 bars.

    References
    ----------
    Bailey & López de Prado (2014), see `expected_maximum`; the 95 % from the distribution of a maximum, Φ(x)^N = 0.95.
    Lo (2002), "The statistics of Sharpe ratios", Financial Analysts Journal 58(4), for the variance.
    """
    if bars < 3:
        none = undefined(f"there are {bars} bars, and it takes at least 3")
        return none, none
    unit = math.sqrt(periods_per_year / (bars - 1))
    return Estimate(expected_maximum(trials) * unit), Estimate(NormalDist().inv_cdf(CONFIDENCE ** (1 / trials)) * unit)


def critical_score(trials: float, directions: int = 0) -> float:
    """Return the normal score that the best of `trials` without skill exceeds with probability `LEVEL`.

    Parameters
    ----------
    trials : float
        At least 1.
    directions : int
        Where a sampler climbs, those that it may turn to; then it is at least what `climbed_p` takes to be `LEVEL`.
    """
    drawn = NormalDist().inv_cdf((1 - LEVEL) ** (1 / trials))
    if not directions:
        return drawn
    from scipy.special import chdtri  # as late as in `superiority`

    return max(drawn, math.sqrt(float(chdtri(directions, LEVEL))))


def directions_of(searched: int, family: Family) -> int:
    """Return those that a sampler may turn to which climbs over as many hyper-parameters: twice as many for signs."""
    return searched if family == "forecast" else 2 * searched


def climbed_p(score: float, directions: int) -> float:
    """Return the probability that the best of *all* combinations of series without skill has a normal score above this.

    Its square is χ², with as many degrees of freedom as there are series, however the best was found.

    Parameters
    ----------
    score : float
    directions : int
        At least 1.

    References
    ----------
    Scheffé (1953), "A method for judging all contrasts in the analysis of variance", Biometrika 40(1/2).
    """
    from scipy.special import chdtrc

    return float(chdtrc(directions, max(score, 0.0) ** 2))


def needed_ratio(trials: float, bars: int, horizon: int = 1, directions: int = 0) -> Estimate:
    """Return what the best of `trials` has to show to stand out: a correlation, or a Sharpe ratio a bar.

    Both have the standard error 1/√(n − 1) where there is no skill, n being the bars that do not overlap.

    Parameters
    ----------
    trials : float
        At least 1.
    bars : int
    horizon : int
        Bars over which an outcome overlaps the next ones.
    directions : int
        See `critical_score`.

    Returns
    -------
    Estimate
        Not defined for fewer than 3 bars that do not overlap.

    References
    ----------
    Pitman (1937), "Significance tests which may be applied to samples from any populations. II", Supplement to the
    Journal of the Royal Statistical Society 4(2), for the correlation; Lo (2002), see `noise_maximum`, for the ratio.
    """
    free = bars / horizon - 1
    if free < 2:
        return undefined(f"there are {bars} bars with a horizon of {horizon}, which tell nothing")
    return Estimate(critical_score(trials, directions) / math.sqrt(free))


def needed_bars(ratio: float, trials: float, horizon: int = 1, directions: int = 0) -> int:
    """Return the bars on which this ratio of the best of `trials` would be enough: `needed_ratio` turned round.

    Parameters
    ----------
    ratio : float
        A correlation, or a Sharpe ratio a bar, above 0.
    trials, horizon, directions
        See `needed_ratio`.
    """
    if not ratio > 0:
        raise ValueError(f"ratio is {ratio}; expected a number above 0: on no number of bars is less enough.")
    return math.ceil(horizon * ((critical_score(trials, directions) / ratio) ** 2 + 1))


def rounded_bars(bars: float) -> str:
    """Write a number of bars as far as it means something: two digits."""
    unit = 10 ** max(math.floor(math.log10(bars)) - 1, 0)
    return f"{math.ceil(bars / unit) * unit:,.0f}"


def outlook(
    bars: int,
    planned: int,
    tried_before: int,
    *,
    horizon: int = 1,
    year: float | None = None,
    directions: int = 0,
    symbols: int = 1,
    together: float = 1.0,
) -> str:
    """Say before a study what its data can bear: what the best of noise will show, and what would be needed.

    Parameters
    ----------
    bars : int
        Validation bars, of all folds.
    planned : int
        Trials that the study is to make, at least 1.
    tried_before : int
        Configurations tried on these bars before.
    horizon : int
        See `needed_ratio`.
    year : float, optional
        Bars in a year, for a study that searches returns: what is named then is the Sharpe ratio of alpha, a year's;
        else it is an information coefficient.
    directions : int
        See `critical_score`.
    symbols : int
        Of a panel how many; bars are then dates.
    together : float
        Of a panel, how much outcomes move together: the standard deviation of their mean over symbols, as a share of
        that of all. So much does a mean over symbols spread where forecasts are alike for all of them.

    Returns
    -------
    str
        One line.
    """
    trials = planned + tried_before
    before = f" and {tried_before:,} tried before" if tried_before else ""
    unit = "bars" if symbols == 1 else "dates"
    of = "" if symbols == 1 else f" of {symbols:,} symbols"
    start = f"{bars:,} validation {unit}{of}; with {plural(planned, 'trial')} planned{before}, "
    needed = needed_ratio(trials, bars, horizon, directions)
    if needed.value is None or (year is None and needed.value >= 1):
        return f"{start}nothing can be told: on so few {unit} no skill could stand out"
    noise = expected_maximum(trials) / math.sqrt(bars / horizon - 1)
    best = "the best of pure noise, drawn at random," if directions else "the best of pure noise"
    if year is not None:
        return (
            f"{start}{best} is expected to show an alpha with a Sharpe ratio of "
            f"{noise * math.sqrt(year):.1f}; about {needed.value * math.sqrt(year):.1f} would be needed"
        )
    shown = needed.value * together
    example = max(round(shown / 2, 2), 0.01)
    bars_for_it = rounded_bars(needed_bars(min(example / together, 0.99), trials, horizon, directions))
    return (
        f"{start}{best} is expected to show an information coefficient of {noise * together:.2f}; about "
        f"{shown:.2f} would be needed (one of {example:.2f} would take some {bars_for_it} {unit})"
    )
