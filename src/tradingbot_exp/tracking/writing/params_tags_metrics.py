"""Params, tags and metrics as MLflow takes them: masked, cut, and refused where it would refuse them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tradingbot_exp.config.redaction import as_written, mask_secrets
from tradingbot_exp.errors import TrackingError

MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
NO_VALUE = str(None)  # a param's text for null
_NAME = re.compile(r"[\w.\- /:]{1,250}")


def param_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Turn values into params: text, credentials masked, at most 6,000 characters, under keys that MLflow takes."""
    written = {key: as_written(key, value) for key, value in values.items()}
    return {re.sub(r"[^\w.\- /:]", "_", key): _cut(text, MAX_PARAM_LENGTH) for key, text in _masked(written).items()}


def tag_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Turn values into tags: text, credentials masked, at most 8,000 characters."""
    given = {name: value for name, value in values.items() if value is not None}
    return {name: _cut(text, MAX_TAG_LENGTH) for name, text in _masked(given).items()}


def _masked(values: Mapping[str, Any]) -> dict[str, str]:
    plain = bool | int | float | None
    texts = {name: value if isinstance(value, plain) else str(value) for name, value in values.items()}
    return {name: _text(value) for name, value in mask_secrets(texts).items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cut(text: str, length: int) -> str:
    note = " … (cut; whole in the artifacts)"
    return text if len(text) <= length else text[: length - len(note)] + note


def metric_name(name: Any) -> str:
    """Return a name that MLflow takes for a metric.

    Raises
    ------
    TrackingError
        It takes another.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TrackingError(
            f"{name!r} is not a name for a metric. It takes letters, digits, _ - . / : and spaces, up to 250 of them."
        )
    return name


def metric_value(name: str, value: Any) -> float:
    """Return a metric's value as MLflow keeps it: an infinity is the largest float64.

    Raises
    ------
    TrackingError
        It is no number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TrackingError(f"The metric {name} is {value!r}, which is no number.") from error
    return number if not math.isinf(number) else math.copysign(1.7976931348623157e308, number)
