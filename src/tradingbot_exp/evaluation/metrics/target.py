"""What is forecast: its name and unit, and the forecast that takes no side; known without loading numpy."""

from __future__ import annotations

from collections.abc import Mapping

from tradingbot_exp.config.losses import LOSSES


def neutral_forecast(loss: str, target: str) -> float:
    """Return the forecast that takes no side: halfway for 0/1 targets, else zero.

    Parameters
    ----------
    loss, target : str
        ``training.loss`` and ``data.target``.
    """
    if target == "direction":
        return 0.5
    return LOSSES[loss].neutral if loss in LOSSES else 0.0  # of a plugin that is not loaded here


NAIVE = {0.0: "zero forecast", 0.5: "coin flip"}
"""What reports call the forecast that takes no side, by its value."""


def naive_name(params: Mapping[str, object]) -> str:
    """Name the forecast that takes no side, by a run's params.

    Parameters
    ----------
    params : mapping of str
        ``training.loss`` and ``data.target`` are read; one that is not there has its default.
    """
    loss, target = params.get("training.loss", "mse"), params.get("data.target", "return")
    return NAIVE[neutral_forecast(str(loss), str(target))]


def target_unit(source: str, target: str, horizon: int) -> str:
    """Name what is forecast, with its unit.

    Parameters
    ----------
    source, target : str
        ``data.source`` and ``data.target``.
    horizon : int
        Bars ahead.
    """
    if source == "table":
        return target
    if target == "direction":
        return "probability of a rise"
    ahead = "the next bar" if horizon == 1 else f"the next {horizon} bars"
    if target == "rank":
        return f"rank of the return over {ahead}, −0.5 to 0.5"
    return f"{'excess ' if target == 'excess_return' else ''}log return over {ahead}"
