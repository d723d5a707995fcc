"""Every metric of this package, a row each, known without a heavy library.

Another metric is a row here, and a function in `tradingbot_exp.evaluation.metrics.functions`: what is computed,
searched for, logged, printed and reported all follows from the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tradingbot_exp.config.losses import LOSSES

LAGS = (0, 1)
"""Execution lags whose results stand side by side, whatever `evaluation.execution_lag` is."""
Family = Literal["forecast", "return"]
Form = Literal["error", "share", "correlation", "percent", "ratio"]
Rival = Literal["zero", "train_mean", "linear", "buy_hold", "lag1"]
_RIVALS = {"linear": "the linear model", "buy_hold": "buy and hold", "train_mean": "the train mean"}


@dataclass(frozen=True)
class Metric:
    """What is known of a metric, but for the function that computes it.

    Attributes
    ----------
    name : str
        Without ``val_`` or ``test_``.
    label : str
        As reports and the terminal have it.
    family : str
        ``forecast``, from targets and forecasts; or ``return``, which needs one-bar returns.
    form : str
        How it is written: an error with significant digits, a share or a percentage, a correlation, a ratio.
    better : int
        1 if a high value is better, −1 if a low one is, 0 if neither.
    hint : str
        What it is, in a few words.
    rivals : tuple of str
        Which rivals have it too; the first stands beside the model's on the terminal.
    train : bool
        Whether it is logged for the train rows too: beside validation, it shows what was learned by heart.
    lagged : bool
        Whether it is computed at each of `LAGS` too.
    skill : bool
        Whether 0 or less is no skill.
    least : int
        Bars that it takes.
    idle : bool
        Whether it has no value for a strategy that never takes a position.
    panel : bool
        Whether it compares the symbols of a date: of one instrument it is not computed.
    undefined : str
        Why it has no value where the bars suffice; empty if the forecast or the actual values are constant.
    of : str
        Whose it is: the ``model`` (at the lag that was asked for), the model at another ``lag``, a ``naive`` rival, or
        one that is ``fitted``.
    base, variant : str
        Of what is not the model's own, the metric that it is a variant of, and which: ``lag0``, ``buy_hold``, …
    """

    name: str
    label: str
    family: Family
    form: Form
    better: int = 0
    hint: str = ""
    rivals: tuple[Rival, ...] = ()
    train: bool = False
    lagged: bool = False
    skill: bool = False
    least: int = 1
    idle: bool = False
    panel: bool = False
    undefined: str = "its computation gave no number"
    of: Literal["model", "lag", "naive", "fitted"] = "model"
    base: str = ""
    variant: str = ""

    @property
    def function(self) -> str:
        """The name of what computes it."""
        return self.base or self.name


_TOO_FEW = "no date has enough symbols (evaluation.min_symbols) whose forecasts and actual values differ"
_NEVER_VARIES = "the market returns the same on every bar"
_ROWS = (
    Metric(
        *("mse", "MSE", "forecast", "error", -1, "mean squared error"),
        rivals=("zero", "train_mean", "linear"),
        train=True,
    ),
    Metric("mae", "MAE", "forecast", "error", -1, "mean absolute error", train=True),
    Metric(
        *("r2", "R² against the train mean", "forecast", "share", 1),
        train=True,
        undefined="every actual value equals the train mean",
    ),
    Metric(
        *("ic", "IC", "forecast", "correlation", 1, "correlation of forecast and actual"),
        rivals=("linear",),
        train=True,
        skill=True,
        least=2,
        undefined="",
    ),
    Metric(
        *("rank_ic", "rank IC", "forecast", "correlation", 1, "rank correlation of forecast and actual"),
        train=True,
        skill=True,
        least=2,
        undefined="",
    ),
    Metric(
        *("hit_rate", "hit rate", "forecast", "percent", 1, "share of bars whose sign was forecast"),
        train=True,
        undefined="no actual value lies above or below the threshold",
    ),
    Metric(
        *("cs_ic", "cross-sectional IC", "forecast", "correlation", 1, "mean over dates of the IC across symbols"),
        train=True,
        skill=True,
        panel=True,
        undefined=_TOO_FEW,
    ),
    Metric(
        *("cs_rank_ic", "cross-sectional rank IC", "forecast", "correlation", 1, "the same of ranks"),
        train=True,
        skill=True,
        panel=True,
        undefined=_TOO_FEW,
    ),
    Metric(
        *("cs_icir", "ICIR", "forecast", "ratio", 1, "cross-sectional IC over its standard deviation, by date"),
        skill=True,
        panel=True,
        undefined=_TOO_FEW,
    ),
    Metric(
        *("cs_ic_t", "t of the cross-sectional IC", "forecast", "ratio", 1, "Newey and West's"),
        skill=True,
        panel=True,
        undefined=_TOO_FEW,
    ),
    Metric(
        *("sharpe", "Sharpe ratio, net", "return", "ratio", 1, "a year, where its bars are known"),
        rivals=("buy_hold", "linear"),
        train=True,
        lagged=True,
        skill=True,
        least=2,
        idle=True,
        undefined="the strategy returns the same on every bar",
    ),
    Metric(
        *("sortino", "Sortino ratio, net", "return", "ratio", 1, "a year, where its bars are known"),
        skill=True,
        least=2,
        idle=True,
        undefined="the strategy loses on no bar",
    ),
    Metric(
        *("calmar", "Calmar ratio, net", "return", "ratio", 1),
        idle=True,
        undefined="the strategy never falls below its highest point",
    ),
    Metric("cagr", "growth a year, net", "return", "percent", 1, rivals=("buy_hold",), lagged=True),
    Metric(
        *("alpha", "alpha a year, net", "return", "percent", 1, "what is left without its share of the market"),
        undefined=_NEVER_VARIES,
    ),
    Metric("beta", "beta to buy and hold", "return", "ratio", 0, "its share of the market", undefined=_NEVER_VARIES),
    # A drawdown is at most 0: that of -0.1 is better than that of -0.4.
    Metric("max_drawdown", "maximum drawdown", "return", "percent", 1, "deepest fall of wealth from its peak"),
    Metric("turnover", "turnover a bar", "return", "ratio", 0, "mean change of position"),
)


def _variants(row: Metric) -> list[Metric]:
    """Return the metric at each lag, and of each rival."""
    alone = replace(row, rivals=(), train=False, lagged=False, base=row.name)
    found = []
    for lag in LAGS if row.lagged else ():
        hint = ("filled at the close that made the signal", "filled a bar later")[lag] if row.name == "sharpe" else ""
        rivals: tuple[Rival, ...] = ("lag1",) if lag == 0 else ()
        label = f"{row.label}, at lag {lag}"
        named = replace(alone, name=f"{row.name}_lag{lag}", label=label, hint=hint, rivals=rivals)
        found.append(replace(named, of="lag", variant=f"lag{lag}"))
    label = row.label.removesuffix(", net")
    for rival in row.rivals:
        of = _RIVALS.get(rival, f"the {rival} forecast")
        market = rival == "buy_hold"
        found.append(
            replace(
                alone,
                name=f"{rival}_{row.name}",
                variant=rival,
                label=f"{label} of {of}",
                better=0,
                hint="of directions, of a coin flip" if rival == "zero" else "",
                of="naive" if rival in ("zero", "buy_hold") else "fitted",
                idle=row.idle and not market,
                undefined=_NEVER_VARIES if market and row.least > 1 else row.undefined,
            )
        )
    return found


_ORDER = ("model", "lag", "naive", "fitted")
_ALL = [each for row in _ROWS for each in (row, *_variants(row))]
TABLE: dict[str, Metric] = {each.name: each for each in sorted(_ALL, key=lambda each: _ORDER.index(each.of))}
"""Every metric by name: first the model's own, then those at other lags, then those of rivals."""


