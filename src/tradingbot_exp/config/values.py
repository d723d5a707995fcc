"""Tests of the values that keys of the schema take."""

from __future__ import annotations

from typing import Any

from tradingbot_exp.config.facts import number

# What every database of Optuna and MLflow takes.
STUDY_NAME_LETTERS = 200
AT_LEAST_0 = number(lambda v: v >= 0)
AT_LEAST_1 = number(lambda v: v >= 1)
BELOW_1 = number(lambda v: 0 <= v < 1)
IS_WEIGHT = number(lambda v: v > 0, null=True, word="balanced")
EPOCHS_OR_NULL = number(lambda v: v >= 1, whole=True, null=True)
EPOCHS = "a whole number of epochs, 1 or more, or null for"


def is_filled(text: str) -> bool:
    """Tell whether a text has more than blanks."""
    return bool(text.strip())


def are_symbols(given: Any) -> bool:
    """Tell whether `data.symbols` names symbols: None, ``all``, or a list of different ones."""
    if not isinstance(given, list):
        return given is None or given == "all"
    return bool(given) and len({str(each) for each in given}) == len(given)


def is_study_name(name: Any) -> bool:
    """Tell whether a study may be called so; None stands for a name that is made."""
    return name is None or (isinstance(name, str) and len(name) <= STUDY_NAME_LETTERS and name.isprintable())


def are_points(given: Any) -> bool:
    """Tell whether a value is a list of mappings from names to values."""
    return isinstance(given, list) and all(isinstance(each, dict) and each for each in given)