def _names(of: tuple[str, ...], family: Family | None = None) -> tuple[str, ...]:
    return tuple(name for name, row in TABLE.items() if row.of in of and family in (None, row.family))


OWN_METRICS = _names(("model",))
"""Metrics that are the model's own, at the lag that was asked for."""
METRICS = _names(("model", "lag", "naive"))
"""Metrics that need no fit of a rival."""
BASELINES = _names(("fitted",))
"""Metrics of rivals that are fitted."""
BACKTEST_METRICS = _names(("model", "lag", "naive"), "return")
"""Those of `METRICS` that need one-bar returns."""
TRAIN_METRICS = tuple(row.name for row in _ROWS if row.train)
LINEAR = tuple(row.name for row in _ROWS if "linear" in row.rivals)
"""Metrics of the linear model that are kept."""
LOSS_METRICS = ("val_loss", "train_loss", "final_loss", "best_val_loss")
"""Metrics in the unit of `training.loss`."""
MEMBERS_SD = "members_sd"
"""Of an ensemble, the standard deviation of its networks' forecasts (ddof 1): the column of a row, and its mean."""
OBJECTIVES = (*LOSS_METRICS, *(f"val_{name}" for name in OWN_METRICS))
"""What a study may search for: the losses, and the validation metrics that are the model's own."""


def better_direction(metric: str) -> str | None:
    """Return ``minimize`` or ``maximize``, whichever seeks a metric's better values; None where nobody knows."""
    row = TABLE.get(metric.removeprefix("val_")) if metric.startswith("val_") else None
    better = -1 if metric in LOSS_METRICS else 0 if row is None else row.better
    return {-1: "minimize", 0: None, 1: "maximize"}[better]


def family_of(metric: str, loss: str = "") -> Family:
    """Tell whether a metric judges forecasts, or returns, a loss by its own row; a user's own metric judges forecasts.

    Parameters
    ----------
    metric : str
    loss : str
        ``training.loss``.
    """
    if metric in LOSS_METRICS and loss in LOSSES:
        return LOSSES[loss].family
    row = TABLE.get(metric.removeprefix("val_"))
    return "forecast" if row is None else row.family
